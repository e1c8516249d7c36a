"""What the paper does not show: its searches as heat maps, calibration, and cost against accuracy.

In: a figure's spec, a study, and frames of kind search, predictions, or final and search. Out: a matplotlib figure.

    python -m pytest tests/vptstudy/report/test_figures.py
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle
from matplotlib.ticker import NullFormatter

from vptcore.analysis.calibration import calibration_error, reliability
from vptcore.models.methods_table import METHODS, in_order
from vptcore.training.choose import FLAT, HIGHEST, LOWEST, edge_of, longest, ranked
from vptstudy.report.chance import chance_of
from vptstudy.report.figures.draw_lines import CHANCE
from vptstudy.report.figures.style import (
    FAINT,
    HATCH,
    NEUTRAL,
    PAGE,
    beside_labels,
    letters_in,
    method_colour,
    new_figure,
    panels,
    short,
)
from vptstudy.report.raced import is_raced
from vptstudy.report.tables import cost
from vptstudy.report.tables.grid import GROUP_TITLES
from vptstudy.report.tables.specs import PAIR
from vptstudy.study import Study

# Beside a task's name: the best rate is the lowest or the highest that was tried, or all are alike.
EDGE_MARKS = {"": "", LOWEST: " ◂", HIGHEST: " ▸", FLAT: " ="}
COST_MARKS = "osD^vPX<>ph"
MOST_MARKS = 7  # in a line of the legend
LEFT_BEHIND = {"marker": ".", "ls": "", "color": NEUTRAL, "ms": 3}  # of a race, after the short schedule
# Points below the best of its task at which the scale of a heat map ends.
DEEPEST = 30


def searches(spec, study: Study, frames: Mapping[str, pd.DataFrame]) -> Figure:
    """A panel a task: val accuracy below the task's best, learning rate across, decay up; the chosen one marked."""
    rows = frames["search"]
    present = set(rows["task"])
    tasks = [task for task in study.tasks if task in present]
    columns = min(4, len(tasks))
    figure, axes = panels(PAGE, 1.3, len(tasks), columns)
    width = figure.get_figwidth() / columns
    letters = letters_in(width - 0.3)
    for place, (axis, task) in enumerate(zip(axes, tasks, strict=True)):
        shown = _heat(axis, rows[rows["task"] == task], width - 0.6)
        edge = edge_of(rows[rows["task"] == task])
        axis.set_title(short(study.tasks[task].title, letters) + EDGE_MARKS[edge])
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
    if any(is_raced(mine) for _, mine in rows.groupby("task")):
        handles.append(Line2D([], [], label="not trained in full", **LEFT_BEHIND))
    figure.legend(handles=handles, loc="outside upper left", ncols=3)
    return figure


def _heat(axis: Axes, rows: pd.DataFrame, inches: float):
    """A task's grid, about so wide: of many rates every second or third is named."""
    import seaborn as sns  # a second to import, with scipy.stats and pyplot: of all figures only these need it

    rates, decays = sorted(set(rows["lr"])), sorted(set(rows["weight_decay"]))
    values = np.full((len(decays), len(rates)), np.nan)
    lost = np.zeros_like(values, dtype=bool)
    full = longest(rows)
    for row in full.itertuples():
        place = decays.index(row.weight_decay), rates.index(row.lr)
        lost[place] = bool(row.diverged)
        values[place] = np.nan if row.diverged else 100 * row.val_accuracy
    for row in rows[~rows["config"].isin(full["config"])].itertuples():
        place = decays.index(row.weight_decay), rates.index(row.lr)
        lost[place] = bool(row.diverged)
        if not row.diverged:
            axis.plot(place[1] + 0.5, place[0] + 0.5, **LEFT_BEHIND)
    below = values - np.nanmax(values) if np.isfinite(values).any() else values
    sns.heatmap(
        below, ax=axis, cmap="cividis", vmin=-DEEPEST, vmax=0, cbar=False, linewidths=0.3,
        xticklabels=_some(rates, inches), yticklabels=[_short(decay) for decay in decays],
    )  # fmt: skip
    for y, x in zip(*np.nonzero(lost), strict=True):
        axis.add_patch(Rectangle((x, y), 1, 1, fc=FAINT, ec="white", hatch=HATCH, lw=0))
    if len(order := ranked(rows)):
        best = order.iloc[0]
        place = rates.index(best["lr"]) + 0.5, decays.index(best["weight_decay"]) + 0.5
        axis.plot(*place, "o", mfc="none", mec="#d00000", mew=1.2, ms=6)
    axis.invert_yaxis()
    axis.tick_params(length=0)
    axis.tick_params("x", rotation=90 if len(rates) > 3 else 0)
    axis.tick_params("y", rotation=0)
    return axis.collections[0]


def _some(rates: list[float], inches: float) -> list[str]:
    """The rates' names; every second or third where upright ones would run into each other."""
    step = math.ceil(len(rates) * 1.2 * mpl.rcParams["xtick.labelsize"] / (72 * inches))
    return [_short(rate) if place % step == 0 else "" for place, rate in enumerate(rates)]


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
    members = [[t for t in study.tasks if study.tasks[t].group == g and t in present] for g in groups]
    figure = new_figure(PAGE, 4.6)
    # Below, as wide as the number of tasks asks; above, all alike.
    above, below = figure.subfigures(2, 1, height_ratios=(1, 1.3))
    upper = above.subplots(1, len(groups), squeeze=False, sharey=True)[0]
    ratios = [max(2, len(tasks)) for tasks in members]
    lower = below.subplots(1, len(groups), squeeze=False, sharey=True, width_ratios=ratios)[0]
    for top, bottom, group, tasks in zip(upper, lower, groups, members, strict=True):
        _reliability(top, bins[bins["task"].isin(tasks)])
        top.axhline(np.mean([chance_of(study, task, rows) for task in tasks]), color=NEUTRAL, **CHANCE)
        top.set_title(GROUP_TITLES[group])
        top.set_xlabel("confidence")
        _errors(bottom, errors[errors["task"].isin(tasks)], tasks, study)
    lower[0].set_ylim(bottom=0)
    upper[0].set_ylabel("accuracy")
    lower[0].set_ylabel("calibration error (points)")
    handles = [Line2D([], [], color=method_colour(m), marker="o", label=METHODS[m].title) for m in PAIR]
    handles.append(Line2D([], [], color=NEUTRAL, lw=0.8, ls="--", label="as sure as right"))
    handles.append(Line2D([], [], color=NEUTRAL, label="chance", **CHANCE))
    above.legend(handles=handles, loc="outside upper left", ncols=4)
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
    axis.set_xticklabels(["0", "0.5", "1"])


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
    beside_labels(axis, [study.tasks[t].title for t in tasks])
    axis.set_xlim(-0.6, len(tasks) - 0.4)
    axis.grid(axis="y")


def costs(spec, study: Study, frames: Mapping[str, pd.DataFrame]) -> Figure:
    """A column a group: accuracy of each method against the seconds of one seed and against the tuned share.

    Each method has a mark of its own, FT's and VPT's above the others. A method of fewer tasks than others of its group
    is a mean over other tasks, and is left out (`cost.beside_others`).
    """
    frame = cost.beside_others(cost.table(study, frames).frame)
    groups = [g for g in GROUP_TITLES if g in set(frame["group"])]
    members = cost.by_task(study, frames).groupby("group")["task"].unique()
    found = in_order(frame["method"])
    methods = sorted(found, key=lambda method: method in PAIR)
    figure = new_figure(PAGE, 4.2)
    axes = figure.subplots(2, len(groups), squeeze=False, sharex="row", sharey="col")
    for column, group in enumerate(groups):
        mine = frame[frame["group"] == group].set_index("method")
        axes[0, column].set_title(GROUP_TITLES[group])
        chance = 100 * np.mean([chance_of(study, task, frames.get("predictions")) for task in members[group]])
        for axis, name in zip(axes[:, column], ("final_seconds", "tuned_percent"), strict=True):
            for order, method in enumerate(m for m in methods if m in mine.index):
                _cost_mark(axis, mine.loc[method], name, method, order)
            axis.axhline(chance, color=NEUTRAL, **CHANCE)
            axis.grid(axis="y")
            axis.margins(x=0.12)
    for row, words in zip(axes, ("seconds to train and score one seed", "tuned parameters, % of all"), strict=True):
        row[0].set_xscale("log")
        row[0].xaxis.set_major_formatter("{x:g}")
        row[0].xaxis.set_minor_formatter(NullFormatter())
        row[0].set_ylabel("test accuracy (%)")
        row[len(row) // 2].set_xlabel(words)
    handles = [Line2D([], [], ls="", label=METHODS[m].title, **_mark(m)) for m in found]
    handles.append(Line2D([], [], color=NEUTRAL, label="chance", **CHANCE))
    lines = math.ceil(len(handles) / MOST_MARKS)
    figure.legend(handles=handles, loc="outside upper left", ncols=math.ceil(len(handles) / lines), columnspacing=1.2)
    return figure


def _mark(method: str) -> dict:
    """FT's and VPT's marks are filled, the others' hollow, so that none hides another where they meet."""
    colour, filled = method_colour(method), method in PAIR
    place = list(METHODS).index(method) if method in METHODS else len(method)
    shape = COST_MARKS[place % len(COST_MARKS)]
    return {"marker": shape, "ms": 4.5 if filled else 6.5, "color": colour, "mfc": colour if filled else "none"}


def _cost_mark(axis: Axes, row: pd.Series, column: str, method: str, order: int) -> None:
    spread = 0 if np.isnan(row["std"]) else row["std"]
    axis.errorbar(row[column], row["accuracy"], spread, ls="", elinewidth=0.7, zorder=3 + order, **_mark(method))
