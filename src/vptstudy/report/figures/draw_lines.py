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
from matplotlib.ticker import MaxNLocator, NullFormatter, NullLocator

from vptcore.analysis.curves import mean_curves
from vptcore.analysis.statistics import summarise
from vptcore.models.methods_table import METHODS
from vptstudy.report.figures.style import COLUMN, INK, PAGE, method_colour, panels, plain, task_colours
from vptstudy.report.tables.grid import GROUP_TITLES
from vptstudy.study import Study

# FT solid and VPT dotted, as in the paper's Figure 4; training solid and test dashed, as in its Figure 5.
METHOD_LINES = {"full": "-", "vpt": ":"}
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
    tasks = _tasks(study, summary)
    if len(spec.groups) > 1:
        groups = [g for g in spec.groups if any(study.tasks[t].group == g for t in tasks)]
        shown = {GROUP_TITLES[g]: [t for t in tasks if study.tasks[t].group == g] for g in groups}
        figure, axes = panels(PAGE, 2.5, len(shown), 3)
    else:
        shown = {plain(study.tasks[task].title): [task] for task in tasks}
        figure, axes = panels(PAGE, 1.55, len(shown), 4)
    for axis, (title, mine) in zip(axes, shown.items(), strict=True):
        _size_panel(axis, title, summary[summary.task.isin(mine)], mine, study, own_colours=len(spec.groups) > 1)
    _outer_labels(axes, 3 if len(spec.groups) > 1 else 4, "training images", "test accuracy (%)")
    handles = [
        Line2D([], [], color=INK if len(spec.groups) > 1 else method_colour(m), ls=style, label=METHODS[m].title)
        for m, style in METHOD_LINES.items()
    ]
    figure.legend(handles=handles, loc="outside upper left", ncols=2)
    return figure


def _size_panel(axis: Axes, title: str, rows: pd.DataFrame, tasks: list[str], study: Study, own_colours: bool) -> None:
    colours = task_colours(tasks)
    for (task, method), line in rows.sort_values("size").groupby(["task", "method"], sort=False):
        colour = colours[task] if own_colours else method_colour(method)
        spread = 100 * line["std"].fillna(0)
        axis.errorbar(
            line["size"],
            100 * line["mean"],
            spread,
            color=colour,
            ls=METHOD_LINES[method],
            marker="o",
            ms=2.5,
            capsize=1.5,
            elinewidth=0.6,
        )
    sizes = sorted(set(rows["size"]))
    axis.set_xscale("log")
    # The lowest and highest sizes stand clear of the frame; sizes closer than a factor of 2.2 share a label's room.
    axis.set_xlim(sizes[0] / 1.4, sizes[-1] * 1.4)
    axis.set_xticks(sizes, [str(s) for s in sizes], rotation=40, ha="right", rotation_mode="anchor")
    axis.xaxis.set_minor_locator(NullLocator())
    axis.grid(axis="y")
    axis.set_title(title)
    if own_colours:
        handles = [Line2D([], [], color=colours[task], label=plain(study.tasks[task].title)) for task in tasks]
        axis.legend(
            handles=handles,
            loc="upper center",
            bbox_to_anchor=(0.5, -0.36),
            ncols=2,
            fontsize=6.5,
            columnspacing=1,
            handlelength=1.2,
        )


def losses(spec, study: Study, frames: Mapping[str, pd.DataFrame]) -> Figure:
    """Training (solid) and test (dashed) loss against epoch, mean over seeds: a panel per task and train size."""
    curves = mean_curves(frames["curves"])
    tasks = _tasks(study, curves)
    trains = sorted(
        set(curves["train"]), key=lambda train: (not train.isdigit(), int(train) if train.isdigit() else 0, train)
    )
    places = [(task, train) for task in tasks for train in trains]
    columns = len(trains) if len(trains) > 1 else 3 if spec.per_group else 4
    figure, axes = panels(PAGE, 1.55, len(places), columns)
    for axis, (task, train) in zip(axes, places, strict=True):
        title = plain(study.tasks[task].title) + (f", {train} images" if spec.sized else "")
        _loss_panel(axis, title, curves[(curves.task == task) & (curves.train == train)], spec.log)
        if not study.select(backbone=study.main_backbone, task=task, train=train):
            axis.set_visible(False)
    _outer_labels(axes, columns, "epoch", "loss (nats)")
    methods = [method for method in METHODS if method in set(curves["method"])]
    handles = [Line2D([], [], color=method_colour(m), label=METHODS[m].title) for m in methods]
    handles += [Line2D([], [], color=INK, ls=style, label=label) for style, label in LOSS_LINES.values()]
    figure.legend(
        handles=handles, loc="outside upper left", ncols=len(handles) if figure.get_figwidth() > 1.3 * COLUMN else 3
    )
    return figure


def _outer_labels(axes: list[Axes], columns: int, below: str, beside: str) -> None:
    """Label the first panel of each row and the last panel of each column."""
    columns = min(columns, len(axes))
    for axis in axes[::columns]:
        axis.set_ylabel(beside)
    for axis in axes[-columns:]:
        axis.set_xlabel(below)


def _loss_panel(axis: Axes, title: str, curves: pd.DataFrame, log: bool) -> None:
    axis.set_title(title)
    axis.grid(axis="y")
    axis.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    for method, line in curves.sort_values("epoch").groupby("method", sort=False):
        for column, (style, _) in LOSS_LINES.items():
            values = line[column].clip(lower=FLOOR) if log else line[column]
            axis.plot(line["epoch"], values, color=method_colour(method), ls=style, lw=1.0)
    if log:
        axis.set_yscale("log")
        # Labels between the powers of ten only crowd the small panels.
        axis.yaxis.set_minor_formatter(NullFormatter())
    else:
        axis.set_ylim(bottom=0)
    if curves.empty:
        axis.text(0.5, 0.5, "no rows yet", transform=axis.transAxes, ha="center", va="center")
        axis.set(xticks=[], yticks=[])
