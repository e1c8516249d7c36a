"""Examples of every data set: a strip of images a task, in the order of the groups.

In: a figure's spec, a study, and a frame of kind examples. Out: a matplotlib figure.

    python -m pytest tests/vptstudy/report/test_figures.py
"""

from __future__ import annotations

import io
from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from PIL import Image

from vptstudy.report.figures.style import PAGE, letters_in, new_figure, short
from vptstudy.report.tables.grid import GROUP_TITLES
from vptstudy.study import Study

COLUMNS = 4
# Pixels of one image in a strip, and of the white between two.
SIDE, GAP = 72, 3
# Inches of a strip with its name.
LINE = 0.56


def examples(spec, study: Study, frames: Mapping[str, pd.DataFrame]) -> Figure:
    """Groups below each other, `COLUMNS` tasks a line; each task's strip under its name."""
    rows = frames["examples"]
    present = set(rows["task"])
    groups = {
        group: [task for task in study.used("task") if study.tasks[task].group == group and task in present]
        for group in spec.groups
    }
    lines = {group: -(-len(tasks) // COLUMNS) for group, tasks in groups.items() if tasks}
    heights = [0.25 + LINE * count for count in lines.values()]
    figure = new_figure(PAGE, sum(heights))
    blocks = figure.subfigures(len(lines), 1, height_ratios=heights, squeeze=False)
    for block, (group, count) in zip(blocks[:, 0], lines.items(), strict=True):
        block.suptitle(GROUP_TITLES[group], x=0.01, ha="left", style="italic")
        axes = block.subplots(count, COLUMNS, squeeze=False).ravel()
        for axis in axes:
            axis.set_axis_off()
        for axis, task in zip(axes, groups[group], strict=False):
            axis.imshow(strip(rows.loc[rows["task"] == task, "image_png"]), interpolation="nearest")
            axis.set_title(short(study.tasks[task].title, letters_in(PAGE / COLUMNS) - 2), pad=2)
    return figure


def strip(pictures: pd.Series) -> np.ndarray:
    """The images side by side, each `SIDE` pixels square, white between them; (H, W, 3) in uint8."""
    tiles = []
    for picture in pictures:
        image = Image.open(io.BytesIO(picture)).convert("RGB")
        tiles += [
            np.full((SIDE, GAP, 3), 255, np.uint8),
            np.asarray(image.resize((SIDE, SIDE), Image.Resampling.BILINEAR)),
        ]
    return np.concatenate(tiles[1:], axis=1)
