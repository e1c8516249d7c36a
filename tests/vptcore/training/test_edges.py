"""edges: extend: what is bought beyond a grid, as a search does it and as the audit repeats it."""

from __future__ import annotations

import math

# ruff: noqa: F811
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.vptcore.training.test_finished import Cell
from tests.vptcore.training.test_search_final import checkpoint, job, outputs, run_search, task  # noqa: F401
from vptcore.records import read_rows
from vptcore.training import search
from vptcore.training.choose import choose, edge_of
from vptcore.training.edges import next_rate
from vptcore.training.trials import trials_of


def tried(*scores: tuple[float, float | None]) -> pd.DataFrame:
    return pd.DataFrame([
        {"config": i, "lr": lr, "weight_decay": 0.0, "epochs": 3, "val_accuracy": score, "diverged": score is None}
        for i, (lr, score) in enumerate(scores)
    ])  # fmt: skip


@pytest.mark.parametrize(
    ("scores", "rate"),
    [
        ([(25, 0.1), (50, 0.2)], 100.0),
        ([(0.05, 0.3), (0.1, 0.2)], 0.025),
        ([(1e-4, 0.3), (5e-4, 0.2), (1e-3, 0.2)], 2e-5),
        ([(1, 0.1), (2, 0.3), (4, 0.2)], None),
        ([(1, 0.1), (2, 0.3), (4, None)], None),
        ([(2, 0.3)], None),
        ([(1, None), (2, None)], None),
        ([(0.3, 0.1), (0.7, 0.2)], 1.63),
        ([(1, 0.2), (2, 0.2)], None),
        ([(1, 0.2), (2, 0.2), (4, 0.2)], None),
        ([(1, 0.2), (2, 0.2), (4, None)], None),
        ([(1, 0.3), (2, 0.3), (4, 0.2)], None),
        ([(1, 0.3), (2, 0.2), (4, 0.3)], 0.5),
    ],
)
def test_the_rate_beyond_an_edge(scores, rate):
    assert next_rate(tried(*scores), [lr for lr, _ in scores], 3) == rate


def test_no_more_than_so_many_a_side():
    rows = tried((1, 0.1), (2, 0.2), (4, 0.3), (8, 0.4))
    assert next_rate(rows, [1, 2], 3) == 16
    assert next_rate(rows, [1, 2], 2) is None
    # Bought above, and then the best lies below: that side has its own count.
    assert next_rate(tried((1, 0.9), (2, 0.2), (4, 0.3), (8, 0.4)), [1, 2], 2) == 0.5


def tried_recipes(job, rows):
    return [trial.recipe for trial in trials_of(job, rows)]


def test_a_plateau_stops_the_buying_once_a_rate_inside_is_on_it():
    """Accuracy 20 % at chance up to a rate of 1, and 60 % from there on: one rate beyond the edge shows the plateau."""
    job = BASE | {"extend": 3, "grid": {"lr": [0.25, 0.5, 1.0], "weight_decay": [0.0]}}
    rows = tried((0.25, 0.2), (0.5, 0.2), (1.0, 0.6))
    assert [recipe.lr for recipe in tried_recipes(job, rows)] == [0.25, 0.5, 1.0, 2.0]
    rows = tried((0.25, 0.2), (0.5, 0.2), (1.0, 0.6), (2.0, 0.6))
    assert [recipe.lr for recipe in tried_recipes(job, rows)] == [0.25, 0.5, 1.0, 2.0]


BASE = {
    "recipe": {"optimizer": "sgd", "lr": 0.0, "weight_decay": 0.0, "batch": 8, "epochs": 3, "warmup": 1},
    "grid": {"lr": [1.0, 2.0, 4.0], "weight_decay": [0.0, 0.1]},
}


@settings(max_examples=60, deadline=None)
@given(peak=st.floats(-8, 10), extend=st.integers(1, 4), diverges=st.floats(-1, 9))
def test_a_search_ends_inside_or_at_its_cap(peak, extend, diverges):
    """Scores fall off from a peak on the logarithm of the rate, and rates above a bound diverge."""
    job = BASE | {"extend": extend}
    rows = pd.DataFrame(columns=["config", "lr", "weight_decay", "epochs", "val_accuracy", "diverged"])
    while len(rows) < len(recipes := tried_recipes(job, rows)):
        rows = pd.DataFrame(
            {
                "config": i, "lr": r.lr, "weight_decay": r.weight_decay, "epochs": r.epochs,
                "val_accuracy": 1 / (1 + abs(math.log2(r.lr) - peak)), "diverged": math.log2(r.lr) > diverges,
            }
            for i, r in enumerate(recipes)
        )  # fmt: skip
    rates = sorted(rows["lr"].unique())
    assert len(rows) == 2 * len(rates), "every rate with every decay"
    above, below = sum(rate > 4 for rate in rates), sum(rate < 1 for rate in rates)
    assert max(above, below) <= extend
    assert {1.0, 2.0, 4.0} <= set(rates)
    if (edge := edge_of(rows)) in ("lowest", "highest"):
        assert extend == (above if edge == "highest" else below)
    assert tried_recipes(BASE, rows) == recipes[:6], "without the key the grid is all there is"


@pytest.mark.parametrize("method", ["vpt", "linear", "mlp"])
def test_a_search_buys_what_its_scores_ask_for_and_keeps_its_best(job, task, tmp_path, method):
    asked = job(method, lrs=(0.2, 0.5), decays=(0.0, 0.01), extend=3)
    rows = run_search(asked, task, tmp_path, best=str(tmp_path / "best.safetensors"))
    assert [(r.lr, r.weight_decay) for r in tried_recipes(asked, rows)] == list(
        zip(rows["lr"], rows["weight_decay"], strict=True)
    )
    assert rows["config"].tolist() == list(range(len(rows)))
    assert (tmp_path / "best.safetensors").exists()
    bought = sorted(set(rows["lr"]) - {0.2, 0.5})
    assert len(rows) == 4 + 2 * len(bought)
    assert edge_of(rows[:4]) in ("", "flat") or bought
    plain = run_search(job(method, lrs=(0.2, 0.5, *bought), decays=(0.0, 0.01)), task, tmp_path / "plain")
    assert choose(rows)["lr"] == choose(plain)["lr"], "as if the whole grid had been asked for"


def test_a_killed_search_goes_on_beyond_its_edge(job, task, tmp_path):
    asked = job(lrs=(0.2, 0.5), decays=(0.0, 0.01), extend=3)
    whole = run_search(asked, task, tmp_path / "whole")
    assert len(whole) > 5, "this grid is cut"
    lines = []

    def die(line):
        lines.append(line)
        if line.startswith("configuration 5/"):
            raise KeyboardInterrupt

    (tmp_path / "killed").mkdir()
    with pytest.raises(KeyboardInterrupt):
        search.run(asked, task, outputs(tmp_path / "killed"), say=die)
    lines.clear()
    search.run(asked, task, outputs(tmp_path / "killed"), say=lines.append)
    assert not any(line.startswith(f"configuration {n}: epoch") for n in (1, 2, 3, 4, 5) for line in lines)
    rows = read_rows(tmp_path / "killed/rows.parquet", "search")
    assert rows[["config", "lr", "val_accuracy"]].equals(whole[["config", "lr", "val_accuracy"]])


def test_a_finished_search_costs_the_further_rates_alone(job, task, tmp_path):
    cell = Cell(tmp_path, task)
    grid = {"lrs": (0.2, 0.5)}
    assert cell.search(job(**grid)) == ["configuration 1", "configuration 2"]
    assert cell.search(job(**grid, extend=2))[0] == "configuration 3"
    many = len(cell.frames("search")[0])
    assert cell.search(job(**grid, extend=3)) == [f"configuration {many + 1}"] * (many == 4)
    assert cell.search(job(**grid)) == []
    assert cell.frames("search")[0]["lr"].tolist() == [0.2, 0.5]
