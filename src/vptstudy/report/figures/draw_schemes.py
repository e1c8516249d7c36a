"""Drawings from no data: the two methods, and the hypothesis of an extra dimension.

In: a figure's spec and a study. Out: a matplotlib figure.

    python -m pytest tests/vptstudy/report/test_figures.py
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch, Patch
from matplotlib.patheffects import withStroke

from vptstudy.report.figures.style import INK, NEUTRAL, PAGE, TRAINED, method_colour, new_figure, tint
from vptstudy.report.figures.values import START, descents, loss_surface
from vptstudy.study import Study

LAYERS = ("$L_1$", "$L_2$", "…", "$L_N$")


def methods(spec, study: Study, frames: Mapping[str, pd.DataFrame]) -> Figure:
    """Two stacks of layers from the embeddings up to the head; what is trained is filled."""
    figure = new_figure(PAGE, 3.0)
    left, right = figure.subplots(1, 2)
    _stack(left, "(a) Full fine-tuning", prompts=False)
    _stack(right, "(b) Visual prompt tuning, deep", prompts=True)
    handles = [
        Patch(fc=tint(TRAINED, 0.55), ec=TRAINED, label="trained"),
        Patch(fc="#eeeeee", ec=NEUTRAL, label="frozen"),
    ]
    figure.legend(handles=handles, loc="outside upper right", ncols=2)
    return figure


def _stack(axis: Axes, title: str, prompts: bool) -> None:
    axis.set(xlim=(0, 10), ylim=(-0.3, 6.4), xticks=[], yticks=[], title=title)
    for spine in axis.spines.values():
        spine.set_visible(False)
    _box(axis, (2.6, 0), 5.4, 0.7, "[CLS] and patches $E$", trained=not prompts)
    for place, name in enumerate(LAYERS):
        bottom = 1.05 + place
        if name == "…":
            axis.text(5.3, bottom + 0.3, "⋮", ha="center", va="center", fontsize=10)
        else:
            _box(axis, (2.6, bottom), 5.4, 0.62, f"layer {name}", trained=not prompts)
            if prompts:
                index = {"$L_1$": "0", "$L_2$": "1", "$L_N$": "{N-1}"}[name]
                _box(axis, (0, bottom), 1.7, 0.62, f"$P_{index}$", trained=True)
                _arrow(axis, (1.7, bottom + 0.31), (2.6, bottom + 0.31))
        _arrow(axis, (5.3, bottom - 0.36), (5.3, bottom))
    _box(axis, (3.9, 5.3), 2.8, 0.62, "head", trained=True)
    _arrow(axis, (5.3, 4.67), (5.3, 5.3))
    axis.text(6.9, 5.6, "→  $y$", va="center")


def _box(axis: Axes, corner: tuple[float, float], width: float, height: float, words: str, trained: bool) -> None:
    face, edge = (tint(TRAINED, 0.55), TRAINED) if trained else ("#eeeeee", NEUTRAL)
    axis.add_patch(
        FancyBboxPatch(corner, width, height, boxstyle="round,pad=0,rounding_size=0.12", fc=face, ec=edge, lw=0.8)
    )
    axis.text(corner[0] + width / 2, corner[1] + height / 2, words, ha="center", va="center")


def _arrow(axis: Axes, start: tuple[float, float], end: tuple[float, float]) -> None:
    axis.add_patch(
        FancyArrowPatch(start, end, arrowstyle="-|>", mutation_scale=6, lw=0.7, color=INK, shrinkA=0, shrinkB=0)
    )


STUCK, FREE = method_colour("full"), "#F0C000"


def dimension(spec, study: Study, frames: Mapping[str, pd.DataFrame]) -> Figure:
    """Left the loss along the one dimension, stuck in the nearer valley; right the way out through a second one."""
    stuck, free = descents()
    figure = new_figure(PAGE, 2.6)
    left, right = figure.subplots(1, 2, width_ratios=(1, 1.1))
    x = np.linspace(-1.6, 1.6, 400)
    left.plot(x, loss_surface(x, 0.0), color=STUCK)
    left.plot(*_at(START, 0.0), "o", color=STUCK, ms=4)
    left.plot(*_at(stuck[-1], 0.0), "*", color=STUCK, ms=10, mec="white", mew=0.5)
    _name(left, _at(START, 0.0), "start", (-4, 0), STUCK, "right")
    _name(left, _at(stuck[-1], 0.0), "stuck", (0, -13), STUCK, "center")
    left.set(
        xlabel="weights of the backbone", ylabel="loss", title="(a) one dimension", ylim=(0, None), xticks=[], yticks=[]
    )
    grid_x, grid_p = np.meshgrid(x, np.linspace(-0.35, 1.5, 200))
    heights = loss_surface(grid_x, grid_p)
    levels = np.quantile(heights, np.linspace(0, 0.95, 12))
    filled = right.contourf(grid_x, grid_p, heights, levels=levels, cmap="Blues", extend="max")
    right.contour(grid_x, grid_p, heights, levels=levels, colors="white", linewidths=0.5)
    bar = figure.colorbar(filled, ax=right, label="loss", ticks=[])
    bar.outline.set_linewidth(0.4)
    bar.ax.text(1.3, 0, "low", transform=bar.ax.transAxes, va="bottom")
    bar.ax.text(1.3, 1, "high", transform=bar.ax.transAxes, va="top")
    right.axhline(0, color=STUCK)
    right.plot(free[:, 0], free[:, 1], color=FREE, lw=1.8)
    right.plot(*stuck[-1], "*", color=STUCK, ms=10, mec="white", mew=0.5)
    right.plot(*free[-1], "*", color=FREE, ms=11, mec=INK, mew=0.5)
    _name(right, stuck[-1], "stuck in (a)", (0, -13), INK, "center")
    _name(right, free[-1], "found in (b)", (4, 7), INK, "left")
    _name(right, (-1.55, 0.0), "no added parameters", (0, -9), STUCK, "left")
    right.set(
        xlabel="weights of the backbone", ylabel="added parameters", title="(b) with a second", xticks=[], yticks=[]
    )
    return figure


def _name(axis: Axes, point, words: str, shift: tuple[int, int], colour: str, at: str) -> None:
    found = axis.annotate(words, tuple(point), shift, textcoords="offset points", ha=at, va="center", color=colour)
    found.set_path_effects([withStroke(linewidth=2.5, foreground="white")])


def _at(point: np.ndarray, p: float) -> tuple[float, float]:
    return float(point[0]), float(loss_surface(point[0], p))
