"""analysis.curves: means over seeds, and the rule of overfitting at its edges."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from scipy.ndimage import uniform_filter1d
from scipy.signal import lfilter

from vptcore.analysis.curves import mean_curves, overfitting
from vptcore.records import RowsError


def curves(*test_losses: list[float | None]) -> pd.DataFrame:
    """One cell; a list of test losses per seed."""
    return pd.DataFrame([
        {
            "backbone": "b", "method": "full", "task": "a", "train": "800", "seed": seed, "epoch": epoch,
            "train_loss": 1.0 / (epoch + 1) + seed, "test_loss": loss,
        }
        for seed, losses in enumerate(test_losses)
        for epoch, loss in enumerate(losses)
    ])  # fmt: skip


def test_mean_curves_average_the_seeds_that_have_a_value():
    rows = curves([3.0, 2.0], [None, None])
    found = mean_curves(rows).set_index("epoch")
    assert list(found["test_loss"]) == [3.0, 2.0]
    assert list(found["test_loss_seeds"]) == [1, 1]
    assert list(found["train_loss"]) == list(rows.groupby("epoch")["train_loss"].mean())


@pytest.mark.parametrize(
    ("losses", "overfits"),
    [
        ([[2.0, 1.0, 1.06]], True),
        ([[2.0, 1.0, 1.04]], False),
        ([[2.0, 1.5, 1.0]], False),
        # One seed rises by 2.0 and one falls: not clear over seeds. Both by about .5: clear.
        ([[1.0, 0.5], [1.0, 2.5]], False),
        ([[1.0, 1.49], [1.0, 1.51]], True),
        # Clear over seeds, and 2 % of the minimum: too small to matter.
        ([[1.0, 1.019], [1.0, 1.021]], False),
        # A loss that touches 0 and rises overfits, unless by less than .01 nats.
        ([[1.0, 0.0, 0.1]], True),
        ([[1.0, 0.0, 0.009]], False),
    ],
)
def test_rule(losses, overfits):
    found = overfitting(curves(*losses))
    assert list(found["overfits"]) == [overfits]


def test_numbers_behind_the_rule_against_scipy():
    """30 epochs are smoothed over three; each seed's minimum lies where the others' mean has its own."""
    losses = np.random.default_rng(0).normal(0, 0.1, (4, 30)) + (np.arange(30) / 30 - 0.5) ** 2
    found = overfitting(curves(*losses.tolist())).iloc[0]
    smooth = uniform_filter1d(losses, 3, axis=1, mode="constant")[:, 1:-1]
    minima = [smooth[s, np.delete(smooth, s, 0).mean(0).argmin()] for s in range(4)]
    rises = losses[:, -1] - minima
    low, high = stats.t.interval(0.95, 3, rises.mean(), stats.sem(rises))
    assert found[["rise", "low", "high"]].tolist() == pytest.approx([rises.mean(), low, high])
    assert found[["minimum", "last"]].tolist() == pytest.approx([np.mean(minima), losses[:, -1].mean()])
    assert found["minimum_epoch"] == smooth.mean(0).argmin() + 1, "the middle of its three epochs"


def simulated(rng, seeds: int, rise: float, noise: float, epochs: int = 100) -> list[list[float]]:
    """Test losses that fall to .6 and from two fifths on rise by this share of it; autocorrelated noise and seeds."""
    at = np.linspace(0, 1, epochs)
    truth = 0.6 + 1.5 * np.exp(-12 * at) + 0.6 * rise * np.clip((at - 0.4) / 0.6, 0, None)
    shocks = rng.normal(size=(seeds, epochs))
    wander = lfilter([0.8], [1, -0.6], shocks, axis=1)
    return (truth + noise * (wander * (1 - 0.7 * at) + rng.normal(size=(seeds, 1)))).tolist()


@pytest.mark.parametrize("noise", [0.01, 0.1])
def test_a_curve_that_does_not_rise_is_flagged_in_one_of_twenty_at_most(noise):
    """Held against the spread of the last loss between seeds instead, 13 to 60 % of the noisier ones would be."""
    rng = np.random.default_rng(1)
    drawn = [curves(*simulated(rng, seeds, 0.0, noise)) for seeds in (2, 3, 5) for _ in range(150)]
    assert np.mean([overfitting(one)["overfits"].item() for one in drawn]) <= 0.05


@pytest.mark.parametrize(("seeds", "rise", "noise"), [(3, 0.1, 0.01), (5, 0.1, 0.03), (5, 0.2, 0.1)])
def test_a_curve_that_rises_is_flagged_in_nine_of_ten(seeds, rise, noise):
    rng = np.random.default_rng(2)
    found = [overfitting(curves(*simulated(rng, seeds, rise, noise)))["overfits"].item() for _ in range(200)]
    assert np.mean(found) >= 0.85


def test_seeds_that_diverged_are_counted_and_not_averaged():
    rows = curves([2.0, 1.0, 1.5], [2.0, 1.0, 1.6], [2.0, 1.0, None])
    found = overfitting(rows).iloc[0]
    assert (found.seeds, found.diverged, found.rise) == (2, 1, pytest.approx(0.55))
    keys = {"backbone": "b", "method": "full", "task": "a", "train": "800"}
    final = pd.DataFrame([keys | {"seed": seed, "diverged": seed in (1, 7)} for seed in (0, 1, 2, 7)])
    found = overfitting(rows, final).iloc[0]
    assert (found.seeds, found.diverged, found.rise) == (1, 3, 0.5)
    lost = overfitting(curves([2.0, None], [3.0, None])).iloc[0]
    assert (lost.seeds, lost.diverged, lost.overfits) == (0, 2, False)
    assert math.isnan(lost.rise)


def test_cells_without_a_test_curve_have_no_row():
    assert overfitting(curves([None, None])).empty


def test_a_repeated_epoch_is_one_line():
    rows = curves([1.0, 2.0])
    with pytest.raises(RowsError, match="seed 0, epoch 0 occurs twice"):
        overfitting(pd.concat([rows, rows.head(1)]))
