r"""A table as LaTeX that prints at 7 pt or more on a page whose lines are 345 pt wide, as LaTeX's article has them.

In: anything with a `Grid`. Out: one float a table, or a float a block where blocks are apart. Nothing is scaled: of
8 and 7 pt, lines and columns as they are or changed over, upright and sideways, the first that fits is taken, and what
fits no page is cut into parts. Needs booktabs, siunitx, amssymb, longtable, rotating and pdflscape.

    python -m pytest tests/vptstudy/report/test_latex.py
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from itertools import groupby

from vptstudy.report.tables.grid import Entry, Tabular
from vptstudy.report.tables.latex_layout import (
    NUMBER,
    SEPARATION,
    USUAL,
    Column,
    Fit,
    Sheet,
    beside,
    broken,
    ems,
    is_long,
    laid_out,
    sheet_of,
)

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


def to_latex(table: Tabular) -> str:
    """The table's floats, one below the other."""
    grid = table.grid
    named = [(block.title, sheet_of(grid, [block])) for block in grid.blocks] if grid.apart else []
    sheets = named or [("", sheet_of(grid, list(grid.blocks), headed=True))]
    parts, fit = laid_out([sheet for _, sheet in sheets], may_turn=grid.apart)
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


def _float(sheet: Sheet, fit: Fit, caption: str, label: str) -> list[str]:
    """A `table`, sideways where it must be; a `longtable`, which breaks over pages, where it has too many lines."""
    named = rf"\caption{{{caption}}}\label{{{label}}}"
    spec, head, body = _spec(sheet), [r"\toprule", *_head(sheet), r"\midrule"], _body(sheet)
    size = rf"{fit.command}\setlength{{\tabcolsep}}{{{SEPARATION:g}pt}}"
    if is_long(sheet, fit):
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


def _cells(sheet: Sheet) -> list[str]:
    """One entry for each place of the tabular."""
    return ["l"] * len(sheet.stub) + ["x"] * sum(_set(sheet, place).places for place in range(len(sheet.columns)))


def _set(sheet: Sheet, place: int) -> _Cells:
    """Numbers are aligned by their decimal point; what follows them has a place of its own."""
    if sheet.columns[place].is_text:
        return _Cells("l", 1)
    entries = [row.entries[place] for row in sheet.rows if row.entries]
    numbers = [entry.main for entry in entries if NUMBER.fullmatch(entry.main)]
    if not numbers:
        return _Cells("r", 1)
    # A minus is a tenth of a point wider than a plus.
    signs = {main[0] for main in numbers}
    sign = "-" if signs & {"−", "-"} else "+" if "+" in signs else ""
    whole = max(len(main.lstrip("+−-").partition(".")[0]) for main in numbers)
    decimals = max(len(main.partition(".")[2]) for main in numbers)
    # A text among the numbers, such as '< 0.001', has as much room as the longest number.
    texts = [entry.main for entry in entries if entry.main not in numbers]
    lacking = max(map(ems, texts), default=0.0) - ems(f"{sign}{'0' * whole}.{'0' * decimals}")
    whole += max(0, math.ceil(lacking / USUAL))
    plus = "retain-explicit-plus," if any(main[0] == "+" for main in numbers) else ""
    letters = f"S[{plus}table-format={sign}{whole}.{decimals}]"
    follows = any(beside(entry) for entry in entries)
    return _Cells(letters + (r"@{\,}l" if follows else ""), 1 + follows, whole)


def _spec(sheet: Sheet) -> str:
    return "l" * len(sheet.stub) + "".join(_set(sheet, place).letters for place in range(len(sheet.columns)))


def _head(sheet: Sheet):
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


def _title(column: Column, places: int) -> str:
    lines, at = [latex_escape(line) for line in broken(column.title)], "l" if column.is_text else "r"
    stacked = r"\\".join(lines)
    words = stacked if len(lines) == 1 else rf"\shortstack[{at}]{{{stacked}}}"
    return rf"\multicolumn{{{places}}}{{{at if column.is_text else 'c' if places > 1 else 'r'}}}{{{words}}}"


def _body(sheet: Sheet) -> list[str]:
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


def _entry(entry: Entry, column: Column, setting: _Cells) -> str:
    if column.is_text:
        return latex_escape(entry.main)
    main = _number(entry, setting) if NUMBER.fullmatch(entry.main) and setting.whole else _words(entry)
    return main if setting.places == 1 else f"{main} & {latex_escape(beside(entry))}".rstrip()


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
