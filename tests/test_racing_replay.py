"""The replay of search: racing: made-up grids whose outcome is known, and what the pages say of the recorded ones."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from bench.racing_replay import KEEP, NAMES, Recorded, grids, races, replay, risk, table
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
    found = [replay(recorded(UP, UP, UP), 2), replay(recorded(UP[::-1], UP, UP), 2)]
    assert risk(found) == (
        "on 2 recorded grids it chose another configuration in 50%, for 30.0 points less on val and 30.0 on images "
        "outside, on average"
    )


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
    assert risk([one for kind in found.values() for one in races(kind, KEEP)]) == RISK


def test_the_documentation_has_the_outcome(found):
    """docs/plan.md quotes what `python -m bench.racing_replay` prints."""
    page = (Path(__file__).parents[1] / "docs/plan.md").read_text()
    assert [line for line in table(found) if line not in page] == []
