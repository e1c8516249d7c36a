"""When VPT beats full fine-tuning: their difference against the number of images, and against the distance.

In: a figure's spec, a study and frames of kind final and fid. Out: a matplotlib figure.

    python -m pytest tests/vptstudy/report/test_when.py
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from vptcore.analysis.when import trend
from vptstudy.report.figures.draw_lines import common_sizes
from vptstudy.report.figures.style import FAINT, INK, NEUTRAL, PAGE, TASKS, new_figure
from vptstudy.report.tables.grid import GROUP_TITLES
from vptstudy.report.tables.whens import points_of
from vptstudy.study import Study

GROUP_COLOURS = dict(zip(GROUP_TITLES, TASKS, strict=False))


def when(spec, study: Study, frames: Mapping[str, pd.DataFrame]) -> Figure:
    points = points_of(study, frames)
    main = points[points["backbone"] == study.main_backbone]
    figure = new_figure(PAGE, 2.9)
    left, right = figure.subplots(1, 2, sharey=True)
    _by_size(left, main)
    _by_distance(right, main, study.base_train)
    for axis in (left, right):
        axis.axhline(0, color=INK, lw=0.6)
    left.set_ylabel("← FT better      VPT better →\nVPT − FT, percentage points")
    return figure


def _by_size(axis: Axes, main: pd.DataFrame) -> None:
    for _, task in main.sort_values("images").groupby("task", sort=False):
        colour = GROUP_COLOURS[task["group"].iloc[0]]
        axis.plot(task["images"], task["gap"], "-o", color=colour, lw=0.5, ms=2, alpha=0.45)
    handles = []
    for name in [name for name in GROUP_TITLES if (main["group"] == name).any()]:
        label = GROUP_TITLES[name] + _line(axis, main[main["group"] == name], GROUP_COLOURS[name])
        handles.append(Line2D([], [], color=GROUP_COLOURS[name], lw=2, label=label))
    axis.set_xscale("log")
    sizes = common_sizes(main.rename(columns={"images": "size"}))
    axis.set_xticks(sizes, [f"{size:,}" for size in sizes])
    axis.minorticks_off()
    axis.set(xlabel="training images", title="(a)")
    axis.legend(handles=handles, loc="best")


def _line(axis: Axes, mine: pd.DataFrame, colour: str) -> str:
    """Draw a group's line and crossing; returns what the legend adds, '' where there is no line."""
    found = trend(mine)
    if np.isnan(found.slope.value):
        return ""
    ends = np.array([mine["images"].min(), mine["images"].max()])
    slope, start = np.polyfit(np.log2(mine["images"]), mine["gap"], 1)
    axis.plot(ends, slope * np.log2(ends) + start, color=colour, lw=2)
    crossing = found.crossing
    if np.isnan(crossing.value) or not ends[0] <= crossing.value <= ends[1]:
        return ""
    low, high = np.clip([crossing.low, crossing.high], *ends)
    axis.plot([low, high], [0, 0], color=colour, lw=2.5, alpha=0.6, solid_capstyle="butt")
    axis.plot(crossing.value, 0, "D", color=colour, ms=4, mec="white", mew=0.5)
    return f": 0 at {crossing.value:,.0f} images"


def _by_distance(axis: Axes, main: pd.DataFrame, base: str) -> None:
    known = main.dropna(subset=["fid"])
    for _, task in known.sort_values("images").groupby("task", sort=False):
        shown = pd.concat([task[task["train"] == base], task[task["images"] > float(base)].tail(1)])
        colour, mark = GROUP_COLOURS[task["group"].iloc[0]], "^" if task["objective"].iloc[0] else "o"
        axis.plot(shown["fid"], shown["gap"], color=FAINT, lw=0.5, zorder=1)
        for row in shown.itertuples():
            axis.plot(row.fid, row.gap, mark, color=colour, ms=4.5, mfc="white" if row.train == base else colour)
    axis.set(xlabel="Fréchet distance to the reference", title="(b)")
    few = Line2D([], [], marker="o", ls="", color=NEUTRAL, mfc="white", label=f"{int(base):,} images")
    many = Line2D([], [], marker="o", ls="", color=NEUTRAL, label="the most images")
    far = Line2D([], [], marker="^", ls="", color=NEUTRAL, label="far objective")
    axis.legend(handles=[few, many, far], loc="best")
