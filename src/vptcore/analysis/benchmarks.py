"""What others print for ways to tune ViT-B/16 (ImageNet-21k) on VTAB-1k, task by task, and where ours stand beside it.

In: published/methods.csv (one printed number a row, with the line it is from) and published/method_sources.csv (how
each source chose and prepared its data). Out: one row for every printed method, its means over the tasks asked for.

    python -m pytest tests/vptcore/analysis/test_benchmarks.py
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path

import pandas as pd

from vptcore.analysis.published import FOLDER
from vptcore.data.tasks import VTAB

GROUP_OF = {task.id: task.group for task in VTAB}
# Beside the tasks, what a source prints of its own: a mean over all 19, or of the three groups' means.
MEAN, GROUPS = "mean", "groups"


@cache
def read_methods(folder: Path = FOLDER) -> pd.DataFrame:
    """Columns source, name (as printed), method (an id of ours, or nothing), task, value in percent, and at: the file
    and line, or the path, in the source. Not to be changed in place."""
    return pd.read_csv(folder / "methods.csv", keep_default_na=False).astype({"value": float})


@cache
def read_sources(folder: Path = FOLDER) -> pd.DataFrame:
    """Columns source, title, where, selection and data. Not to be changed in place."""
    return pd.read_csv(folder / "method_sources.csv")


def means(values: Mapping[str, float], tasks: Iterable[str]) -> dict[str, float]:
    """Mean over these of the tasks that have a value, NaN without one: by group, over all, and of the groups' means."""
    here = pd.Series({task: values[task] for task in tasks if task in values}, dtype=float)
    by_group = here.groupby(here.index.map(GROUP_OF)).mean()
    groups = {group: float(by_group.get(group, math.nan)) for group in ("natural", "specialized", "structured")}
    return groups | {MEAN: float(here.mean()), GROUPS: float(pd.Series(groups).mean(skipna=False))}


def beside(ours: Mapping[str, Mapping[str, float]]) -> pd.DataFrame:
    """Every printed method, in the order of the file: its means over the 19 tasks (of a source that prints no tasks,
    what it prints), and where `ours` (method -> task -> percent) has its method, both over the tasks that we have."""
    rows = []
    for (source, name, method), cells in read_methods().groupby(["source", "name", "method"], sort=False):
        values = dict(zip(cells["task"], cells["value"], strict=True))
        own = {task: value for task, value in ours.get(method, {}).items() if task in values}
        row = means(values, GROUP_OF)
        row[GROUPS] = row[GROUPS] if len(values) > 1 else values.get(GROUPS, math.nan)
        theirs, here = (means(side, own)[MEAN] for side in (values, own))
        rows.append(
            {"source": source, "name": name, "method": method, **row, "tasks": len(own), "theirs": theirs, "ours": here,
             "difference": here - theirs, "at": cells["at"].iloc[0]}
        )  # fmt: skip
    return pd.DataFrame(rows)
