"""The replay of search: racing: made-up grids whose outcome is known, and what the pages say of the recorded ones."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from bench.racing_replay import KEEP, NAMES, SCORES, Recorded, grids, of_advice, races, replay, risk, risk_of, table
from vptcore.training.choose import ranked
from vptcore.training.racing import how_many
from vptcore.training.trials import trials_of
from vptstudy.plan.race import RISK

RATES = (0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8)


def recorded(short, full, outside) -> Recorded:
    """Eight rates; a full schedule costs four times a short one."""
    rows = [
        {"config": config, "optimizer": "sgd", "lr": lr, "weight_decay": 0.0, "epochs": epochs, "diverged": False,
         "val_accuracy": scores[config], "outside": outside[config], "gflop": float(epochs)}
        for epochs, scores in ((2, short), (8, full)) for config, lr in enumerate(RATES)
    ]  # fmt: skip
    return Recorded("made up", pd.DataFrame(rows))


UP = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8]


def test_short_schedules_that_rank_as_full_ones_lose_nothing():
    one = replay(recorded(UP, UP, UP), 2)
    assert (one.same, one.val, one.outside) == (True, 0.0, 0.0)
    # Eight short ones for a quarter each, and two of eight in full.
    assert one.saved == pytest.approx(1 - (8 / 4 + 2) / 8)


def test_short_schedules_that_mislead_cost_what_the_grid_would_have_found():
    """The best two of the short ones are the worst two of the full ones: 0.2 in place of 0.8 on val."""
    one = replay(recorded(UP[::-1], UP, [0.5] * 7 + [0.45]), 2)
    assert not one.same
    assert one.val == pytest.approx(60)
    assert one.outside == pytest.approx(-5), "what val prefers may be worse outside"
    assert replay(recorded(UP[::-1], UP, UP), 8).same, "all that go on are the grid"


def test_the_sentence_counts_in_points():
    study = [replay(recorded(UP, UP, UP), 2), replay(recorded(UP[::-1], UP, UP), 2)]
    smaller = [replay(recorded(UP[::-1], UP, [0.5] * 7 + [0.6]), 2)]
    assert risk(study, smaller) == (
        "on 2 recorded grids like the study's it chose another configuration in 50%, for 30.0 points less on val and "
        "30.0 on images outside, on average; on 1 smaller ones in 100%, for 60.0 and 10.0"
    )


def test_rates_with_both_schedules_are_the_grids_of_a_recording_for_advise(tmp_path):
    rows = [
        {"set": "a", "folder": 60, "split": split, "arm": arm, "stage": stage, "rate": rate, "decay": 0.0}
        for split in (0, 1) for arm in ("full", "linear")
        for stage, rates in {"short": (8.0, 4.0, 2.0), "full": (1.0, 2.0, 4.0), "final": (4.0,)}.items()
        for rate in rates
    ]  # fmt: skip
    pd.DataFrame(rows).to_parquet(tmp_path / "rows.parquet")
    found = of_advice(tmp_path / "rows.parquet")
    expected = [(f"a/60/{split}", "full", rate, config) for split in (0, 1) for config, rate in enumerate((2.0, 4.0))]
    for stage in ("short", "full"):
        rows = found[found["stage"] == stage].sort_values(["set", "lr"])
        assert list(rows[["set", "method", "lr", "config"]].itertuples(index=False, name=None)) == expected


@pytest.fixture(scope="module")
def found():
    return grids()


def test_each_recorded_grid_has_both_schedules_of_every_configuration(found):
    assert set(found) == set(NAMES.values())
    for one in (one for kind in found.values() for one in kind):
        counts = one.rows.groupby("config")["epochs"].nunique()
        assert (counts == 2).all(), one.name
        assert one.rows["epochs"].min() * 4 == one.rows["epochs"].max()
        assert one.rows.groupby("config")[["lr", "weight_decay"]].nunique().eq(1).all(axis=None), one.name


def test_the_plan_says_the_recorded_risk(found):
    assert risk_of(found) == RISK


def rates_in_full(one: Recorded) -> int:
    """How many rates of a grid are trained in full where a quarter goes on."""
    trials = trials_of(one.job(how_many(one.configurations)), one.rows[SCORES])
    return len({trial.recipe.lr for trial in trials if trial.recipe.epochs == one.rows["epochs"].max()})


def test_the_documentation_says_what_alike_decays_would_cost(found, monkeypatch):
    """By a plain sort all places of full fine-tuning are one rate's, and never that of the grid's own choice."""
    full = found[NAMES["study", "full"]]
    assert min(map(rates_in_full, full)) == 3
    monkeypatch.setattr("vptcore.training.racing.in_order", ranked)
    assert {rates_in_full(one) for one in full} == {1}
    raced = races(full, KEEP)
    assert not any(one.same for one in raced)
    val, outside = (max(getattr(one, part) for one in raced) for part in ("val", "outside"))
    assert f"up to {val:.1f} points of full fine-tuning on val and {outside:.1f} outside be lost" in page()


def page() -> str:
    return " ".join((Path(__file__).parents[1] / "docs/plan.md").read_text(encoding="utf-8").split())


def missing(found) -> list[str]:
    """Lines of the table that docs/plan.md lacks, which quotes what `python -m bench.racing_replay` prints."""
    said = page()
    return [line for line in table(found) if line not in said]


FEW = [name for name in NAMES.values() if name != NAMES["advice", ""]]


def test_the_documentation_has_the_outcome(found):
    assert missing({name: found[name] for name in FEW}) == []


@pytest.mark.slow
def test_the_documentation_has_the_outcome_of_the_many_smallest_grids(found):
    assert missing({NAMES["advice", ""]: found[NAMES["advice", ""]]}) == []
