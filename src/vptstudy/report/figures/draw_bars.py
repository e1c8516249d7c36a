"""Figures that compare FT and VPT task by task: Fréchet distance in the winner's colour, and the forest of differences.

In: a figure's spec, a study, and frames of kind final (and fid). Out: a matplotlib figure.

    python -m pytest tests/vptstudy/report/test_figures.py
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.transforms import blended_transform_factory

from vptcore.analysis.evidence import corrected_directions, grouped
from vptcore.analysis.statistics import TIE, Difference
from vptstudy.report.contrasts import Contrasts, rope_of
from vptstudy.report.figures.style import FAINT, HATCH, INK, NEUTRAL, PAGE, method_colour, new_figure, short
from vptstudy.report.tables.grid import GROUP_TITLES
from vptstudy.study import Study


@dataclass(frozen=True)
class ForestRow:
    """A line of the forest: a task, a group's mean on these tasks and on tasks like these, or the group's heading.

    Differences are in points; `direction` is the side that is clear. A heading has no difference.
    """

    title: str
    difference: Difference | None = None
    direction: int = 0
    like: Difference | None = None

    @property
    def is_mean(self) -> bool:
        return self.like is not None


def winner(difference: float) -> str:
    """'vpt', 'full' or 'tie' on means, in points, as the paper counts; '' where one of them is missing."""
    if math.isnan(difference):
        return ""
    return "tie" if abs(difference) <= 100 * TIE else "vpt" if difference > 0 else "full"


def fid(spec, study: Study, frames: Mapping[str, pd.DataFrame]) -> Figure:
    """Bars per task in groups: height the Fréchet distance, colour the better method, slashes a far objective."""
    distance = frames["fid"].set_index("task")
    tasks = [task for task in study.tasks.values() if task.id in distance.index and task.group in spec.groups]
    gaps = Contrasts(study, frames["final"], frames.get("predictions")).pair_at(study.tasks)
    figure = new_figure(PAGE, 2.9)
    axes = figure.subplots()
    places = _places(tasks)
    for task, place in zip(tasks, places, strict=True):
        _bar(axes, place, distance.loc[task.id], gaps.get(task.id), task.high_disparity)
    axes.set_xticks(places, [short(task.title, 20) for task in tasks], rotation=90 if len(tasks) > 8 else 0)
    axes.tick_params(axis="x", length=0)
    axes.margins(y=0.12)
    axes.set_xlim(places[0] - 0.9, places[-1] + 0.9)
    networks = ", ".join(sorted(set(distance["network"])))
    note = "" if "inception" in networks.lower() else " (not Inception)"
    axes.set_ylabel(f"Fréchet distance in\n{networks}\nfeatures{note}")
    _group_headings(axes, tasks, places)
    handles = _winner_legend(
        {winner(gaps[t.id].difference) if t.id in gaps else "" for t in tasks}, any(t.high_disparity for t in tasks)
    )
    figure.legend(handles=handles, loc="outside upper left", ncols=4, columnspacing=1.2)
    return figure


def _bar(axes, place: float, row: pd.Series, gap: Difference | None, far: bool) -> None:
    axes.bar(
        place, row.fid, 0.72, color=_winner_colour(gap), edgecolor="white", linewidth=0, hatch=HATCH if far else None
    )
    if row.fid_low == row.fid_low:
        interval = [[row.fid - row.fid_low], [row.fid_high - row.fid]]
        axes.errorbar(place, row.fid, interval, color=INK, lw=0.6, capsize=1.5)
    if gap is not None and gap.direction == 0:
        top = max(row.fid, row.fid_high) if row.fid_high == row.fid_high else row.fid
        axes.annotate("≈", (place, top), (0, 2), textcoords="offset points", ha="center")


def _places(tasks: list) -> list[float]:
    """Bar positions: one apart, and 0.7 more between groups."""
    places, at = [], 0.0
    for before, task in zip([None, *tasks], tasks, strict=False):
        at += 0.7 if before is not None and before.group != task.group else 0.0
        places.append(at)
        at += 1.0
    return places


def _group_headings(axes, tasks: list, places: list[float]) -> None:
    """Each group's name above its bars: on a second line where the first would run into its neighbour."""
    across, end, inches = blended_transform_factory(axes.transData, axes.transAxes), -math.inf, 4.5
    per_letter = 0.058 * (places[-1] - places[0] + 1.8) / inches
    for group in dict.fromkeys(task.group for task in tasks):
        mine = [place for task, place in zip(tasks, places, strict=True) if task.group == group]
        middle, half = sum(mine) / len(mine), per_letter * len(GROUP_TITLES[group]) / 2
        lifted = middle - half < end
        axes.text(
            middle, 1.09 if lifted else 1.01, GROUP_TITLES[group], transform=across, ha="center", va="bottom",
            style="italic",
        )  # fmt: skip
        end = -math.inf if lifted else middle + half


def _winner_colour(gap: Difference | None) -> str:
    best = winner(gap.difference) if gap else ""
    return method_colour(best) if best in ("vpt", "full") else NEUTRAL if best == "tie" else FAINT


def _winner_legend(present: set[str], far: bool) -> list[Patch]:
    labels = {"full": (method_colour("full"), "FT better"), "vpt": (method_colour("vpt"), "VPT better"),
              "tie": (NEUTRAL, "tie"), "": (FAINT, "no accuracies yet")}  # fmt: skip
    handles = [Patch(facecolor=colour, label=label) for key, (colour, label) in labels.items() if key in present]
    return (
        [*handles, Patch(facecolor="white", edgecolor=INK, hatch=HATCH, linewidth=0.5, label="far objective")]
        if far
        else handles
    )


def forest(spec, study: Study, frames: Mapping[str, pd.DataFrame]) -> Figure:
    """VPT minus FT with its 95 % interval, per task and per group mean; coloured where it is clear."""
    rows = forest_rows(spec, study, Contrasts(study, frames["final"], frames.get("predictions")))
    figure = new_figure(PAGE, 0.165 * len(rows) + 0.75)
    axes = figure.subplots()
    axes.axvspan(-rope_of(study), rope_of(study), color=FAINT, alpha=0.35, lw=0)
    axes.axvline(0, color=INK, lw=0.6)
    for place, row in enumerate(rows):
        if row.difference is not None:
            _forest_line(axes, place, row)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_yticks(range(len(rows)), [short(row.title, 24) for row in rows])
    for label, row in zip(axes.get_yticklabels(), rows, strict=True):
        label.set(style="italic" if row.difference is None else "normal", weight="bold" if row.is_mean else "normal")
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.grid(axis="x")
    axes.set_axisbelow(True)
    axes.margins(x=0.08)
    low, high = axes.get_xlim()
    axes.set_xlim(min(low, -0.1 * (high - low)), max(high, 0.1 * (high - low)))
    axes.set_xlabel("VPT − FT, points of test accuracy\n95 % intervals over seeds and test images")
    for label, side, at in (("FT better", "full", "left"), ("VPT better", "vpt", "right")):
        axes.set_title(f"← {label}" if at == "left" else f"{label} →", loc=at, color=method_colour(side))
    return figure


def forest_rows(spec, study: Study, contrasts: Contrasts) -> list[ForestRow]:
    """Per group: a heading, its tasks and, where it has several, the mean over the shared tasks."""
    gaps = contrasts.pair_at(task.id for task in study.tasks.values() if task.group in spec.groups)
    directions, rows = corrected_directions(gaps), []
    for name in spec.groups:
        tasks = [task for task in gaps if study.tasks[task].group == name]
        if not tasks:
            continue
        rows.append(ForestRow(GROUP_TITLES[name]))
        rows += [ForestRow(study.tasks[task].title, gaps[task], directions[task]) for task in tasks]
        if len(tasks) > 1:
            both = grouped([gaps[task] for task in tasks])
            rows.append(ForestRow("Mean", both.these, both.widest.direction, both.like))
    return rows


def _forest_line(axes, place: int, row: ForestRow) -> None:
    gap = row.difference
    colour = {1: method_colour("vpt"), -1: method_colour("full"), 0: NEUTRAL}[row.direction]
    marker, size = ("D", 5) if row.is_mean else ("o", 4)
    known = not math.isnan(gap.low)
    wide = row.like if row.like and not math.isnan(row.like.low) else None
    if wide:
        axes.plot([wide.low, wide.high], [place, place], color=colour, lw=0.6, solid_capstyle="butt")
    if known:
        axes.plot(
            [gap.low, gap.high], [place, place], color=colour, lw=2 if row.is_mean else 1.2, solid_capstyle="butt"
        )
    axes.plot(gap.difference, place, marker, color=colour, ms=size, mfc=colour if known else "white")
    interval = f"  {gap.interval}" if known else "  one seed"
    beside = blended_transform_factory(axes.transAxes, axes.transData)
    words = gap.points + interval + (f" / {wide.interval}" if wide else "")
    weight = "bold" if row.is_mean else "normal"
    axes.text(1.02, place, words, transform=beside, va="center", weight=weight)
