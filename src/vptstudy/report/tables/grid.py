"""From a table's tidy frame to the printed grid: ours, the paper's, and the difference, as blocks of lines of entries.

In: a `tables.Table`. Out: `Block` values that every renderer walks the same way, and the head's groups.

    python -m pytest tests/vptstudy/report/test_render.py
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import groupby

import pandas as pd

from vptcore.analysis.statistics import number
from vptstudy.report.captions import MARKS
from vptstudy.report.tables.build import Line, Table

# FGVC is an abbreviation; the other groups are words.
GROUP_TITLES = {"natural": "Natural", "specialized": "Specialized", "structured": "Structured", "fgvc": "FGVC"}
_STATE_MARKS = {"partial": "*", "fewer": "†"}


@dataclass(frozen=True)
class Entry:
    """One printed cell: `main` is set bold or underlined, `spread` small, `wins` in brackets, `mark` raised.

    `value` sorts; `verdict` and `why` explain a difference from the paper.
    """

    main: str = ""
    spread: str = ""
    wins: str = ""
    mark: str = ""
    bold: bool = False
    underlined: bool = False
    value: float = math.nan
    verdict: str = ""
    why: str = ""


@dataclass(frozen=True)
class GridLine:
    labels: tuple[str, ...]
    entries: tuple[Entry, ...]
    ruled: bool
    metric: str


@dataclass(frozen=True)
class Block:
    """`title` is '' for a table that has one block only."""

    title: str
    lines: tuple[GridLine, ...]


def blocks(table: Table) -> list[Block]:
    """Ours; and where the paper prints numbers for these cells, theirs and the difference."""
    ours = _block("This study" if table.has_published else "", table, _ours)
    if not table.has_published:
        return [ours]
    return [ours, _block("Paper", table, _paper, True), _block("This study − paper", table, _difference, True)]


def head(table: Table) -> list[tuple[str, int]]:
    """The groups above the columns: (title, number of columns)."""
    return [(GROUP_TITLES[group], len(list(columns))) for group, columns in groupby(table.columns, lambda c: c.group)]


def _block(title: str, table: Table, entry, only_published: bool = False) -> Block:
    rows = {(r.method, r.train, r.metric, r.group, r.task): r for r in table.frame.itertuples()}
    lines = []
    for line in table.lines:
        mine = [rows[line.method, line.train, line.metric, column.group, column.task] for column in table.columns]
        if only_published and all(math.isnan(row.printed) for row in mine):
            continue
        labels = _labels(line, table.stub)
        lines.append(GridLine(labels, tuple(entry(row) for row in mine), line.ruled and bool(lines), line.metric))
    return Block(title, tuple(lines))


def _labels(line: Line, stub: tuple[str, ...]) -> tuple[str, ...]:
    return (line.train, line.title) if len(stub) == 2 else (line.title,)


def _ours(row) -> Entry:
    main, _, spread = row.text.partition(" ±")
    wins = "" if pd.isna(row.wins) else str(int(row.wins))
    return Entry(
        main, spread and f"±{spread}", wins, _STATE_MARKS.get(row.state, ""), row.bold, row.underlined, row.mean
    )


def _paper(row) -> Entry:
    if math.isnan(row.printed):
        return Entry()
    main = number(row.printed, max(row.decimals, _decimals(row.printed)))
    wins = "" if math.isnan(row.printed_wins) else f"{int(row.printed_wins)}{MARKS['slip'] if row.wins_why else ''}"
    why = "; ".join(filter(None, (row.why, row.wins_why)))
    mark, style = MARKS["slip"] if row.verdict == "slip" else "", row.printed_style
    return Entry(main, "", wins, mark, "bold" in style, "underlined" in style, value=row.printed, why=why)


def _difference(row) -> Entry:
    if math.isnan(row.printed):
        return Entry()
    mark = MARKS[row.verdict]
    if math.isnan(row.difference):
        return Entry("–", mark=mark if row.verdict == "slip" else "", verdict=row.verdict, why=row.why)
    main = number(row.difference, row.decimals, signed=True)
    return Entry(main, mark=mark, value=row.difference, verdict=row.verdict, why=row.why)


def _decimals(value: float) -> int:
    """How many decimals the paper printed, at most three: its values are kept as short as they were printed."""
    return min(3, len(f"{value:.3f}".rstrip("0").partition(".")[2]))
