"""One generic builder for the paper's twenty tables: rows of kind `final` in, a `Table` with a tidy frame out.

In: a table's number, a study, the `final` rows of `cells(number, study)` and, for Table 19, the `fid` rows. Out: a
`Table`, which `renderers` turn into CSV, Markdown, LaTeX, HTML and terminal text. Missing rows are marked and counted,
never filled in.

    python -m pytest tests/vptstudy/report/test_tables.py
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

import pandas as pd

from vptcore.analysis.evidence import grouped, not_worse
from vptcore.analysis.published import printed_table
from vptcore.analysis.statistics import CELL, Estimate, Wins, count_wins, group_mean, number, summarise, welch
from vptcore.models.methods_table import METHODS
from vptcore.records import RowsError
from vptstudy.report import captions
from vptstudy.report.contrasts import Contrasts
from vptstudy.report.tables.grid import Grid
from vptstudy.report.tables.paper_grid import grid_of
from vptstudy.report.tables.printed import MEAN, comparable, with_published
from vptstudy.report.tables.specs import TABLES, TableSpec, backbone_of, cells, methods_of, spec_of, tasks_of, trains_of
from vptstudy.study import Cell, Study

__all__ = ["MEAN", "TABLES", "Column", "Line", "Table", "build", "cells"]


@dataclass(frozen=True)
class Column:
    """A task, or a group's mean (`task` is 'mean')."""

    task: str
    group: str
    title: str


@dataclass(frozen=True)
class Line:
    """One row of the printed table.

    `metric`: accuracy, tuned_percent, prompt_length, fid or gap; `ruled`: with a rule above.
    """

    method: str
    train: str
    metric: str
    title: str
    ruled: bool = False


@dataclass(frozen=True)
class Table:
    """A built table.

    `frame` has one row per line and column: its CSV's columns, and whether it is bold, underlined or marked.
    """

    number: int | str
    title: str
    caption: str
    backbone: str
    stub: tuple[str, ...]
    columns: tuple[Column, ...]
    lines: tuple[Line, ...]
    frame: pd.DataFrame = field(repr=False)

    @property
    def grid(self) -> Grid:
        return grid_of(self)

    @property
    def has_published(self) -> bool:
        return bool(self.frame["printed"].notna().any())


@dataclass(frozen=True)
class _Rows:
    """What a table is made of: its cells, their checked rows, a summary per cell, and the Fréchet distance per task."""

    cells: list[Cell]
    final: pd.DataFrame
    summary: dict[Cell, dict]
    fid: dict[str, float]

    def of(self, line: Line) -> dict[str, dict]:
        """Task -> summary of the line's cells that have rows."""
        return {c.task: s for c, s in self.summary.items() if (c.method, c.train) == (line.method, line.train)}

    def expected(self, line: Line, tasks: list[str]) -> list[str]:
        """Those of `tasks` that the study runs in this line: small tasks drop out of the larger train sizes."""
        run = {c.task for c in self.cells if (c.method, c.train) == (line.method, line.train)}
        return [task for task in tasks if task in run]


def build(
    number: int | str,
    study: Study,
    final: pd.DataFrame,
    fid: pd.DataFrame | None = None,
    predictions: Mapping[Cell, pd.DataFrame] | None = None,
) -> Table:
    """Table `number` from its rows; ValueError if the study has no cell for it, RowsError for rows that are wrong.

    `predictions` say which numbers are not worse than the best of their column; without them seeds alone do.
    """
    spec, wanted = spec_of(number), cells(number, study)
    if not wanted:
        raise ValueError(f"table {number}: the study {study.name!r} has no cells for it ({spec.title})")
    groups = tasks_of(spec, wanted, study)
    rows = _Rows(wanted, *_read(final, wanted), _distances(fid))
    columns = tuple(_columns(spec, groups, study))
    lines = tuple(_lines(spec, study, rows))
    backbone = backbone_of(spec, study)
    records = [record for line in lines for record in _records(line, columns, groups, rows)]
    frame = pd.DataFrame(records).assign(table=number, backbone=backbone).astype({"wins": "Int64"})
    marked = _with_marks(frame, Contrasts(study, rows.final, predictions), backbone)
    frame = with_published(marked, comparable(printed_table(number, backbone), fid))
    caption = captions.table_caption(spec, study, backbone, wanted, rows.summary, frame)
    stub = ("Train size", "Method") if spec.trains == "sizes" else ("Method",)
    return Table(number, spec.title, caption, backbone, stub, columns, lines, frame)


def _read(final: pd.DataFrame, wanted: list[Cell]) -> tuple[pd.DataFrame, dict[Cell, dict]]:
    """The rows of the wanted cells, checked, and their summaries."""
    mine = rows_of(final, wanted)
    summary = {Cell(**{name: row[name] for name in CELL}): row for row in summarise(mine).to_dict("records")}
    return mine, summary


def rows_of(frame: pd.DataFrame, wanted: list[Cell]) -> pd.DataFrame:
    """The rows of the wanted cells."""
    asked = pd.MultiIndex.from_tuples([(c.backbone, c.method, c.task, c.train) for c in wanted], names=CELL)
    return frame.loc[pd.MultiIndex.from_frame(frame[CELL]).isin(asked)]


def _distances(fid: pd.DataFrame | None) -> dict[str, float]:
    if fid is None or fid.empty:
        return {}
    if fid["task"].duplicated().any():
        task = fid.loc[fid["task"].duplicated(), "task"].iloc[0]
        raise RowsError(
            f"fid rows: task {task} occurs twice; expected one distance per task, in the features of one network"
        )
    return dict(zip(fid["task"], fid["fid"].astype(float), strict=True))


def _columns(spec: TableSpec, groups: Mapping[str, list[str]], study: Study):
    for group, tasks in groups.items():
        yield from (Column(task, group, study.tasks[task].title) for task in tasks)
        # In a study of one task the mean is that task.
        if spec.mean and sum(map(len, groups.values())) > 1:
            yield Column(MEAN, group, "Mean")


def _lines(spec: TableSpec, study: Study, rows: _Rows):
    """Per train size the methods in order; then the rows that are not accuracies."""
    for position, train in enumerate(trains_of(spec, study)):
        run = {c.method for c in rows.cells if c.train == train}
        methods = [m for m in methods_of(spec, study) if m in run]
        for place, method in enumerate(methods):
            first_of_others = method not in spec.methods and (place == 0 or methods[place - 1] in spec.methods)
            ruled = first_of_others or (place == 0 and position > 0)
            yield Line(method, train, spec.metric, METHODS[method].title, ruled)
        if spec.tuned and "vpt" in run:
            yield Line("vpt", train, "tuned_percent", "VPT tuned / total (%)", ruled=True)
        if spec.gap and set(spec.methods) <= run:
            yield Line(spec.methods[-1], train, "gap", "Gap")
    if spec.fid and rows.fid:
        yield Line("", trains_of(spec, study)[0], "fid", "Fréchet distance")


def _records(line: Line, columns: tuple[Column, ...], groups: Mapping[str, list[str]], rows: _Rows):
    """One dict per column of a line."""
    for column in columns:
        tasks = rows.expected(line, groups[column.group]) if line.metric != "fid" else groups[column.group]
        if column.task == MEAN:
            entry = _mean_entry(line, tasks, len(groups[column.group]), rows)
        else:
            entry = _task_entry(line, column.task, column.task in tasks, rows)
        yield {
            "method": line.method,
            "train": line.train,
            "group": column.group,
            "task": column.task,
            "metric": line.metric,
            **entry,
        }


def _task_entry(line: Line, task: str, expected: bool, rows: _Rows) -> dict:
    """`state` is '' for a number, 'missing' for rows that are not there, 'none' for a cell the study does not have."""
    found = rows.of(line).get(task)
    if line.metric == "fid":
        value = rows.fid.get(task, math.nan)
        return _entry(Estimate(value, n=0 if math.isnan(value) else 1), 1)
    if found is None:
        return {**_entry(Estimate(), 1), "state": "missing" if expected else "none", "text": "–" if expected else ""}
    if line.metric == "gap":
        return _gap_entry(found, rows.of(Line("full", line.train, "accuracy", "")).get(task))
    if line.metric == "accuracy":
        return _entry(_estimate(found).scaled(100), 1)
    decimals = 2 if line.metric == "tuned_percent" else 0
    return _entry(Estimate(found[line.metric], n=int(found["n"])), decimals)


def _gap_entry(ours: dict, full: dict | None) -> dict:
    if full is None:
        return {**_entry(Estimate(), 1), "state": "missing"}
    gap = welch(_estimate(ours).scaled(100), _estimate(full).scaled(100))
    entry = _entry(Estimate(gap.difference, math.nan, gap.low, gap.high, min(ours["n"], full["n"])), 1)
    return {**entry, "text": number(gap.difference, 1, signed=True)}


def _mean_entry(line: Line, tasks: list[str], of: int, rows: _Rows) -> dict:
    """The mean over the line's own tasks.

    `state`: 'partial' if rows are missing, 'fewer' if the study runs fewer tasks here.
    """
    found = rows.of(line)
    present = [task for task in tasks if task in found]
    if line.metric == "fid":
        return {**_entry(Estimate(), 1), "state": "none", "text": ""}
    if not present:
        return {**_entry(Estimate(), 2), "state": "missing" if tasks else "none", "text": "–" if tasks else ""}
    state = "partial" if len(present) < len(tasks) else "fewer" if len(tasks) < of else ""
    if line.metric != "accuracy":
        value = sum(found[task][line.metric] for task in present) / len(present)
        return {**_entry(Estimate(value, n=1), 2), "state": state}
    mine = rows.final[(rows.final.method == line.method) & (rows.final.train == line.train)]
    entry = _entry(group_mean(mine, tasks).estimate.scaled(100), 2)
    return {**entry, "state": state, "tasks": len(present), **_wins_entry(line, present, rows)}


def _wins_entry(line: Line, tasks: list[str], rows: _Rows) -> dict:
    """Wins against full fine-tuning, over the tasks that both have; nothing for full itself or where it did not run."""
    full = {t: s["mean"] for t, s in rows.of(Line("full", line.train, "accuracy", "")).items()}
    if line.method == "full" or not full:
        return {}
    found = rows.of(line)
    wins: Wins = count_wins({task: found[task]["mean"] for task in tasks}, full)
    return {"wins": len(wins.won), "ties": " ".join(wins.tied)}


def _estimate(row: dict) -> Estimate:
    return Estimate(*(row[name] for name in ("mean", "std", "low", "high", "n")))


def _entry(value: Estimate, decimals: int) -> dict:
    spread = "" if math.isnan(value.std) else f" ±{number(value.std, decimals)}"
    return {
        **asdict(value),
        "wins": None,
        "ties": "",
        "state": "",
        "tasks": 1,
        "decimals": decimals,
        "text": number(value.mean, decimals) + spread,
    }


def _with_marks(frame: pd.DataFrame, contrasts: Contrasts, backbone: str) -> pd.DataFrame:
    """Bold: all that is not worse than the best of a train size and column. Underlined: the same of FT and VPT alone,
    where others compete as well.

    Means compete only with means over as many tasks.
    """
    accuracy = frame[(frame.metric == "accuracy") & frame["mean"].notna()]
    bold, underlined = set(), set()
    for (train, group, task), column in accuracy.groupby(["train", "group", "task"], sort=False):
        column = column[column.tasks == column.tasks.max()]
        inside = accuracy[(accuracy.train == train) & (accuracy.group == group) & (accuracy.task != MEAN)]
        train_of = dict.fromkeys(inside.task if task == MEAN else [task], train)
        pair = column[column.method.isin(("full", "vpt"))]
        if len(column) > 1:
            bold |= _best(column, contrasts, backbone, train_of)
        if len(pair) == 2 and len(column) > 2:
            underlined |= _best(pair, contrasts, backbone, train_of)
    return frame.assign(bold=frame.index.isin(bold), underlined=frame.index.isin(underlined))


def _best(column: pd.DataFrame, contrasts: Contrasts, backbone: str, train_of: Mapping[str, str]) -> set[int]:
    """The rows of the best mean, and of those that it is not clearly better than on these tasks."""
    best = str(column.loc[column["mean"].idxmax(), "method"])
    others = [method for method in column.method if method != best]
    gaps = {m: list(contrasts.over_tasks(best, m, backbone, train_of).values()) for m in others}
    names = not_worse(best, {m: grouped(found).these for m, found in gaps.items() if found})
    return set(column.index[column.method.isin(names)])
