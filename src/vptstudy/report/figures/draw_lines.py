"""Figures made of lines: accuracy against train size, and loss against epoch.

In: a figure's spec, a study, and a frame of kind final or curves. Out: a matplotlib figure.

    python -m pytest tests/vptstudy/report/test_figures.py
"""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter, NullLocator

from vptcore.analysis.curves import mean_curves
from vptcore.analysis.statistics import summarise
from vptcore.models.methods_table import METHODS, in_order
from vptstudy.report.chance import chance_of
from vptstudy.report.figures.style import (
    COLUMN,
    INK,
    NEUTRAL,
    PAGE,
    letters_in,
    method_colour,
    panels,
    short,
    task_colours,
)
from vptstudy.report.tables.grid import GROUP_TITLES
from vptstudy.study import Study

# FT solid and VPT dotted, as in the paper's Figure 4; training solid and test dashed, as in its Figure 5.
METHOD_LINES = {"full": "-", "vpt": ":"}
CHANCE = {"ls": (0, (1, 3)), "lw": 0.9, "marker": ""}
LOSS_LINES = {"train_loss": ("-", "training"), "test_loss": ("--", "test")}
# Loss floor of a logarithmic axis: a train loss of exactly 0 has no logarithm.
FLOOR = 1e-6


def _tasks(study: Study, frame: pd.DataFrame) -> list[str]:
    present = set(frame["task"])
    return [task for task in study.tasks if task in present]


def accuracy_by_size(spec, study: Study, frames: Mapping[str, pd.DataFrame]) -> Figure:
    """Test accuracy (mean ± std) against train size on a log axis: a panel per group, or per task of a single group."""
    summary = summarise(frames["final"])
    summary["size"] = summary["train"].astype(int)
    tasks, together = _tasks(study, summary), len(spec.groups) > 1
    if together:
        groups = [g for g in spec.groups if any(study.tasks[t].group == g for t in tasks)]
        shown = {GROUP_TITLES[g]: [t for t in tasks if study.tasks[t].group == g] for g in groups}
    else:
        shown = {task: [task] for task in tasks}
    columns = 3 if together else 4
    figure, axes = panels(PAGE, 2.7 if together else 1.5, len(shown), columns, sharex=True)
    letters = letters_in(figure.get_figwidth() / min(columns, len(axes)) - 0.2)
    for axis, (title, mine) in zip(axes, shown.items(), strict=True):
        chances = {task: chance_of(study, task, frames.get("predictions")) for task in mine}
        _size_panel(axis, summary[summary.task.isin(mine)], chances, study, own_colours=together)
        axis.set_title(title if together else short(study.tasks[title].title, letters))
    _size_axis(axes, sorted(set(summary["size"])), common_sizes(summary))
    _outer_labels(axes, columns, "training images", "test accuracy (%)")
    handles = [
        Line2D([], [], color=INK if together else method_colour(m), label=METHODS[m].title, **_marks(m))
        for m in METHOD_LINES
    ]
    handles.append(Line2D([], [], color=NEUTRAL, label="chance", **CHANCE))
    figure.legend(handles=handles, loc="outside upper left", ncols=3)
    return figure


def _marks(method: str) -> dict:
    """A full mark for FT and a hollow one for VPT, so that a point without a line has its method too."""
    return {"ls": METHOD_LINES[method], "marker": "o", "ms": 3, "mfc": "white" if method == "vpt" else None}


def common_sizes(rows: pd.DataFrame) -> list[int]:
    """The sizes (column `size`) that several tasks have, or all of a single task: those that an axis names."""
    tasks = rows.groupby("size")["task"].nunique()
    return [int(size) for size in tasks.index if tasks[size] > 1 or rows["task"].nunique() == 1]


def _size_axis(axes: list[Axes], sizes: list[int], named: list[int]) -> None:
    """One axis of sizes for all panels: the lowest and highest are clear of the frame."""
    axes[0].set_xscale("log")
    axes[0].set_xlim(sizes[0] / 1.4, sizes[-1] * 1.4)
    axes[0].set_xticks(named, [str(size) for size in named])
    axes[0].xaxis.set_minor_locator(NullLocator())
    for axis in axes:
        axis.tick_params(axis="x", rotation=90)


def _size_panel(axis: Axes, rows: pd.DataFrame, chances: Mapping[str, float], study: Study, own_colours: bool) -> None:
    """The tasks of `chances`, task -> share that is right by chance."""
    colours = task_colours(list(chances))
    for (task, method), line in rows.sort_values("size").groupby(["task", "method"], sort=False):
        colour = colours[task] if own_colours else method_colour(method)
        spread = 100 * line["std"].fillna(0)
        axis.errorbar(
            line["size"], 100 * line["mean"], spread, color=colour, capsize=1.5, elinewidth=0.6, **_marks(method)
        )
    for task, chance in chances.items():
        axis.axhline(100 * chance, color=colours[task] if own_colours else NEUTRAL, **CHANCE)
    axis.grid(axis="y")
    if own_colours:
        handles = [Line2D([], [], color=colours[task], label=short(study.tasks[task].title, 20)) for task in chances]
        # Below the sizes, which are set upright, and the axis's label.
        below = -0.26 - 0.045 * len(str(rows["size"].max()))
        axis.legend(handles=handles, loc="upper center", bbox_to_anchor=(0.5, below), handlelength=1.2)


def losses(spec, study: Study, frames: Mapping[str, pd.DataFrame]) -> Figure:
    """Training (solid) and test (dashed) loss against epoch, mean over seeds: a panel a task."""
    curves = mean_curves(frames["curves"])
    tasks, columns = _tasks(study, curves), 3 if spec.per_group else 4
    figure, axes = panels(PAGE, 1.4, len(tasks), columns, sharex=True)
    letters = letters_in(figure.get_figwidth() / min(columns, len(axes)) - 0.2)
    for axis, task in zip(axes, tasks, strict=True):
        _loss_panel(axis, curves[curves.task == task], spec.log)
        axis.set_title(short(study.tasks[task].title, letters))
    return _loss_figure(figure, axes, columns, curves, spec.log)


def losses_by_size(spec, study: Study, frames: Mapping[str, pd.DataFrame]) -> Figure:
    """A row a task, a panel each of its larger train sizes, which share their axis of losses."""
    curves = mean_curves(frames["curves"])
    tasks = _tasks(study, curves)
    if not tasks:
        return _nothing("no task on which both methods overfit at the base train size")
    cells = study.select(backbone=study.main_backbone, task=tasks)
    sizes = {task: sorted({int(c.train) for c in cells if c.task == task and c.train.isdigit()}) for task in tasks}
    sizes = {task: [size for size in found if size > int(study.base_train)] for task, found in sizes.items()}
    columns = max(map(len, sizes.values()))
    figure, axes = panels(PAGE, 1.4, len(tasks) * columns, columns, sharex=True, sharey="row")
    letters = letters_in(figure.get_figwidth() / columns - 0.08)
    for row, task in enumerate(tasks):
        mine = axes[row * columns : (row + 1) * columns]
        for axis in mine[len(sizes[task]) :]:
            axis.set_visible(False)
        for axis, size in zip(mine, sizes[task], strict=False):
            _loss_panel(axis, curves[(curves.task == task) & (curves.train == str(size))], spec.log)
            after = f", {size:,} images"
            axis.set_title(short(study.tasks[task].title, letters - len(after)) + after)
    return _loss_figure(figure, axes, columns, curves, spec.log)


def _nothing(words: str) -> Figure:
    """A figure that says why it shows nothing."""
    figure, (axis,) = panels(PAGE, 0.5, 1, 1)
    axis.set_axis_off()
    axis.text(0, 0.5, words, va="center")
    return figure


def _loss_figure(figure: Figure, axes: list[Axes], columns: int, curves: pd.DataFrame, log: bool) -> Figure:
    """What all panels of losses share: their floor, labels and legend."""
    if not log:
        for axis in axes:
            axis.set_ylim(bottom=0)
    _outer_labels(axes, columns, "epoch", "loss (nats)")
    methods = in_order(curves["method"])
    handles = [Line2D([], [], color=method_colour(m), label=METHODS[m].title) for m in methods]
    handles += [Line2D([], [], color=INK, ls=style, label=label) for style, label in LOSS_LINES.values()]
    wide = figure.get_figwidth() > 1.3 * COLUMN
    figure.legend(handles=handles, loc="outside upper left", ncols=min(len(handles), 6) if wide else 3)
    return figure


def _outer_labels(axes: list[Axes], columns: int, below: str, beside: str) -> None:
    """Label the first panel of each row, and of each column the last that is seen, whose ticks are labelled too."""
    columns = min(columns, len(axes))
    for axis in axes[::columns]:
        axis.set_ylabel(beside)
    for column in range(columns):
        seen = [axis for axis in axes[column::columns] if axis.get_visible()]
        if seen:
            seen[-1].set_xlabel(below)
            seen[-1].tick_params(axis="x", labelbottom=True)


def _loss_panel(axis: Axes, curves: pd.DataFrame, log: bool) -> None:
    axis.grid(axis="y")
    axis.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    for method, line in curves.sort_values("epoch").groupby("method", sort=False):
        for column, (style, _) in LOSS_LINES.items():
            values = line[column].clip(lower=FLOOR) if log else line[column]
            axis.plot(line["epoch"], values, color=method_colour(method), ls=style, lw=1.0)
    if log:
        axis.set_yscale("log")
        # At least three labels whatever the losses span, and none as a power, whose exponent is too small to read.
        low, high = axis.get_ylim()
        steps = (1.0,) if high / low > 300 else (1.0, 3.0) if high / low > 20 else (1.0, 2.0, 5.0)
        axis.yaxis.set_major_locator(LogLocator(subs=steps))
        axis.yaxis.set_major_formatter("{x:g}")
        axis.yaxis.set_minor_formatter(NullFormatter())
    else:
        axis.margins(y=0.05)
        axis.yaxis.set_major_locator(MaxNLocator(4, min_n_ticks=3))
    if curves.empty:
        axis.text(0.5, 0.5, "no rows yet", transform=axis.transAxes, ha="center", va="center")
