"""What the paper does not show: its searches as heat maps, calibration, and cost against accuracy.

In: a figure's spec, a study, and frames of kind search, predictions, or final and search. Out: a matplotlib figure.

    python -m pytest tests/vptstudy/report/test_figures.py
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle

from vptcore.analysis.calibration import calibration_error, reliability
from vptcore.models.methods_table import METHODS
from vptcore.training.choose import choose
from vptstudy.report.figures.style import FAINT, HATCH, INK, NEUTRAL, PAGE, method_colour, new_figure, panels
from vptstudy.report.tables import cost
from vptstudy.report.tables.grid import GROUP_TITLES
from vptstudy.report.tables.specs import PAIR
from vptstudy.study import Study

GROUP_MARKS = {"natural": "o", "specialized": "s", "structured": "^", "fgvc": "D", "own": "P"}
# Points below the best of its task at which the scale of a heat map ends.
DEEPEST = 30


def searches(spec, study: Study, frames: Mapping[str, pd.DataFrame]) -> Figure:
    """A panel a task: val accuracy below the task's best, learning rate across, decay up; the chosen one marked."""
    rows = frames["search"]
    present = set(rows["task"])
    tasks = [task for task in study.tasks if task in present]
    columns = min(5, len(tasks))
    figure, axes = panels(PAGE, 1.3, len(tasks), columns)
    for place, (axis, task) in enumerate(zip(axes, tasks, strict=True)):
        shown = _heat(axis, rows[rows["task"] == task])
        axis.set_title(study.tasks[task].title)
        if place % columns == 0:
            axis.set_ylabel("weight decay")
        if place >= len(tasks) - columns:
            axis.set_xlabel("learning rate")
    # As thick with one row of panels as with four.
    high = 0.9 if len(tasks) <= columns else 0.6
    bar = figure.colorbar(
        shown, ax=axes, shrink=high, aspect=10 * high * figure.get_figheight(), pad=0.01, extend="min"
    )
    bar.set_label("val accuracy below\nthe task's best (points)")
    bar.outline.set_visible(False)
    handles = [Line2D([], [], marker="o", ls="", mfc="none", mec="#d00000", mew=1.2, ms=6, label="chosen")]
    if rows["diverged"].astype(bool).any():
        handles.append(Patch(fc=FAINT, ec="white", hatch=HATCH, lw=0, label="diverged"))
    figure.legend(handles=handles, loc="outside upper left", ncols=2)
    return figure


def _heat(axis: Axes, rows: pd.DataFrame):
    import seaborn as sns  # a second to import, with scipy.stats and pyplot: of all figures only these need it

    rates, decays = sorted(set(rows["lr"])), sorted(set(rows["weight_decay"]))
    values = np.full((len(decays), len(rates)), np.nan)
    lost = np.zeros_like(values, dtype=bool)
    for row in rows.itertuples():
        place = decays.index(row.weight_decay), rates.index(row.lr)
        lost[place] = bool(row.diverged)
        values[place] = np.nan if row.diverged else 100 * row.val_accuracy
    below = values - np.nanmax(values) if np.isfinite(values).any() else values
    sns.heatmap(
        below, ax=axis, cmap="cividis", vmin=-DEEPEST, vmax=0, cbar=False, linewidths=0.3,
        xticklabels=[_short(rate) for rate in rates], yticklabels=[_short(decay) for decay in decays],
    )  # fmt: skip
    for y, x in zip(*np.nonzero(lost), strict=True):
        axis.add_patch(Rectangle((x, y), 1, 1, fc=FAINT, ec="white", hatch=HATCH, lw=0))
    if not lost.all():
        best = choose(rows)
        place = rates.index(best["lr"]) + 0.5, decays.index(best["weight_decay"]) + 0.5
        axis.plot(*place, "o", mfc="none", mec="#d00000", mew=1.2, ms=6)
    axis.invert_yaxis()
    axis.tick_params(length=0, labelsize=6)
    axis.tick_params("x", rotation=90 if len(rates) > 5 else 0)
    axis.tick_params("y", rotation=0)
    return axis.collections[0]


def _short(value: float) -> str:
    """'0.05', '1e-4', '2.5e-4', '0': few letters, since a cell of a heat map is narrow."""
    plain = f"{value:g}"
    digits, _, power = f"{value:.3e}".partition("e")
    powered = f"{digits.rstrip('0').rstrip('.')}e{int(power)}"
    return powered if value and len(powered) < len(plain) else plain


def calibration(spec, study: Study, frames: Mapping[str, pd.DataFrame]) -> Figure:
    """Above, a panel a group: accuracy against confidence; below, the calibration error of each task."""
    rows = frames["predictions"]
    bins = reliability(rows)
    errors = calibration_error(bins)
    present = set(errors["task"])
    groups = [g for g in spec.groups if any(study.tasks[task].group == g for task in present)]
    figure = new_figure(PAGE, 3.9)
    axes = figure.subplots(2, len(groups), squeeze=False, height_ratios=(1.35, 1))
    for (above, below), group in zip(axes.T, groups, strict=True):
        tasks = [t for t in study.tasks if study.tasks[t].group == group and t in present]
        _reliability(above, bins[bins["task"].isin(tasks)])
        above.set_title(GROUP_TITLES[group])
        _errors(below, errors[errors["task"].isin(tasks)], tasks, study)
    axes[0, 0].set_ylabel("accuracy")
    axes[1, 0].set_ylabel("calibration\nerror (points)")
    for axis in axes[0]:
        axis.set_xlabel("confidence")
    handles = [Line2D([], [], color=method_colour(m), marker="o", label=METHODS[m].title) for m in PAIR]
    handles.append(Line2D([], [], color=NEUTRAL, lw=0.8, ls="--", label="as sure as right"))
    figure.legend(handles=handles, loc="outside upper left", ncols=3)
    return figure


def _reliability(axis: Axes, bins: pd.DataFrame) -> None:
    """Bins pooled over tasks and seeds, each task with the same weight; bins with less than 0.1 % are left out."""
    axis.plot([0, 1], [0, 1], color=NEUTRAL, lw=0.8, ls="--")
    weighted = bins.assign(share=bins["count"] / bins.groupby(["method", "task", "seed"])["count"].transform("sum"))
    for method in PAIR:
        mine = weighted[weighted["method"] == method]
        if mine.empty:
            continue
        sums = mine.assign(c=mine["confidence"] * mine["share"], a=mine["accuracy"] * mine["share"]).groupby("bin")
        total = sums[["share", "c", "a"]].sum()
        total = total[total["share"] >= 0.001 * total["share"].sum()]
        axis.plot(total["c"] / total["share"], total["a"] / total["share"], "o-", color=method_colour(method), ms=2.5)
    axis.set(xlim=(0, 1), ylim=(0, 1), xticks=[0, 0.5, 1], yticks=[0, 0.5, 1])


def _errors(axis: Axes, errors: pd.DataFrame, tasks: list[str], study: Study) -> None:
    for shift, method in zip((-0.13, 0.13), PAIR, strict=True):
        mine = errors[errors["method"] == method].set_index("task").reindex(tasks)
        at = np.arange(len(tasks)) + shift
        axis.errorbar(
            at,
            100 * mine["mean"],
            100 * mine["std"].fillna(0),
            fmt="o",
            ms=3,
            capsize=1.5,
            elinewidth=0.6,
            color=method_colour(method),
        )
    axis.set_xticks(
        range(len(tasks)),
        [study.tasks[t].title for t in tasks],
        rotation=40,
        ha="right",
        rotation_mode="anchor",
        fontsize=6,
    )
    axis.set_ylim(bottom=0)
    axis.set_xlim(-0.6, len(tasks) - 0.4)
    axis.grid(axis="y")


def costs(spec, study: Study, frames: Mapping[str, pd.DataFrame]) -> Figure:
    """Accuracy of each method in each group against the seconds of one seed and against the tuned share."""
    frame = cost.table(study, frames).frame
    figure = new_figure(PAGE, 2.7)
    left, right = figure.subplots(1, 2, sharey=True)
    most = frame.groupby("group")["tasks"].max()
    for axis, column in ((left, "final_seconds"), (right, "tuned_percent")):
        for row in frame.to_dict("records"):
            colour = method_colour(row["method"])
            whole = row["tasks"] == most[row["group"]]
            axis.errorbar(
                row[column], row["accuracy"], 0 if np.isnan(row["std"]) else row["std"], fmt=GROUP_MARKS[row["group"]],
                ms=5, color=colour, mfc=colour if whole else "white", mec="white" if whole else colour, mew=0.5,
                elinewidth=0.7,
            )  # fmt: skip
        axis.set_xscale("log")
        axis.xaxis.set_major_formatter("{x:g}")
        axis.grid(axis="y")
    left.set(xlabel="seconds to train and score one seed", ylabel="test accuracy (%), mean of the group")
    right.set(xlabel="tuned parameters, % of all")
    methods = [m for m in METHODS if m in set(frame["method"])]
    handles = [Line2D([], [], marker="o", ls="", color=method_colour(m), label=METHODS[m].title) for m in methods]
    figure.legend(handles=handles, loc="outside upper left", ncols=4, columnspacing=1.2)
    groups = [g for g in GROUP_MARKS if g in set(frame["group"])]
    marks = [Line2D([], [], marker=GROUP_MARKS[g], ls="", color=INK, mfc="none", label=GROUP_TITLES[g]) for g in groups]
    figure.legend(handles=marks, loc="outside upper right", ncols=2)
    return figure
