"""Figure 1: VPT − FT against the Fréchet distance, near and far objectives by mark, with few images and with many.

In: a figure's spec, a study and frames of kind final, predictions and fid. Out: a matplotlib figure.

    python -m pytest tests/vptstudy/report/test_plane.py
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import matplotlib as mpl
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from vptcore.analysis.evidence import corrected_directions
from vptstudy.report import quadrants as plane
from vptstudy.report.figures.names import name_points
from vptstudy.report.figures.style import INK, NEUTRAL, PAGE, method_colour, new_figure, short
from vptstudy.study import Study

MARKS = {False: "o", True: "^"}
COLOURS = {1: method_colour("vpt"), -1: method_colour("full"), 0: NEUTRAL}
PANEL = 2.85  # inches, which also hold the column of verdicts beside it
# In that column a line's height, and the space before the next quadrant, as a share of a letter's size.
LINE, SPACE = 1.3, 0.6
LETTERS = 17


def quadrant(spec, study: Study, frames: Mapping[str, pd.DataFrame]) -> Figure:
    """A panel for few images and, where larger sizes have rows, one for many on the same scales; beside each its
    quadrants' verdicts."""
    found = plane.quadrants(study, frames)
    fid = frames["fid"].set_index("task")
    many = any(one.many for one in found)
    figure = new_figure(PAGE, PANEL * (1 + many) + 0.4)
    axes = figure.subplots(1 + many, 2, squeeze=False, width_ratios=(2, 1), sharex="col", sharey="col")
    panels = [(f"{int(study.base_train):,} training images", [one.few for one in found])]
    if many:
        panels.append(("the most images that each task was run with", [one.many for one in found]))
    for (axis, beside), letter, (title, verdicts) in zip(axes, "ab", panels, strict=False):
        shown = [(one, verdict) for one, verdict in zip(found, verdicts, strict=True) if verdict and one.tasks]
        _panel(axis, shown, fid)
        axis.set_title(f"({letter}) {title}" if many else title)
        _verdicts(beside, shown)
    axes[-1, 0].set_xlabel("Fréchet distance to the reference")
    figure.legend(handles=_legend(axes[:, 0]), loc="outside upper left", ncols=5, columnspacing=1, handletextpad=0.3)
    figure.get_layout_engine().execute(figure)
    for axis, (_, verdicts) in zip(axes[:, 0], panels, strict=True):
        gaps = {task: gap for verdict in filter(None, verdicts) for task, gap in verdict.gaps.items()}
        names = [short(study.tasks[task].title, LETTERS) for task in gaps]
        name_points(axis, [fid["fid"][task] for task in gaps], [gap.difference for gap in gaps.values()], names)
    return figure


def _panel(axis: Axes, shown: Sequence[tuple[plane.Quadrant, plane.Verdict]], fid: pd.DataFrame) -> None:
    axis.axhline(0, color=INK, lw=0.6)
    axis.set_ylabel("VPT − FT (points)")
    axis.margins(x=0.08, y=0.14)
    directions = corrected_directions({t: gap for _, verdict in shown for t, gap in verdict.gaps.items()})
    for one, verdict in shown:
        for task, gap in verdict.gaps.items():
            x, colour, known = fid["fid"][task], COLOURS[directions[task]], not math.isnan(gap.low)
            if known:
                axis.plot([x, x], [gap.low, gap.high], color=colour, lw=0.8, alpha=0.7, solid_capstyle="butt")
            face = colour if known else "white"
            axis.plot(x, gap.difference, MARKS[one.far_objective], color=colour, ms=4.5, mfc=face, zorder=3)
        _mean(axis, one, verdict, fid)
    spreads = fid["reference_spread"].unique()
    if len(spreads) == 1:
        axis.axvline(spreads[0], color=INK, lw=0.8, ls=(0, (4, 2)))
        for words, side, shift in (("near images", "right", -3), ("far images", "left", 3)):
            axis.annotate(
                words, (spreads[0], 0), (shift, 2), axis.get_xaxis_transform(), "offset points", ha=side, style="italic"
            )


def _mean(axis: Axes, one: plane.Quadrant, verdict: plane.Verdict, fid: pd.DataFrame) -> None:
    """The mean of a quadrant as a bar over the distances of its tasks, its numeral at the right end."""
    places = fid.loc[list(verdict.gaps), "fid"]
    if places.empty:
        return
    half, colour = 0.01 * (fid["fid"].max() - fid["fid"].min()), _colour(verdict.side)
    ends, height = [places.min() - half, places.max() + half], verdict.gap.difference
    axis.plot(ends, [height] * 2, color=colour, lw=3, alpha=0.3, solid_capstyle="butt", zorder=1)
    axis.annotate(
        one.numeral, (ends[1], height), (2, 0), textcoords="offset points", va="center", color=colour, weight="bold"
    )


def _verdicts(axis: Axes, shown: Sequence[tuple[plane.Quadrant, plane.Verdict]]) -> None:
    """Each quadrant in words: its name, its mean with its interval, the answer and the wins."""
    axis.set_axis_off()
    size, down = mpl.rcParams["font.size"], 0.0
    for one, verdict in sorted(shown, key=lambda pair: pair[0].numeral):
        colour = _colour(verdict.side)
        lines = [f"{one.numeral}  {one.title}", *_said(verdict)]
        for place, words in enumerate(lines):
            weight = "bold" if place == 1 else "normal"
            style = {"va": "top", "color": INK if place == 0 else colour, "weight": weight}
            axis.annotate(words, (0, 1), (0, -down), "axes fraction", "offset points", **style)
            down += LINE * size
        down += SPACE * size


def _said(verdict: plane.Verdict) -> list[str]:
    if not verdict.wins.tasks:
        return ["no rows of both methods"]
    wins = f"VPT ahead on {len(verdict.wins.won)} of {verdict.wins.tasks}"
    return [verdict.title, f"{verdict.gap.points} {verdict.gap.interval}".strip(), wins]


def _legend(axes: Sequence[Axes]) -> list[Line2D]:
    """What the marks mean that are there, and the colours."""
    points = [line for axis in axes for line in axis.lines if line.get_marker() in MARKS.values()]
    marks = {MARKS[False]: "near objective", MARKS[True]: "far objective"}
    sides = {COLOURS[1]: "clear for VPT", COLOURS[-1]: "clear for FT", COLOURS[0]: "not clear"}
    shown = [(words, mark, INK) for mark, words in marks.items() if mark in {line.get_marker() for line in points}]
    shown += [
        (words, "s", colour) for colour, words in sides.items() if colour in {line.get_color() for line in points}
    ]
    return [Line2D([], [], ls="", marker=mark, color=colour, ms=4.5, label=words) for words, mark, colour in shown]


def _colour(side: str) -> str:
    return method_colour(side) if side in ("vpt", "full") else NEUTRAL
