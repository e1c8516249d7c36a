"""A raced study in tables and figures: the choice among full schedules, the rest counted and shown as what it is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from vptcore.training.choose import choose
from vptcore.training.trials import trials_of
from vptstudy import slices
from vptstudy.config.resolve import load_study
from vptstudy.rehearsal import rows as rehearsed
from vptstudy.report.figures import values
from vptstudy.report.figures.draw import FIGURES, caption, draw
from vptstudy.report.raced import is_raced, race_line
from vptstudy.report.tables import cost, selections

DEMO = yaml.safe_load(Path("profiles/demo/study.yaml").read_text())


@pytest.fixture(scope="module")
def raced():
    return load_study(DEMO | {"epochs": 40, "search": "racing"})


@pytest.fixture(scope="module")
def frames(raced):
    drawn = []
    for cell in raced.select(method=("vpt", "linear"), train="160"):
        rows = pd.DataFrame(rehearsed.search(raced, cell, 0.7)).assign(method=cell.method, task=cell.task)
        drawn.append(rows.assign(backbone=cell.backbone, train=cell.train))
    return {"search": pd.concat(drawn, ignore_index=True)}


def of(frames, method, task="digits") -> pd.DataFrame:
    rows = frames["search"]
    return rows[(rows["method"] == method) & (rows["task"] == task)].reset_index(drop=True)


def test_a_rehearsal_races_as_a_search_does(raced, frames):
    for cell in raced.select(method="vpt", train="160"):
        rows = of(frames, "vpt", cell.task)
        assert rows["epochs"].tolist() == [10] * 5 + [40] * 2
        keys = [trial.key for trial in trials_of(slices.search(raced, cell), rows)]
        assert keys == list(zip(rows["config"], rows["epochs"], strict=True))


def test_one_sentence_says_how_it_was_searched(frames):
    vpt = [rows for _, rows in of_method(frames, "vpt")]
    assert race_line(vpt) == (
        "5 searches raced: all 25 configurations on schedules of 10 epochs, the best 10 in full, and the choice is "
        "among those."
    )
    assert race_line([of(frames, "linear")]) == ""
    assert is_raced(of(frames, "vpt"))


def of_method(frames, method):
    return frames["search"][frames["search"]["method"] == method].groupby("task", sort=False)


def test_the_heat_map_has_full_schedules_and_a_dot_for_each_left_behind(raced, frames):
    spec, mine = FIGURES["search_vpt"], {"search": pd.concat(rows for _, rows in of_method(frames, "vpt"))}
    figure = draw("search_vpt", raced, mine)
    assert "not trained in full" in [text.get_text() for text in figure.legends[0].get_texts()]
    assert "5 searches raced" in caption("search_vpt", raced, mine)
    axis = figure.axes[[task for task in raced.tasks if task in set(mine["search"]["task"])].index("digits")]
    rows = of(frames, "vpt")
    full = rows[rows["epochs"] == 40]
    shown = np.ma.filled(axis.collections[0].get_array().astype(float), np.nan).ravel()
    rates = sorted(rows["lr"].unique())
    finite = full[~full["diverged"]]
    best = finite["val_accuracy"].max()
    expected = {rates.index(row.lr): 100 * (row.val_accuracy - best) for row in finite.itertuples()}
    assert {place for place, value in enumerate(shown) if np.isfinite(value)} == set(expected)
    assert all(np.isclose(shown[place], value) for place, value in expected.items())
    dots = {round(line.get_xdata()[0] - 0.5) for line in axis.lines if line.get_marker() == "."}
    short = rows[(rows["epochs"] == 10) & ~rows["diverged"] & ~rows["config"].isin(full["config"])]
    assert dots == {rates.index(lr) for lr in short["lr"]}
    drawn = values.searches(spec, raced, mine)
    chosen = drawn[drawn["chosen"]]
    assert len(drawn) == len(mine["search"])
    assert (chosen["epochs"] == 40).all()
    assert chosen.set_index("task")["config"].to_dict() == {
        task: choose(group)["config"] for task, group in of_method(frames, "vpt")
    }
    assert "epochs" not in values.searches(spec, raced, {"search": of(frames, "linear")})


def test_the_cost_is_that_of_both_schedules(raced, frames):
    final = pd.DataFrame(
        {"backbone": "vit_mini_cifar10", "method": "vpt", "task": "digits", "train": "160", "seed": [1, 2],
         "test_accuracy": 0.5, "diverged": False, "tuned_parameters": 1, "total_parameters": 2, "seconds": 1.0,
         "prompt_length": 2,         "images_per_second": 1.0}
    )  # fmt: skip
    row = cost.by_task(raced, {"final": final, "search": of(frames, "vpt")}).iloc[0]
    assert row["configurations"] == 5
    assert row["search_seconds"] == pytest.approx(of(frames, "vpt")["seconds"].sum())


def test_the_selection_is_among_those_that_went_on(raced, frames):
    rows, cell = of(frames, "vpt"), raced.select(method="vpt", task="digits", train="160")[0]
    split = pd.DataFrame(rehearsed.splits(raced, "digits", "160")).assign(task="digits", train="160")
    labels = rehearsed.pool_labels(raced, "digits")
    index = pd.DataFrame({"task": "digits", "row": np.arange(len(labels)), "label": labels})
    built = selections.table(raced, {"search": rows, "splits": split, "index": index})
    mine = built.frame[(built.frame["task"] == "digits") & (built.frame["method"] == "vpt")].iloc[0]
    assert mine["configurations"] == (~rows[rows["epochs"] == 40]["diverged"]).sum()
    assert mine["accuracy"] == pytest.approx(100 * choose(rows)["val_accuracy"])
    assert "1 search raced: all 5 configurations on schedules of 10 epochs, the best 2 in full" in built.caption
    assert cell.task == "digits"
