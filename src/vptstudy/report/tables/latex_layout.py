"""How a table is laid out for LaTeX: as it is or turned, upright or sideways, in 8 or 7 pt, whole or in parts.

In: the blocks of a `Grid`. Out: sheets, which hold what one tabular holds, and the size at which all of them fit a page
whose lines are 345 pt wide. Widths are estimated from letters, never too small.

    python -m pytest tests/vptstudy/report/test_latex.py
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from vptstudy.report.tables.grid import Block, Entry, Grid

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
NUMBER = re.compile(r"[+−-]?\d+(\.\d+)?")


@dataclass(frozen=True)
class Column:
    """A column of numbers, or of text. `group` is the heading of the columns that share it."""

    title: str
    group: str = ""
    is_text: bool = False


@dataclass(frozen=True)
class Row:
    """A line of labels and entries, or a heading over the full width. `ruled`: with a rule above."""

    labels: tuple[str, ...] = ()
    entries: tuple[Entry, ...] = ()
    ruled: bool = False
    heading: str = ""


@dataclass(frozen=True)
class Sheet:
    """What one tabular holds: the labels' heads, the other columns, and the rows."""

    stub: tuple[str, ...]
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]


@dataclass(frozen=True)
class Fit:
    """How a sheet is set: its size's command, and whether it lies on its side."""

    command: str
    sideways: bool

    @property
    def points(self) -> float:
        return SIZES[self.command]

    @property
    def room(self) -> float:
        return PAGE if self.sideways else LINE


def sheet_of(grid: Grid, blocks: list[Block], headed: bool = False) -> Sheet:
    """Blocks as the rows of one sheet; `headed`: each under its title."""
    rows: list[Row] = []
    for block in blocks:
        if headed and block.title:
            rows.append(Row(heading=block.title, ruled=bool(rows)))
        for line in block.lines:
            labels = tuple(entry.main for entry in line.entries[: grid.stubs])
            rows.append(Row(labels, line.entries[grid.stubs :], line.ruled))
    columns = tuple(Column(c.title, c.group, c.is_text) for c in grid.columns[grid.stubs :])
    return Sheet(tuple(column.title for column in grid.columns[: grid.stubs]), columns, tuple(rows))


def _turned(sheet: Sheet) -> Sheet:
    """Lines and columns changed over: the columns' groups become headings, the first of two labels a group."""
    columns = tuple(Column(row.labels[-1], row.labels[0] if len(row.labels) > 1 else "") for row in sheet.rows)
    rows: list[Row] = []
    for place, column in enumerate(sheet.columns):
        if column.group and (place == 0 or sheet.columns[place - 1].group != column.group):
            rows.append(Row(heading=column.group, ruled=bool(rows)))
        rows.append(Row((column.title,), tuple(row.entries[place] for row in sheet.rows)))
    return Sheet(("Task",), columns, tuple(rows))


def laid_out(sheets: list[Sheet], may_turn: bool) -> tuple[list[list[Sheet]], Fit]:
    """The sheets, all in the same way that fits; each in parts where no way does."""
    for sideways in (False, True):
        for shown in (sheets, [_turned(sheet) for sheet in sheets]) if may_turn else (sheets,):
            for command in SIZES:
                fit = Fit(command, sideways)
                if all(_fits(sheet, fit) for sheet in shown):
                    return [[sheet] for sheet in shown], fit
    smallest = Fit(list(SIZES)[-1], sideways=not may_turn)
    turned = [_turned(sheet) for sheet in sheets] if may_turn else sheets
    return [_parts(sheet, smallest) for sheet in turned], smallest


def _fits(sheet: Sheet, fit: Fit) -> bool:
    """Whether it fits the width. What is too tall breaks over pages, upright or sideways."""
    return _width(sheet, fit.points) <= fit.room


def is_long(sheet: Sheet, fit: Fit) -> bool:
    """Whether it breaks over pages: more lines than a page holds, upright or sideways."""
    most = (LINE - CAPTION) / (1.35 * fit.points) - 3 if fit.sideways else MOST_LINES
    return len(sheet.rows) > most


def _parts(sheet: Sheet, fit: Fit) -> list[Sheet]:
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


def _at_a_group(sheet: Sheet, start: int, end: int) -> int:
    """`end`, or before it where a group of columns ends, so that no group is cut that need not be."""
    groups = [column.group for column in sheet.columns]
    ends = [at for at in range(start + 1, end + 1) if at == len(groups) or groups[at] != groups[at - 1]]
    return max(ends, default=end)


def _cut(sheet: Sheet, start: int, end: int) -> Sheet:
    rows = tuple(replace(row, entries=row.entries[start:end]) for row in sheet.rows)
    return replace(sheet, columns=sheet.columns[start:end], rows=rows)


def _width(sheet: Sheet, points: float) -> float:
    """An upper estimate of a sheet's width in points."""
    labels = [
        max([_long(name, points), *(_long(row.labels[place], points) for row in sheet.rows if row.labels)])
        for place, name in enumerate(sheet.stub)
    ]
    widths = [_column_width(sheet, place, points) for place in range(len(sheet.columns))]
    return sum(labels) + sum(widths) + 2 * SEPARATION * (len(labels) + len(widths))


def _column_width(sheet: Sheet, place: int, points: float) -> float:
    head = max(_long(part, points) for part in broken(sheet.columns[place].title))
    entries = [row.entries[place] for row in sheet.rows if row.entries]
    if sheet.columns[place].is_text:
        return max([head, *(_long(entry.main, points) for entry in entries)])
    body = max((_long(entry.main, points) for entry in entries), default=0.0)
    after = max((_long(beside(entry), points) for entry in entries), default=0.0)
    return max(head, body + after + (2.0 if after else 0.0))


# Widths in ems of Computer Modern's small sizes, which run wider than its 10 pt.
_WIDE, _CAPITAL, _NARROW, USUAL = 0.95, 0.82, 0.36, 0.6


def _long(text: str, points: float) -> float:
    return points * ems(text)


def ems(text: str) -> float:
    return sum(map(_letter, text))


def _letter(letter: str) -> float:
    if letter in "mwMW±−+×=<>%✓≈≤≥":
        return _WIDE
    if letter.isupper():
        return _CAPITAL
    return _NARROW if letter in "iljtfr.,:;'()[]| !/" else USUAL


def broken(title: str) -> list[str]:
    """A head in lines of about HEAD_LETTERS letters, broken between words."""
    lines = [""]
    for word in title.split():
        if lines[-1] and len(lines[-1]) + len(word) >= HEAD_LETTERS:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    return lines


def beside(entry: Entry) -> str:
    """What follows the number: its mark, its spread, its wins."""
    return " ".join(filter(None, (entry.mark, entry.spread, f"({entry.wins})" if entry.wins else "")))
