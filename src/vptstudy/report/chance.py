"""Chance: how often the answer is right that needs no image, the most frequent class of the test set every time.

In: a study, a task, and predictions of any cell of it, which hold the test labels. Out: a share of the test images.

    python -m pytest tests/vptstudy/report/test_chance.py
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import pandas as pd

from vptstudy.study import Cell, Study

CAPTION = "Dotted: chance, the share of the most frequent class in the test set."
Predictions = Mapping[Cell, pd.DataFrame] | pd.DataFrame | None


def chance_of(study: Study, task: str, predictions: Predictions = None) -> float:
    """The share of the task's most frequent test label; one over its classes where no predictions are there."""
    labels = _labels(task, predictions)
    even = 1 / study.tasks[task].classes
    return even if labels is None else max(even, float(labels.value_counts(normalize=True).iloc[0]))


def one_cell_a_task(cells: Iterable[Cell]) -> list[Cell]:
    """Whose predictions a figure reads to know its tasks' labels: the first cell of each."""
    return list({cell.task: cell for cell in reversed(list(cells))}.values())[::-1]


def _labels(task: str, predictions: Predictions) -> pd.Series | None:
    """The test labels, once: of the first seed of the first cell that has rows."""
    if predictions is None or len(predictions) == 0:
        return None
    if isinstance(predictions, pd.DataFrame):
        rows = predictions[predictions["task"] == task]
        rows = rows[rows["method"] == rows["method"].iloc[0]] if len(rows) else rows
    else:
        rows = next((predictions[cell] for cell in predictions if cell.task == task), pd.DataFrame())
    return rows.loc[rows["seed"] == rows["seed"].iloc[0], "label"] if len(rows) else None
