"""The differences that a study's rows support: any two methods on a task, over seeds and test images.

In: a study, its final rows, and its predictions one cell at a time. Out: `Contrast`s in percentage points, from which
the headline, the quadrants, the forest, the bold numbers and the table of significance all take their answers.

    python -m pytest tests/vptstudy/report/test_verdict.py
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import pandas as pd

from vptcore.analysis.evidence import ROPE
from vptcore.analysis.paired import Contrast, over_seeds_alone, paired_difference
from vptcore.analysis.significance import Right, right_answers, same_images
from vptcore.analysis.statistics import CELL, Estimate, summarise
from vptstudy.study import Cell, Study


class Contrasts:
    """What was measured, cell by cell; answers that are read from a file are kept.

    `predictions`: cell -> its rows of kind `predictions`; cells that it lacks are compared over seeds alone.
    """

    def __init__(self, study: Study, final: pd.DataFrame, predictions: Mapping[Cell, pd.DataFrame] | None = None):
        self.study = study
        self.predictions = predictions or {}
        self.estimates = {
            Cell(*(row[name] for name in CELL)): _estimate(row) for row in summarise(final).to_dict("records")
        }
        self._right: dict[Cell, Right] = {}

    def of(self, a: Cell, b: Cell) -> Contrast | None:
        """a - b in points; None where a side has no rows. RowsError where both were tested on other images."""
        if a not in self.estimates or b not in self.estimates:
            return None
        if a not in self.predictions or b not in self.predictions:
            return over_seeds_alone(self.estimates[a], self.estimates[b])
        sides = self.right(a), self.right(b)
        same_images(*sides, where=a.folder)
        return paired_difference(sides[0].right_SN, sides[1].right_SN).scaled(100)

    def right(self, cell: Cell) -> Right:
        if cell not in self._right:
            self._right[cell] = right_answers(self.predictions[cell], cell.folder)
        return self._right[cell]

    def over_tasks(self, a: str, b: str, backbone: str, train_of: Mapping[str, str]) -> dict[str, Contrast]:
        """Task -> method a - method b, each task at its own train size; tasks without rows of both are left out."""
        found = {t: self.of(*(Cell(backbone, side, t, train) for side in (a, b))) for t, train in train_of.items()}
        return {task: contrast for task, contrast in found.items() if contrast is not None}

    def pair_at(self, tasks: Iterable[str], train: str = "") -> dict[str, Contrast]:
        """Task -> VPT - FT on the main backbone, at the base train size or another."""
        train_of = dict.fromkeys(tasks, train or self.study.base_train)
        return self.over_tasks("vpt", "full", self.study.main_backbone, train_of)

    def alone(self, cells: Iterable[Cell]) -> int:
        """How many of the cells with rows have no predictions, so that their test images are taken as they are."""
        return sum(cell in self.estimates and cell not in self.predictions for cell in cells)


def rope_of(study: Study) -> float:
    """The largest difference, in points, that does not matter (report.rope)."""
    return float(study.config["report"].get("rope", ROPE))


def by_cell(predictions: pd.DataFrame) -> dict[Cell, pd.DataFrame]:
    """Rows of kind `predictions` of many cells, as `Contrasts` takes them."""
    return {Cell(*key): rows for key, rows in predictions.groupby(CELL, sort=False)}


def _estimate(row: Mapping) -> Estimate:
    return Estimate(*(row[name] for name in ("mean", "std", "low", "high", "n"))).scaled(100)
