r"""A table as LaTeX that prints at 7 pt or more on a page whose lines are 345 pt wide, as LaTeX's article has them.

In: anything with a `Grid`. Out: one float a table, or a float a block where blocks are apart. Nothing is scaled: of
8 and 7 pt, lines and columns as they are or changed over, upright and sideways, the first that fits is taken, and what
fits no page is cut into parts. Needs booktabs, siunitx, amssymb, longtable, rotating and pdflscape.

    python -m pytest tests/vptstudy/report/test_latex.py
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, replace
from itertools import groupby

from vptstudy.report.tables.grid import Block, Entry, Grid, Tabular

# Points. What a page of LaTeX's article in 10 pt holds, less what the caption of a sideways table takes.
LINE, PAGE = 345.0, 550.0
CAPTION = 90.0
SIZES = {r"\footnotesize": 8.0, r"\scriptsize": 7.0}
# Between two columns, on each side.
SEPARATION = 3.0
# Lines that fit an upright page under a caption.
MOST_LINES = 45
# A column's head is broken into lines of so many letters.
HEAD_LETTERS = 12
_NUMBER = re.compile(r"[+−-]?\d+(\.\d+)?")

_LATEX = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "±": r"$\pm$",
    "−": "$-$",
    "–": "--",
    "—": "---",
    "…": r"\dots{}",
    "×": r"$\times$",
    "≤": r"$\leq$",
    "≥": r"$\geq$",
    "≈": r"$\approx$",
    "Δ": r"$\Delta$",
    "δ": r"$\delta$",
    "ρ": r"$\rho$",
    "†": r"\dag{}",
    "‡": r"\ddag{}",
    "✓": r"$\checkmark$",
    "≠": r"$\neq$",
    "●": r"$\bullet$",
    "§": r"\S{}",
    "◊": r"$\diamond$",
    "¶": r"\P{}",
    "é": r"\'e",
    "’": "'",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
}


def latex_escape(text: str) -> str:
    """A text as LaTeX prints it, in one line and in ASCII; a letter without a command of its own is a question mark."""
    found = (_LATEX.get(c, c if c.isascii() and c.isprintable() else " " if c.isspace() else "?") for c in text)
    return "".join(found)


@dataclass(frozen=True)
class _Column:
    """A column of numbers, or of text. `group` is the heading of the columns that share it."""

    title: str
    group: str = ""
    is_text: bool = False


@dataclass(frozen=True)
class _Row:
    """A line of labels and entries, or a heading over the full width. `ruled`: with a rule above."""

    labels: tuple[str, ...] = ()
    entries: tuple[Entry, ...] = ()
    ruled: bool = False
    heading: str = ""


@dataclass(frozen=True)
class _Sheet:
    """What one tabular holds: the labels' heads, the other columns, and the rows."""

    stub: tuple[str, ...]
    columns: tuple[_Column, ...]
    rows: tuple[_Row, ...]


@dataclass(frozen=True)
class _Fit:
    """How a sheet is set: its size's command, and whether it lies on its side."""

    command: str
    sideways: bool

    @property
    def points(self) -> float:
        return SIZES[self.command]

    @property
    def room(self) -> float:
        return PAGE if self.sideways else LINE


def to_latex(table: Tabular) -> str:
    """The table's floats, one below the other."""
    grid = table.grid
    named = [(block.title, _sheet(grid, [block])) for block in grid.blocks] if grid.apart else []
    sheets = named or [("", _sheet(grid, list(grid.blocks), headed=True))]
    parts, fit = _laid_out([sheet for _, sheet in sheets], may_turn=grid.apart)
    lines: list[str] = []
    for (title, _), pieces in zip(sheets, parts, strict=True):
        for place, piece in enumerate(pieces):
            first = not lines
            said = grid.caption if first else f"{grid.title}{f': {title}' if title else ''} (continued)."
            label = f"tab:{grid.name.replace('_', '-')}" + ("" if first else f"-{_slug(title)}{place or ''}")
            lines += _float(piece, fit, _caption(title if first else "", said), label)
    return "\n".join(lines) + "\n"


def _caption(block: str, words: str) -> str:
    """The first float of several says which block it is, as the further ones do."""
    return latex_escape(f"{block}. {words}" if block else words)


def _slug(title: str) -> str:
    return re.sub(r"[^a-z]+", "-", title.lower()).strip("-") or "part"


def _sheet(grid: Grid, blocks: list[Block], headed: bool = False) -> _Sheet:
    """Blocks as the rows of one sheet; `headed`: each under its title."""
    rows: list[_Row] = []
    for block in blocks:
        if headed and block.title:
            rows.append(_Row(heading=block.title, ruled=bool(rows)))
        for line in block.lines:
            labels = tuple(entry.main for entry in line.entries[: grid.stubs])
            rows.append(_Row(labels, line.entries[grid.stubs :], line.ruled))
    columns = tuple(_Column(c.title, c.group, c.is_text) for c in grid.columns[grid.stubs :])
    return _Sheet(tuple(column.title for column in grid.columns[: grid.stubs]), columns, tuple(rows))


def _turned(sheet: _Sheet) -> _Sheet:
    """Lines and columns changed over: the columns' groups become headings, the first of two labels a group."""
    columns = tuple(_Column(row.labels[-1], row.labels[0] if len(row.labels) > 1 else "") for row in sheet.rows)
    rows: list[_Row] = []
    for place, column in enumerate(sheet.columns):
        if column.group and (place == 0 or sheet.columns[place - 1].group != column.group):
            rows.append(_Row(heading=column.group, ruled=bool(rows)))
        rows.append(_Row((column.title,), tuple(row.entries[place] for row in sheet.rows)))
    return _Sheet(("Task",), columns, tuple(rows))


def _laid_out(sheets: list[_Sheet], may_turn: bool) -> tuple[list[list[_Sheet]], _Fit]:
    """The sheets, all in the same way that fits; each in parts where no way does."""
    for sideways in (False, True):
        for shown in (sheets, [_turned(sheet) for sheet in sheets]) if may_turn else (sheets,):
            for command in SIZES:
                fit = _Fit(command, sideways)
                if all(_fits(sheet, fit) for sheet in shown):
                    return [[sheet] for sheet in shown], fit
    smallest = _Fit(list(SIZES)[-1], sideways=not may_turn)
    turned = [_turned(sheet) for sheet in sheets] if may_turn else sheets
    return [_parts(sheet, smallest) for sheet in turned], smallest


def _fits(sheet: _Sheet, fit: _Fit) -> bool:
    """Whether it fits the width. What is too tall breaks over pages, upright or sideways."""
    return _width(sheet, fit.points) <= fit.room


def _is_long(sheet: _Sheet, fit: _Fit) -> bool:
    """Whether it breaks over pages: more lines than a page holds, upright or sideways."""
    most = (LINE - CAPTION) / (1.35 * fit.points) - 3 if fit.sideways else MOST_LINES
    return len(sheet.rows) > most


def _parts(sheet: _Sheet, fit: _Fit) -> list[_Sheet]:
    """The columns in as few runs as fit the width, each with the labels again."""
    parts, start = [], 0
    while start < len(sheet.columns):
        end = start + 1
        while end < len(sheet.columns) and _width(_cut(sheet, start, end + 1), fit.points) <= fit.room:
            end += 1
        end = _at_a_group(sheet, start, end)
        parts.append(_cut(sheet, start, end))
        start = end
    return parts


def _at_a_group(sheet: _Sheet, start: int, end: int) -> int:
    """`end`, or before it where a group of columns ends, so that no group is cut that need not be."""
    groups = [column.group for column in sheet.columns]
    ends = [at for at in range(start + 1, end + 1) if at == len(groups) or groups[at] != groups[at - 1]]
    return max(ends, default=end)


def _cut(sheet: _Sheet, start: int, end: int) -> _Sheet:
    rows = tuple(replace(row, entries=row.entries[start:end]) for row in sheet.rows)
    return replace(sheet, columns=sheet.columns[start:end], rows=rows)


def _width(sheet: _Sheet, points: float) -> float:
    """An upper estimate of a sheet's width in points."""
    labels = [
        max([_long(name, points), *(_long(row.labels[place], points) for row in sheet.rows if row.labels)])
        for place, name in enumerate(sheet.stub)
    ]
    widths = [_column_width(sheet, place, points) for place in range(len(sheet.columns))]
    return sum(labels) + sum(widths) + 2 * SEPARATION * (len(labels) + len(widths))


def _column_width(sheet: _Sheet, place: int, points: float) -> float:
    head = max(_long(part, points) for part in _broken(sheet.columns[place].title))
    entries = [row.entries[place] for row in sheet.rows if row.entries]
    if sheet.columns[place].is_text:
        return max([head, *(_long(entry.main, points) for entry in entries)])
    body = max((_long(entry.main, points) for entry in entries), default=0.0)
    after = max((_long(_after(entry), points) for entry in entries), default=0.0)
    return max(head, body + after + (2.0 if after else 0.0))


# Widths in ems of Computer Modern's small sizes, which run wider than its 10 pt.
_WIDE, _CAPITAL, _NARROW, _USUAL = 0.95, 0.82, 0.36, 0.6


def _long(text: str, points: float) -> float:
    return points * _ems(text)


def _ems(text: str) -> float:
    return sum(map(_letter, text))


def _letter(letter: str) -> float:
    if letter in "mwMW±−+×=<>%✓≈≤≥":
        return _WIDE
    if letter.isupper():
        return _CAPITAL
    return _NARROW if letter in "iljtfr.,:;'()[]| !/" else _USUAL


def _broken(title: str) -> list[str]:
    """A head in lines of about HEAD_LETTERS letters, broken between words."""
    lines = [""]
    for word in title.split():
        if lines[-1] and len(lines[-1]) + len(word) >= HEAD_LETTERS:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    return lines


def _float(sheet: _Sheet, fit: _Fit, caption: str, label: str) -> list[str]:
    """A `table`, sideways where it must be; a `longtable`, which breaks over pages, where it has too many lines."""
    named = rf"\caption{{{caption}}}\label{{{label}}}"
    spec, head, body = _spec(sheet), [r"\toprule", *_head(sheet), r"\midrule"], _body(sheet)
    size = rf"{fit.command}\setlength{{\tabcolsep}}{{{SEPARATION:g}pt}}"
    if _is_long(sheet, fit):
        lines = [
            rf"\begingroup{size}\setlength{{\LTcapwidth}}{{\linewidth}}",
            *_longtable(spec, len(_cells(sheet)), named, head, body),
            r"\endgroup",
        ]
        return [r"\begin{landscape}", *lines, r"\end{landscape}"] if fit.sideways else lines
    environment = "sidewaystable" if fit.sideways else "table"
    place = "" if fit.sideways else "[tp]"
    tabular = [rf"\begin{{tabular}}{{{spec}}}", *head, *body, r"\bottomrule", r"\end{tabular}"]
    return [
        rf"\begin{{{environment}}}{place}",
        *[r"\centering", named, size],
        *tabular,
        rf"\end{{{environment}}}",
    ]


def _longtable(spec: str, count: int, named: str, head: list[str], body: list[str]) -> list[str]:
    """Head and rules on every page."""
    ends = rf"\multicolumn{{{count}}}{{r}}{{continued on the next page}} \\"
    return [
        rf"\begin{{longtable}}{{{spec}}}",
        *[named + r" \\", *head, r"\endfirsthead", *head, r"\endhead"],
        *[r"\midrule", ends, r"\endfoot", r"\bottomrule", r"\endlastfoot"],
        *body,
        r"\end{longtable}",
    ]


@dataclass(frozen=True)
class _Cells:
    """How a column is set: its letters in the tabular's head, and how many places of the tabular it takes."""

    letters: str
    places: int
    whole: int = 0


def _cells(sheet: _Sheet) -> list[str]:
    """One entry for each place of the tabular."""
    return ["l"] * len(sheet.stub) + ["x"] * sum(_set(sheet, place).places for place in range(len(sheet.columns)))


def _set(sheet: _Sheet, place: int) -> _Cells:
    """Numbers are aligned by their decimal point; what follows them has a place of its own."""
    if sheet.columns[place].is_text:
        return _Cells("l", 1)
    entries = [row.entries[place] for row in sheet.rows if row.entries]
    numbers = [entry.main for entry in entries if _NUMBER.fullmatch(entry.main)]
    if not numbers:
        return _Cells("r", 1)
    # A minus is a tenth of a point wider than a plus.
    signs = {main[0] for main in numbers}
    sign = "-" if signs & {"−", "-"} else "+" if "+" in signs else ""
    whole = max(len(main.lstrip("+−-").partition(".")[0]) for main in numbers)
    decimals = max(len(main.partition(".")[2]) for main in numbers)
    # A text among the numbers, such as '< 0.001', has as much room as the longest number.
    texts = [entry.main for entry in entries if entry.main not in numbers]
    lacking = max(map(_ems, texts), default=0.0) - _ems(f"{sign}{'0' * whole}.{'0' * decimals}")
    whole += max(0, math.ceil(lacking / _USUAL))
    plus = "retain-explicit-plus," if any(main[0] == "+" for main in numbers) else ""
    letters = f"S[{plus}table-format={sign}{whole}.{decimals}]"
    follows = any(_after(entry) for entry in entries)
    return _Cells(letters + (r"@{\,}l" if follows else ""), 1 + follows, whole)


def _after(entry: Entry) -> str:
    """What follows the number: its mark, its spread, its wins."""
    return " ".join(filter(None, (entry.mark, entry.spread, f"({entry.wins})" if entry.wins else "")))


def _spec(sheet: _Sheet) -> str:
    return "l" * len(sheet.stub) + "".join(_set(sheet, place).letters for place in range(len(sheet.columns)))


def _head(sheet: _Sheet):
    """The groups with a rule below each, then the columns' titles."""
    places = [_set(sheet, place).places for place in range(len(sheet.columns))]
    if any(column.group for column in sheet.columns):
        start, spans, rules = len(sheet.stub) + 1, [], []
        for group, members in groupby(range(len(places)), lambda place: sheet.columns[place].group):
            width = sum(places[place] for place in members)
            spans.append(rf"\multicolumn{{{width}}}{{c}}{{\textit{{{latex_escape(group)}}}}}")
            rules.append(rf"\cmidrule(lr){{{start}-{start + width - 1}}}")
            start += width
        yield " & ".join([""] * len(sheet.stub) + spans) + r" \\"
        yield " ".join(rules)
    titles = [_title(column, width) for column, width in zip(sheet.columns, places, strict=True)]
    yield " & ".join([*map(latex_escape, sheet.stub), *titles]) + r" \\"


def _title(column: _Column, places: int) -> str:
    lines, at = [latex_escape(line) for line in _broken(column.title)], "l" if column.is_text else "r"
    stacked = r"\\".join(lines)
    words = stacked if len(lines) == 1 else rf"\shortstack[{at}]{{{stacked}}}"
    return rf"\multicolumn{{{places}}}{{{at if column.is_text else 'c' if places > 1 else 'r'}}}{{{words}}}"


def _body(sheet: _Sheet) -> list[str]:
    cells, lines = len(_cells(sheet)), []
    settings = [_set(sheet, place) for place in range(len(sheet.columns))]
    for row in sheet.rows:
        lines += [r"\midrule"] if row.ruled else []
        if row.heading:
            lines.append(rf"\multicolumn{{{cells}}}{{l}}{{\textit{{{latex_escape(row.heading)}}}}} \\")
        else:
            entries = [
                _entry(entry, column, setting)
                for entry, column, setting in zip(row.entries, sheet.columns, settings, strict=True)
            ]
            lines.append(" & ".join([*map(latex_escape, row.labels), *entries]) + r" \\")
    return lines


def _entry(entry: Entry, column: _Column, setting: _Cells) -> str:
    if column.is_text:
        return latex_escape(entry.main)
    main = _number(entry, setting) if _NUMBER.fullmatch(entry.main) and setting.whole else _words(entry)
    return main if setting.places == 1 else f"{main} & {latex_escape(_after(entry))}".rstrip()


def _number(entry: Entry, setting: _Cells) -> str:
    """A number for siunitx to align; an underlined one is a text to it, set as wide as the column's numbers are."""
    plain = entry.main.replace("−", "-")
    if not entry.underlined:
        return (r"\bfseries " if entry.bold else "") + plain
    missing = setting.whole - len(plain.lstrip("+-").partition(".")[0])
    shown = rf"\underline{{{latex_escape(entry.main)}}}"
    shown = rf"\textbf{{{shown}}}" if entry.bold else shown
    return "{" + (rf"\phantom{{{'0' * missing}}}" if missing > 0 else "") + shown + "}"


def _words(entry: Entry) -> str:
    """What is no number: braces keep siunitx from reading it."""
    return "{" + latex_escape(entry.main) + "}" if entry.main else "{}"
