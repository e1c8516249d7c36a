"""Grad-CAM and integrated gradients: the image, and what full fine-tuning and VPT looked at, with what each answered.

In: a figure's spec, a study, and a frame of kind explain (and of kind index, for class names). Out: a matplotlib
figure.

    python -m pytest tests/vptstudy/report/test_figures.py
"""

from __future__ import annotations

import io
from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import ListedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.image import imread

from vptcore.models.methods_table import METHODS
from vptcore.records import RowsError
from vptstudy.report.figures.style import PAGE, new_figure, short
from vptstudy.study import Study

# How opaque a map is where it is strongest; where it is 0 the image shows through, in light grey.
OPACITY, LIGHT = 0.85, 0.55
PICKS = 2
# Inches of one line of images with its two lines of words.
LINE = 1.2
MOST_LETTERS = 13
# Of a panel's width.
GAP = 0.1


def grad_cam(spec, study: Study, frames: Mapping[str, pd.DataFrame]) -> Figure:
    """A row per task and `PICKS` images a row; each image as input, FT's map, VPT's map."""
    tasks = _tasks(study, frames)
    figure = new_figure(PAGE, LINE * max(len(tasks), 0.4) + 0.4)
    _triplets(figure, study, frames, tasks, _overlay, first=0)
    _scale(figure)
    return figure


def map_colours() -> ListedColormap:
    """From nothing to dark red: one hue, which over any light grey stays that hue."""
    colours = colormaps["Reds"](np.linspace(0.4, 1, 256))
    colours[:, 3] = OPACITY * np.linspace(0, 1, 256)
    return ListedColormap(colours)


def _scale(figure) -> None:
    """The colours of a map, below the images."""
    axes = [axis for axis in figure.axes if axis.images]
    if axes:
        shown = ScalarMappable(Normalize(0, 1), map_colours())
        bar = figure.colorbar(shown, ax=figure.axes, location="bottom", shrink=0.4, aspect=40, pad=0.02)
        bar.set_label("Grad-CAM, of its map's highest value")
        bar.outline.set_linewidth(0.4)


def attributions(spec, study: Study, frames: Mapping[str, pd.DataFrame]) -> Figure:
    """(a) integrated gradients of the images that Grad-CAM shows elsewhere, (b) Grad-CAM of the images after those."""
    tasks = _tasks(study, frames)
    figure = new_figure(PAGE, 2 * (LINE * max(len(tasks), 0.4) + 0.25) + 0.3)
    above, below = figure.subfigures(2, 1)
    for part, title in ((above, "(a) Integrated gradients"), (below, "(b) Grad-CAM, more images")):
        part.suptitle(title, x=0.01, ha="left")
    _triplets(above, study, frames, tasks, _gradients, first=0)
    _triplets(below, study, frames, tasks, _overlay, first=PICKS)
    _scale(below)
    return figure


def _tasks(study: Study, frames: Mapping[str, pd.DataFrame]) -> list[str]:
    present = set(frames["explain"]["task"])
    return [task for task in study.tasks if task in present]


def _triplets(figure, study: Study, frames: Mapping[str, pd.DataFrame], tasks: list[str], show, first: int) -> None:
    """Fill a figure with a line a task: its picks from the `first` on, taken from both cases in turn."""
    names, rows = class_names(frames.get("index")), frames["explain"]
    # Between two images a narrow empty place, so that three panels are seen as one image's.
    widths = [1, 1, 1, GAP] * PICKS
    axes = figure.subplots(max(len(tasks), 1), len(widths) - 1, squeeze=False, width_ratios=widths[:-1])
    for axis in axes.ravel():
        axis.set_axis_off()
    if not tasks:
        axes[0, 0].text(0, 0.5, "no image that one of the two gets right and the other wrong", va="center")
    for line, task in zip(axes, tasks, strict=False):
        mine = rows[rows["task"] == task]
        for place, pick in enumerate(picks_of(mine)[first : first + PICKS]):
            _triplet(line[4 * place : 4 * place + 3], mine[mine["pick"] == pick], names.get(task, {}), show)
        line[0].set_title(
            f"{short(study.tasks[task].title, MOST_LETTERS)}\n{line[0].get_title(loc='left').strip()}", loc="left"
        )


def picks_of(rows: pd.DataFrame) -> list[int]:
    """A task's picks in the order they are shown: one that VPT alone gets right, one that FT alone does, and so on."""
    firsts = rows.drop_duplicates("pick").sort_values("pick")
    turn = firsts.groupby("case").cumcount()
    is_full = firsts["case"] == "full_only"
    return firsts.assign(turn=turn, is_full=is_full).sort_values(["turn", "is_full", "pick"])["pick"].tolist()


def class_names(index: pd.DataFrame | None) -> dict[str, dict[int, str]]:
    """Task -> label -> class name, from rows of kind index."""
    if index is None or index.empty:
        return {}
    pairs = index.dropna(subset=["class_name"]).drop_duplicates(["task", "label"])
    return {
        task: dict(zip(mine["label"].astype(int), mine["class_name"], strict=True))
        for task, mine in pairs.groupby("task")
    }


def _triplet(axes: list[Axes], rows: pd.DataFrame, names: Mapping[int, str], show) -> None:
    """One image: as it is, with its true class, then what each method looked at with that method's answer."""
    image = imread(io.BytesIO(rows.iloc[0]["image_png"]), format="png")
    image = image[..., :3] if image.ndim == 3 else np.repeat(image[..., None], 3, axis=2)
    axes[0].imshow(image)
    axes[0].set_title(f"\n{_class(rows.iloc[0]['label'], names)}", loc="left")
    for axis, method in zip(axes[1:], ("full", "vpt"), strict=True):
        found = rows[rows["method"] == method]
        if found.empty:
            axis.set_title(f"{METHODS[method].title}\nno rows yet", loc="left")
            continue
        row = found.iloc[0]
        note = show(axis, image, row, rows)
        right = "✓" if row["prediction"] == row["label"] else "✗"
        answer = _class(row["prediction"], names)
        axis.set_title(f"{METHODS[method].title} {right} {row['confidence']:.2f}{note}\n{answer}", loc="left")


def _overlay(axis: Axes, image: np.ndarray, row: pd.Series, rows: pd.DataFrame) -> str:
    """Grad-CAM over the image in light grey."""
    grid_hw = _grid(row, "map", "grid_h", "grid_w")
    extent = (-0.5, image.shape[1] - 0.5, image.shape[0] - 0.5, -0.5)
    grey = image.mean(axis=2)
    axis.imshow(LIGHT + (1 - LIGHT) * grey / max(float(grey.max()), 1e-6), cmap="gray", vmin=0, vmax=1)
    axis.imshow(grid_hw, cmap=map_colours(), vmin=0, vmax=1, interpolation="bilinear", extent=extent)
    return ""


def _gradients(axis: Axes, image: np.ndarray, row: pd.Series, rows: pd.DataFrame) -> str:
    """Absolute attributions, dark where they are high, both methods on one scale; the error of their sum as a note."""
    grid_hw = _grid(row, "ig", "ig_h", "ig_w")
    together = np.concatenate([np.asarray(values, dtype=float) for values in rows["ig"]])
    # The brightest half per cent would otherwise set the scale alone.
    top = max(float(np.quantile(together, 0.995)), np.finfo(float).tiny)
    axis.imshow(grid_hw, cmap="Greys", vmin=0, vmax=top, interpolation="nearest")
    share = abs(row["ig_delta"]) / max(abs(row["ig_difference"]), 1e-12)
    return f"\nδ {100 * share:.1f} %"


def _grid(row: pd.Series, values: str, height: str, width: str) -> np.ndarray:
    grid = np.asarray(row[values], dtype=float)
    if grid.size != row[height] * row[width]:
        raise RowsError(
            f"explain rows, task {row['task']}, pick {row['pick']}: a map of {grid.size} values for a grid of "
            f"{row[height]} x {row[width]}"
        )
    return grid.reshape(row[height], row[width])


def _class(label: int, names: Mapping[int, str]) -> str:
    name = names.get(int(label), f"class {int(label)}")
    return short(name, MOST_LETTERS)
