"""Grad-CAM figures: the image, and the maps of full fine-tuning and VPT over it, with what each of them answered.

In: a figure's spec, a study, and a frame of kind explain (and of kind index, for class names). Out: a matplotlib
figure. Imports no torch.

    python -m pytest tests/report/test_figures.py
"""

from __future__ import annotations

import io
from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import imread

from vptcore.models.methods_table import METHODS
from vptcore.records import RowsError
from vptcore.report.style import PAGE, new_figure, plain
from vptcore.study import Study

MAP_COLOURS, OPACITY = "inferno", 0.55
PICKS = 2
MOST_LETTERS = 16


def grad_cam(spec, study: Study, frames: Mapping[str, pd.DataFrame]) -> Figure:
    """A row per task and `PICKS` images a row; each image as input, FT's map, VPT's map."""
    rows = frames["explain"]
    present = set(rows["task"])
    tasks = [task for task in study.tasks if task in present]
    names = class_names(frames.get("index"))
    figure = new_figure(PAGE, 1.36 * len(tasks) + 0.1)
    axes = figure.subplots(len(tasks), 3 * PICKS, squeeze=False)
    for axis in axes.ravel():
        axis.set_axis_off()
    for line, task in zip(axes, tasks, strict=True):
        mine = rows[rows["task"] == task]
        for place, pick in enumerate(sorted(set(mine["pick"]))[:PICKS]):
            _triplet(line[3 * place : 3 * place + 3], mine[mine["pick"] == pick], names.get(task, {}))
        line[0].set_title(
            f"{plain(study.tasks[task].title)}\n{line[0].get_title(loc='left').strip()}", loc="left", fontsize=6.5
        )
    return figure


def class_names(index: pd.DataFrame | None) -> dict[str, dict[int, str]]:
    """Task -> label -> class name, from rows of kind index."""
    if index is None or index.empty:
        return {}
    pairs = index.dropna(subset=["class_name"]).drop_duplicates(["task", "label"])
    return {
        task: dict(zip(mine["label"].astype(int), mine["class_name"], strict=True))
        for task, mine in pairs.groupby("task")
    }


def _triplet(axes: list[Axes], rows: pd.DataFrame, names: Mapping[int, str]) -> None:
    """One image: as it is, with its true class, then under each method's map with that method's answer."""
    image = imread(io.BytesIO(rows.iloc[0]["image_png"]), format="png")
    image = image[..., :3] if image.ndim == 3 else np.repeat(image[..., None], 3, axis=2)
    axes[0].imshow(image)
    axes[0].set_title(f"\n{_class(rows.iloc[0]['label'], names)}", loc="left", fontsize=6.5)
    for axis, method in zip(axes[1:], ("full", "vpt"), strict=True):
        found = rows[rows["method"] == method]
        if found.empty:
            axis.set_title(f"{METHODS[method].title}\nno rows yet", loc="left", fontsize=6.5)
            continue
        _overlay(axis, image, found.iloc[0])
        row = found.iloc[0]
        right = "✓" if row["prediction"] == row["label"] else "✗"
        answer = _class(row["prediction"], names)
        axis.set_title(f"{METHODS[method].title} {right} {row['confidence']:.2f}\n{answer}", loc="left", fontsize=6.5)


def _overlay(axis: Axes, image: np.ndarray, row: pd.Series) -> None:
    grid_hw = np.asarray(row["map"], dtype=float)
    if grid_hw.size != row["grid_h"] * row["grid_w"]:
        raise RowsError(
            f"explain rows, task {row['task']}, pick {row['pick']}: a map of {grid_hw.size} values for a grid of "
            f"{row['grid_h']} x {row['grid_w']}"
        )
    grid_hw = grid_hw.reshape(row["grid_h"], row["grid_w"])
    extent = (-0.5, image.shape[1] - 0.5, image.shape[0] - 0.5, -0.5)
    axis.imshow(image.mean(axis=2), cmap="gray", vmin=0, vmax=1)
    axis.imshow(grid_hw, cmap=MAP_COLOURS, alpha=OPACITY, vmin=0, vmax=1, interpolation="bilinear", extent=extent)


def _class(label: int, names: Mapping[int, str]) -> str:
    name = names.get(int(label), f"class {int(label)}")
    return plain(name if len(name) <= MOST_LETTERS else f"{name[: MOST_LETTERS - 1]}…")
