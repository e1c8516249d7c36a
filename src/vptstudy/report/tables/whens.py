"""When does VPT beat full fine-tuning? The paper's question, answered by slopes, a crossing size and calls of the sign.

In: final rows of VPT and full fine-tuning at every numbered size, and fid rows. Out: the `Listing` of table_when, and
the points that figure_when draws.

    snakemake table_when
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from vptcore.analysis.statistics import estimate, summarise
from vptcore.analysis.when import LEAST_TASKS, Called, Interval, call_signs, influences, trend
from vptcore.wording import have_verb, plural
from vptstudy.report.captions import join, protocol_line
from vptstudy.report.tables.build import rows_of
from vptstudy.report.tables.grid import GROUP_TITLES
from vptstudy.report.tables.listing import Listing, ListingColumn
from vptstudy.report.tables.specs import PAIR
from vptstudy.study import Cell, Study

COLUMNS = (
    ListingColumn("title", "About"),
    ListingColumn("tasks", "Tasks", 0),
    ListingColumn("cells", "Cells", 0),
    ListingColumn("value", "Points", 1, signed=True),
    ListingColumn("low", "95 % from", 1, signed=True),
    ListingColumn("high", "to", 1, signed=True),
    ListingColumn("crossing", "Crosses 0 at", 0),
    ListingColumn("crossing_low", "from", 0),
    ListingColumn("crossing_high", "to", 0),
    ListingColumn("accuracy", "Signs called (%)", 0),
    ListingColumn("base", "By the base rate (%)", 0),
    ListingColumn("brier", "Brier", 3),
)
NOTHING = Interval()
SIZE, DISTANCE, OBJECTIVE = "doublings", "distance", "objective"
TERMS = {
    SIZE: "a doubling of the images",
    DISTANCE: "a distance larger by one standard deviation",
    OBJECTIVE: "a far objective",
}


def reads(study: Study) -> dict[str, list]:
    """All numbered sizes that the pair has, and on every backbone the base size."""
    cells = [
        cell
        for cell in study.select(method=PAIR)
        if cell.train.isdigit() and {_beside(cell, method) for method in PAIR} <= study.cell_set
    ]
    tasks = list(dict.fromkeys(cell.task for cell in cells))
    if len(tasks) < LEAST_TASKS:
        return {}
    measured = [task for task in study.fid_tasks if task in tasks]
    return {"final": cells} | ({"fid": measured} if measured else {})


def _beside(cell: Cell, method: str) -> Cell:
    return Cell(cell.backbone, method, cell.task, cell.train)


def points_of(study: Study, frames: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """One row per backbone, task and size with rows of both: gap (VPT − FT in points), images, and what may explain it.

    `distance` is the Fréchet distance, standardised over the tasks; NaN where there is none.
    """
    wanted = reads(study).get("final", [])
    means = summarise(rows_of(frames["final"], wanted))
    wide = means.pivot(index=["backbone", "task", "train"], columns="method", values="mean").reindex(columns=PAIR)
    points = wide.dropna().reset_index()
    fid = frames["fid"].set_index("task")["fid"].astype(float) if "fid" in frames else pd.Series(dtype=float)
    rows = [study.tasks[task] for task in points["task"]]
    points = points.assign(
        gap=100 * (points["vpt"] - points["full"]).astype(float),
        images=points["train"].astype(float),
        group=[row.group for row in rows],
        title=[row.title for row in rows],
        objective=[float(row.high_disparity) for row in rows],
        fid=points["task"].map(fid).astype(float),
    )
    spread = fid.std() if len(fid) > 1 else 0.0
    distance = (points["fid"] - fid.mean()) / spread if spread > 0 else np.nan
    return points.assign(doublings=np.log2(points["images"]), distance=distance)


@dataclass(frozen=True)
class _About:
    """One line: an interval, a trend's crossing, or calls; whatever it lacks stays empty."""

    block: str
    title: str
    points: pd.DataFrame
    estimate: Interval = NOTHING
    crossing: Interval = NOTHING
    called: Called | None = None


def table(study: Study, frames: Mapping[str, pd.DataFrame]) -> Listing:
    points = points_of(study, frames)
    rows = [_row(about) for about in _lines(study, points)]
    frame = pd.DataFrame(rows, columns=["block", *(column.name for column in COLUMNS)])
    title = "When VPT beats full fine-tuning"
    return Listing("when", title, _caption(title, study, points), COLUMNS, frame, blocks="block")


def _lines(study: Study, points: pd.DataFrame):
    main = points[points["backbone"] == study.main_backbone]
    for name in [*GROUP_TITLES, ""]:
        mine = main[main["group"] == name] if name else main
        if len(mine):
            found = trend(mine)
            title = GROUP_TITLES.get(name, "All tasks")
            yield _About("VPT − FT for a doubling of the images", title, mine, found.slope, found.crossing)
    known = main.dropna(subset=["distance"])
    for term, found in influences(known, list(TERMS)).items():
        yield _About("VPT − FT, all of these at once", TERMS[term], known, found)
    yield from _backbones(study, points)
    yield from _calls(main)


def _backbones(study: Study, points: pd.DataFrame):
    """VPT − FT at the base size against that of the main backbone, over the tasks that both have."""
    base = points[points["train"] == study.base_train].pivot(index="task", columns="backbone", values="gap")
    for backbone in [name for name in base if name != study.main_backbone and study.main_backbone in base]:
        both = base[[backbone, study.main_backbone]].dropna()
        gaps = pd.DataFrame({"task": both.index, "gap": both[backbone] - both[study.main_backbone]})
        title = f"{study.backbones[backbone].title} instead of {study.backbones[study.main_backbone].title}"
        yield _About("VPT − FT, against the main backbone", title, gaps, _mean(gaps))


def _mean(gaps: pd.DataFrame) -> Interval:
    found = estimate(gaps["gap"])
    return Interval(found.mean, found.low, found.high)


def _calls(main: pd.DataFrame):
    """How often the sign of a task that was left out is called right from its size, and from what else."""
    groups = pd.get_dummies(main["group"], dtype=float).iloc[:, 1:]
    extra = {"and the group": list(groups), "and the objective": [OBJECTIVE]}
    if main["distance"].notna().all():
        extra["and the distance"] = [DISTANCE]
    points = main.join(groups)
    if points["task"].nunique() < LEAST_TASKS or points["images"].nunique() < 2:
        return
    for title, terms in {"from the number of images": [], **extra}.items():
        used = [SIZE, *(term for term in terms if points[term].nunique() > 1)]
        if len(used) > 1 or not terms:
            yield _About("Who is ahead, task by task left out", title, points, called=call_signs(points, used))


def _row(about: _About) -> dict:
    row = {
        "block": about.block, "title": about.title, "tasks": about.points["task"].nunique(),
        "cells": len(about.points), **vars(about.estimate),
    }  # fmt: skip
    row |= {f"crossing{suffix}": getattr(about.crossing, name) for name, suffix in _ENDS.items()}
    called = about.called
    return row | (
        {"accuracy": 100 * called.accuracy, "base": 100 * called.base, "brier": called.brier} if called else {}
    )


_ENDS = {"value": "", "low": "_low", "high": "_high"}


def _caption(title: str, study: Study, points: pd.DataFrame) -> str:
    wanted = {(cell.backbone, cell.task, cell.train) for cell in reads(study).get("final", [])}
    absent = len(wanted) - len(points)
    sizes = sorted(points["images"].astype(int).unique())
    parts = [
        f"{title}. Differences of test accuracy in percentage points, train sizes {join(map(str, sizes))}; "
        "least-squares lines through all cells, with 95 % intervals from a bootstrap over tasks (of backbones a t "
        "interval over tasks). Crosses 0 at: the number of images from which the other method is ahead; none where the "
        "slope may be 0. Signs called: of a task that was left out, by a logistic fit on the others.",
        protocol_line(study),
        f"{absent} of {plural(len(wanted), 'pair')} {have_verb(absent)} no rows yet." if absent else "",
    ]
    return " ".join(part for part in parts if part)
