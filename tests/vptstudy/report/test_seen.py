"""The alt texts of every figure: made of the numbers beside it, checked by pandas."""

from __future__ import annotations

import io
import re

import pandas as pd
import pytest

from tests.vptstudy.report.synthetic import fid_rows
from tests.vptstudy.report.test_figures import frames  # noqa: F401  (fixture)
from vptstudy.report.figures.draw import FIGURES, inputs, is_drawn, numbers


def told(number, study, mine) -> tuple[str, pd.DataFrame]:
    drawn = pd.read_csv(io.StringIO(numbers(number, study, mine)))
    return FIGURES[number].sees(study, drawn), drawn


@pytest.mark.parametrize("number", [n for n in FIGURES if n not in ("6", "13")])
def test_every_figure_is_told_with_numbers(number, demo, frames):  # noqa: F811
    assert is_drawn(number, demo)
    words, drawn = told(number, demo, frames(number))
    assert words.endswith(".")
    assert re.search(r"\d", words)
    assert "nan" not in words
    for task in set(drawn["task"].dropna()) if "task" in drawn else ():
        assert number == "when" or demo.tasks[task].title in words or number == "1"


def test_the_forest_tells_tasks_and_means(demo, frames):  # noqa: F811
    words, drawn = told("forest", demo, frames("forest"))
    tasks = drawn.dropna(subset="task")
    mean = tasks[tasks.group == "structured"].difference.mean()
    assert f"mean of Structured {mean:+.1f}".replace("-", "−") in words
    assert all(f"{abs(gap):.1f}" in words for gap in tasks.difference)


def test_accuracies_are_those_at_the_smallest_and_largest_size(demo, frames):  # noqa: F811
    words, drawn = told("4", demo, frames("4"))
    row = drawn[(drawn.task == "fashion_mnist") & (drawn.method == "vpt") & (drawn.train == 160)].iloc[0]
    assert f"{100 * row['mean']:.1f} % at 160 images" in words


def test_losses_end_where_the_curves_do(demo, frames):  # noqa: F811
    words, drawn = told("10", demo, frames("10"))
    curve = drawn[(drawn.task == "fashion_mnist") & (drawn.method == "vpt")].dropna(subset="test_loss")
    last, least = curve.sort_values("epoch").test_loss.iloc[-1], curve.test_loss.min()
    assert f"VPT ends at {last:.2g}, least {least:.2g}" in words


def test_few_images_and_many_are_told_apart(paper, paper_final):
    mine = {"final": paper_final, "fid": fid_rows(inputs("1", paper)["fid"]), "predictions": {}}
    words, drawn = told("1", paper, mine)
    assert "With few images" in words
    assert "With many images" in words
    assert words.count("near objective and near images") == 2
    assert drawn.task.isna().sum() == 8
