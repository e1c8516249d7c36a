"""search: racing: who goes on, against a plain sort; what is trained, against the two plain searches it is made of."""

from __future__ import annotations

import math
from dataclasses import asdict

# ruff: noqa: F811
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file

from tests.vptcore.training.test_finished import Cell
from tests.vptcore.training.test_search_final import checkpoint, job, outputs, run_search, task  # noqa: F401
from vptcore.records import read_rows
from vptcore.training import search
from vptcore.training.choose import choose, edge_of
from vptcore.training.racing import how_many, short_epochs
from vptcore.training.trials import next_trials, trials_of

RACE = {"epochs": 1, "warmup": 0, "keep": 2}
SAME = ["config", "lr", "weight_decay", "epochs", "val_accuracy", "val_loss", "train_loss"]


def test_shares_of_epochs_and_of_grids():
    assert [short_epochs(epochs) for epochs in (100, 8, 3, 1)] == [25, 2, 1, 1]
    assert [how_many(n) for n in (1, 5, 16, 17, 40)] == [2, 2, 4, 5, 10]
    # 0.1 x 30 is a hair more than 3.
    assert (how_many(30, 0.1), how_many(40, 1.0), short_epochs(10, 1.0)) == (3, 40, 10)


def race(keep: int, rates: int, decays: int = 1, **more) -> dict:
    recipe = {"optimizer": "sgd", "lr": 0.0, "weight_decay": 0.0, "batch": 8, "epochs": 8, "warmup": 1}
    grid = {"lr": [2.0**k for k in range(rates)], "weight_decay": [0.1 * k for k in range(decays)]}
    return {"recipe": recipe, "grid": grid, "racing": {"epochs": 2, "warmup": 0, "keep": keep}} | more


def simulated(job: dict, score) -> pd.DataFrame:
    """Rows as a search would write them: `score` maps (rate, decay, epochs) to an accuracy, or None: diverged."""
    rows = []
    while more := next_trials(job, pd.DataFrame(rows)):
        for trial in more:
            r = trial.recipe
            found = score(r.lr, r.weight_decay, r.epochs)
            rows.append({
                "config": trial.config, "optimizer": r.optimizer, "lr": r.lr, "weight_decay": r.weight_decay,
                "epochs": r.epochs, "val_accuracy": found, "diverged": found is None,
            })  # fmt: skip
    return pd.DataFrame(rows)


GRIDS = st.integers(2, 6).flatmap(
    lambda rates: st.tuples(
        *(st.lists(st.one_of(st.none(), st.integers(0, 4)), min_size=2 * rates, max_size=2 * rates) for _ in range(2))
    )
)


@settings(max_examples=80, deadline=None)
@given(scores=GRIDS, keep=st.integers(1, 5))
def test_the_best_on_short_schedules_go_on_and_the_best_of_those_is_chosen(scores, keep):
    short, full = scores
    job = race(keep, rates=len(short) // 2, decays=2)
    by_epochs = {2: short, 8: full}

    def score(lr, decay, epochs):
        found = by_epochs[epochs][2 * int(math.log2(lr)) + round(10 * decay)]
        return None if found is None else found / 4

    rows = simulated(job, score)
    assert rows.loc[rows["epochs"] == 2, "config"].tolist() == list(range(len(short)))
    # A rate's second decay comes last where it scores as the first.
    again = [k % 2 == 1 and found == short[k - 1] for k, found in enumerate(short)]
    order = sorted((k for k, found in enumerate(short) if found is not None), key=lambda k: (again[k], -short[k], k))
    went = set(rows.loc[rows["epochs"] == 8, "config"])
    # In batches of `keep`, until one holds.
    batches = [order[at : at + keep] for at in range(0, len(order), keep)]
    held = next((n for n, batch in enumerate(batches) if any(full[k] is not None for k in batch)), len(batches))
    assert went == {k for batch in batches[: held + 1] for k in batch}
    finite = [k for k in went if full[k] is not None]
    if finite:
        assert choose(rows)["config"] == min(finite, key=lambda k: (-full[k], k))
    assert [t.key for t in trials_of(job, rows)] == list(zip(rows["config"], rows["epochs"], strict=True))


def test_a_decay_that_changes_nothing_takes_no_rates_place():
    """Four rates and four decays: the short schedules prefer the largest rate, full ones the third."""
    job = race(keep=4, rates=4, decays=4)
    rows = simulated(job, lambda lr, _, epochs: {1.0: 0.2, 2.0: 0.3, 4.0: 0.5, 8.0: 0.6 if epochs == 2 else 0.4}[lr])
    went = rows[rows["epochs"] == 8]
    assert list(zip(went["lr"], went["weight_decay"], strict=True)) == [(1.0, 0.0), (2.0, 0.0), (4.0, 0.0), (8.0, 0.0)]
    assert choose(rows)["lr"] == 4.0
    more = simulated(race(keep=5, rates=4, decays=4), lambda lr, _, epochs: lr)
    assert more.loc[more["epochs"] == 8, "lr"].tolist() == [1.0, 2.0, 4.0, 8.0, 8.0], "then the best rate's next decay"


@settings(max_examples=60, deadline=None)
@given(peak=st.floats(-6, 10), slow=st.floats(0, 3), keep=st.integers(1, 4))
def test_a_race_extends_its_grid_too(peak, slow, keep):
    """The best rate of a short schedule lies `slow` above that of a full one."""
    job = race(keep, rates=4, decays=2, extend=3)
    rows = simulated(job, lambda lr, _, epochs: 1 / (1 + abs(math.log2(lr) - peak - slow * (epochs == 2))))
    short, full = rows[rows["epochs"] == 2], rows[rows["epochs"] == 8]
    rates = sorted(short["lr"].unique())
    assert len(short) == 2 * len(rates), "every rate with every decay"
    assert set(full["config"]) <= set(short["config"])
    assert {1.0, 2.0, 4.0, 8.0} <= set(rates)
    above, below = sum(rate > 8 for rate in rates), sum(rate < 1 for rate in rates)
    assert max(above, below) <= 3
    if edge := edge_of(rows):
        assert (above if edge == "highest" else below) == 3
    assert [t.key for t in trials_of(job, rows)] == list(zip(rows["config"], rows["epochs"], strict=True))


def test_what_is_trained_is_what_two_plain_searches_train(job, task, tmp_path):
    """The short ones as a grid of that many epochs, those that go on as the grid itself: to the last bit."""
    lrs = (0.01, 0.25, 1.0, 4.0)
    rows = run_search(job(lrs=lrs, racing=RACE), task, tmp_path / "raced", best=str(tmp_path / "raced.safetensors"))
    plain = run_search(job(lrs=lrs), task, tmp_path / "plain")
    recipe = job()["recipe"] | {"epochs": 1, "warmup": 0}
    short = run_search(job(lrs=lrs, recipe=recipe), task, tmp_path / "short")
    went = rows[rows["epochs"] == 3].reset_index(drop=True)
    pd.testing.assert_frame_equal(rows[rows["epochs"] == 1][SAME], short[SAME])
    assert len(went) == 2
    pd.testing.assert_frame_equal(went[SAME], plain[plain["config"].isin(went["config"])][SAME].reset_index(drop=True))
    # The model that is kept is that of the choice.
    best = choose(rows)
    assert best["epochs"] == 3
    run_search(job(lrs=(best["lr"],)), task, tmp_path / "one", best=str(tmp_path / "one.safetensors"))
    raced, one = (load_file(tmp_path / f"{name}.safetensors") for name in ("raced", "one"))
    assert {name: value.tobytes() for name, value in raced.items()} == {n: v.tobytes() for n, v in one.items()}


def test_a_killed_race_loses_the_configuration_in_hand(job, task, tmp_path):
    asked = job(lrs=(0.01, 0.25, 1.0, 4.0), racing=RACE)
    whole = run_search(asked, task, tmp_path / "whole", best=str(tmp_path / "whole.safetensors"))
    second = int(whole["config"].iloc[-1]) + 1
    for moment in ("configuration 2: epoch 1/1", f"configuration {second}: epoch 2/3"):
        lines, folder = [], tmp_path / moment.replace(" ", "_").replace("/", "_")
        made = outputs(folder) | {"best": str(folder / "best.safetensors")}
        folder.mkdir()

        def die(line, moment=moment, lines=lines):
            lines.append(line)
            if line.startswith(moment):
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            search.run(asked, task, made, say=die)
        before = {line for line in lines if ": lr" in line}
        lines.clear()
        search.run(asked, task, made, say=lines.append)
        trained = {line.split(",")[0] for line in lines if ": epoch" in line}
        done = {line.split(":")[0].split("/")[0] for line in before}
        if moment.endswith("1/1"):
            assert done == {"configuration 1"}
            assert "configuration 1: epoch 1/1" not in trained
            assert "configuration 2: epoch 1/1" in trained
        else:
            assert trained == {f"configuration {second}: epoch {n}/3" for n in (2, 3)}, "from its checkpoint"
        pd.testing.assert_frame_equal(read_rows(folder / "rows.parquet", "search")[SAME], whole[SAME])
        assert load_file(made["best"]).keys() == load_file(tmp_path / "whole.safetensors").keys()


def test_from_a_grid_to_a_race_and_back_only_what_is_missing_is_trained(job, task, tmp_path):
    cell, lrs = Cell(tmp_path, task), (0.01, 0.25, 1.0, 4.0)
    everyone = [f"configuration {n}" for n in (1, 2, 3, 4)]
    assert cell.search(job(lrs=lrs), best=True) == everyone
    plain = cell.frames("search")[0]
    assert cell.search(job(lrs=lrs, racing=RACE), best=True) == everyone, "the short schedules alone"
    raced = cell.frames("search")[0]
    went = raced.loc[raced["epochs"] == 3, "config"]
    assert cell.search(job(lrs=lrs), best=True) == [f"configuration {n + 1}" for n in range(4) if n not in set(went)]
    pd.testing.assert_frame_equal(cell.frames("search")[0], plain)
    assert cell.search(job(lrs=lrs, racing=RACE | {"keep": 3}), best=True) == everyone
    assert cell.search(job(lrs=lrs, racing=RACE | {"keep": 2}), best=True) == []


def test_a_finished_race_says_how_many_were_trained_in_full(job, task, tmp_path):
    asked = job(lrs=(0.25, 1.0, 4.0), racing=RACE)
    line = search.run(asked, task, outputs(tmp_path), say=lambda _: None)
    assert line.startswith("3 configurations, 2 of them in full, best lr ")
    assert asdict(next_trials(asked)[0].recipe) | {"lr": 0.0} == asked["recipe"] | {"epochs": 1, "warmup": 0}
