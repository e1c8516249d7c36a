"""From a built table of the paper to its printed grid: ours, the paper's, and the difference, as blocks of lines.

In: a `build.Table`. Out: its `Grid`; each of our numbers links to the rows it was made from.

    python -m pytest tests/vptstudy/report/test_render.py
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pandas as pd

from vptcore.analysis.published import KNOWN, OTHER_TASKS
from vptcore.analysis.statistics import number
from vptstudy.report.captions import MARKS
from vptstudy.report.page.sources import cell_link
from vptstudy.report.tables.grid import GROUP_TITLES, Block, Entry, Grid, GridColumn, GridLine
from vptstudy.report.tables.printed import MEAN

if TYPE_CHECKING:
    from vptstudy.report.tables.build import Line, Table

_STATE_MARKS = {"partial": "*", "fewer": "†"}
CSV_COLUMNS = [
    "table",
    "backbone",
    "method",
    "train",
    "group",
    "task",
    "metric",
    "mean",
    "std",
    "low",
    "high",
    "n",
    "wins",
    "ties",
    "printed",
    "difference",
    "verdict",
    "text",
]


def grid_of(table: Table) -> Grid:
    """The grid of a built table. Its CSV is tidy: one line per cell, accuracies in percent, four decimals."""
    return Grid(
        name=str(table.number).zfill(2),
        heading=f"Table {table.number}: {table.title}" if str(table.number).isdigit() else table.title,
        title=table.title,
        caption=table.caption,
        columns=tuple(_columns(table)),
        blocks=tuple(_blocks(table)),
        csv=table.frame[CSV_COLUMNS].to_csv(index=False, float_format="%.4f", lineterminator="\n"),
        apart=True,
    )


def _columns(table: Table):
    """'Mean' says of what, where the table has more than one group."""
    yield from (GridColumn(name, is_text=True, is_stub=True) for name in table.stub)
    several = len({column.group for column in table.columns}) > 1
    for column in table.columns:
        group, is_mean = GROUP_TITLES[column.group], column.task == MEAN
        full = f"{group} mean" if several and is_mean else ""
        yield GridColumn(column.title, is_mean=is_mean, group=group, full=full)


def _blocks(table: Table) -> list[Block]:
    """Ours; and where the paper prints numbers for these cells, theirs and the difference."""
    ours = _block("This study" if table.has_published else "", table, _ours)
    if not table.has_published:
        return [ours]
    return [ours, _block("Paper", table, _paper, True), _block("This study − paper", table, _difference, True)]


def _block(title: str, table: Table, entry, only_published: bool = False) -> Block:
    rows = {(r.method, r.train, r.metric, r.group, r.task): r for r in table.frame.itertuples()}
    lines = []
    for line in table.lines:
        mine = [rows[line.method, line.train, line.metric, column.group, column.task] for column in table.columns]
        if only_published and all(math.isnan(row.printed) for row in mine):
            continue
        labels = tuple(Entry(label) for label in _labels(line, table.stub))
        lines.append(GridLine((*labels, *(entry(row) for row in mine)), line.ruled and bool(lines), line.metric))
    return Block(title, tuple(lines))


def _labels(line: Line, stub: tuple[str, ...]) -> tuple[str, ...]:
    return (line.train, line.title) if len(stub) == 2 else (line.title,)


def _ours(row) -> Entry:
    main, _, spread = row.text.partition(" ±")
    wins, sort = "" if pd.isna(row.wins) else str(int(row.wins)), _sort(row.mean)
    link = cell_link(row.backbone, row.method, row.task, row.train, row.metric) if sort else ""
    mark = _STATE_MARKS.get(row.state, "")
    return Entry(main, spread and f"±{spread}", wins, mark, row.bold, row.underlined, sort, link=link)


def _paper(row) -> Entry:
    if math.isnan(row.printed):
        return Entry()
    main = number(row.printed, max(row.decimals, _decimals(row.printed)))
    wins = "" if math.isnan(row.printed_wins) else f"{int(row.printed_wins)}{MARKS.get(row.wins_kind, '')}"
    why = "; ".join(filter(None, (row.why, row.wins_why)))
    mark, style = MARKS[row.verdict] if row.verdict in KNOWN else "", row.printed_style
    return Entry(main, "", wins, mark, "bold" in style, "underlined" in style, _sort(row.printed), why=why)


def _difference(row) -> Entry:
    if math.isnan(row.printed):
        return Entry()
    mark = MARKS[row.verdict]
    if math.isnan(row.difference):
        return Entry("–", mark=mark if row.verdict in (*KNOWN, OTHER_TASKS) else "", verdict=row.verdict, why=row.why)
    main = number(row.difference, row.decimals, signed=True)
    return Entry(main, mark=mark, sort=_sort(row.difference), verdict=row.verdict, why=row.why)


def _sort(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.6f}"


def _decimals(value: float) -> int:
    """How many decimals the paper printed, at most three: its values are kept as short as they were printed."""
    return min(3, len(f"{value:.3f}".rstrip("0").partition(".")[2]))
