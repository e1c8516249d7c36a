"""Which tasks Figures 6 and 13 show: those on which full fine-tuning and VPT both overfit at the base train size.

In: a figure's row, a study, and frames of kind curves and final at the base size and the larger ones. Out: the frames
with the larger sizes of those tasks alone, and a sentence for the caption (paper §5.1 and Appendix A).

    python -m pytest tests/vptstudy/report/test_figures.py -k overfit
"""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from vptcore.analysis.curves import overfitting
from vptstudy.report.captions import join, train_phrase
from vptstudy.report.tables.specs import PAIR
from vptstudy.study import Study

Frames = Mapping[str, pd.DataFrame]


def tasks_that_overfit(study: Study, frames: Frames) -> tuple[list[str], int]:
    """Those on which both methods do, in the study's order, and how many have curves of both."""
    base = {kind: frame[frame["train"] == study.base_train] for kind, frame in frames.items()}
    found = overfitting(base["curves"], base["final"])
    wide = found.pivot(index="task", columns="method", values="overfits").reindex(columns=PAIR).dropna()
    both = wide.astype(bool).all(axis=1)
    return [task for task in study.tasks if task in both.index and both[task]], len(both)


def larger_sizes(spec, study: Study, frames: Frames) -> dict[str, pd.DataFrame]:
    """The frames without the base size, of the tasks that overfit: at most `spec.per_group`, those of most sizes."""
    tasks, _ = tasks_that_overfit(study, frames)
    larger = {kind: frame[frame["train"] != study.base_train] for kind, frame in frames.items()}
    sizes = larger["curves"].groupby("task")["train"].nunique()
    shown = sorted((task for task in tasks if task in sizes.index), key=lambda task: -sizes[task])
    shown = shown[: spec.per_group or None]
    return {kind: frame[frame["task"].isin(shown)] for kind, frame in larger.items()}


def said(study: Study, frames: Frames) -> str:
    """Which tasks those are, of how many."""
    tasks, of = tasks_that_overfit(study, frames)
    at = train_phrase([study.base_train])
    if not tasks:
        return f"None of {of} tasks overfits in both methods at {at}, so none is shown."
    named = join(study.tasks[task].title for task in tasks)
    return f"Shown are tasks on which both methods overfit at {at}: {len(tasks)} of {of} do ({named})."
