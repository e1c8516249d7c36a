"""report.chance: the share of the most frequent test label, by counting, and where it is drawn."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from tests.vptstudy.report.synthetic import final_rows, make_study
from vptstudy.report.chance import chance_of, one_cell_a_task
from vptstudy.report.figures.draw import draw, inputs, numbers
from vptstudy.study import Cell

MAIN = "vit_b16_sup21k"


@pytest.fixture(scope="module")
def study():
    tasks = ("patch_camelyon", "eurosat")
    return make_study(
        [Cell(MAIN, m, t, n) for t in tasks for n in ("400", "800") for m in ("full", "vpt")], seeds=(1, 2)
    )


@pytest.fixture(scope="module")
def predictions(study):
    """Of Patch Camelyon 70 of 100 test images are of class 1; of EuroSAT's ten classes each has ten."""
    labels = {"patch_camelyon": [1] * 70 + [0] * 30, "eurosat": [i % 10 for i in range(100)]}
    return {
        cell: pd.DataFrame({"seed": np.repeat([1, 2], 100), "row": [*range(100)] * 2, "label": labels[cell.task] * 2,
                            "prediction": 0})
        for cell in study.cells
    }  # fmt: skip


def test_it_is_the_share_of_the_most_frequent_label(study, predictions):
    assert chance_of(study, "patch_camelyon", predictions) == 0.7
    assert chance_of(study, "eurosat", predictions) == pytest.approx(0.1)
    together = pd.concat([rows.assign(**vars(cell)) for cell, rows in predictions.items()])
    assert chance_of(study, "patch_camelyon", together) == 0.7
    assert chance_of(study, "patch_camelyon") == chance_of(study, "patch_camelyon", {}) == 0.5


def test_one_cell_tells_the_labels(study):
    assert [cell.task for cell in one_cell_a_task(study.cells)] == ["patch_camelyon", "eurosat"]
    assert one_cell_a_task(study.cells)[0] == study.cells[0]


def test_the_line_is_drawn_there(study, predictions):
    mine = {"final": final_rows(study), "predictions": predictions}
    assert len(inputs("15", study)["predictions"]) == 2
    levels = {}
    for axis in draw("15", study, mine).axes:
        (line,) = [line for line in axis.lines if len(line.get_xdata()) == 2 and set(line.get_xdata()) == {0, 1}]
        levels[axis.get_title(loc="left")] = line.get_ydata()[0]
    assert levels == pytest.approx({"Patch Camelyon": 70, "EuroSAT": 10})
    assert ",0.7\n" in numbers("15", study, mine)
