"""analysis.curves: means over seeds, and the rule of overfitting at its edges."""

from __future__ import annotations

import math

import pandas as pd
import pytest

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
        # The mean rises by 0.5 of 1.0; the seeds end with a spread of 1.41, then of 0.14.
        ([[1.0, 0.5], [1.0, 2.5]], False),
        ([[1.0, 1.4], [1.0, 1.6]], True),
        # With several seeds their spread alone decides: a rise of 2 % above a spread of 0.14 %.
        ([[1.0, 1.019], [1.0, 1.021]], True),
        # A loss that touches 0 and rises overfits.
        ([[1.0, 0.0, 0.1]], True),
    ],
)
def test_rule(losses, overfits):
    found = overfitting(curves(*losses))
    assert list(found["overfits"]) == [overfits]


@pytest.mark.parametrize(("finals", "overfits"), [([1.0, 1.2, 1.4], False), ([1.1, 1.11, 1.12], True), ([1.1], True)])
def test_the_spread_is_that_of_the_finals_where_they_have_several_seeds(finals, overfits):
    """One curve that rises by 0.1; its finals keep the last test loss of every seed."""
    keys = {"backbone": "b", "method": "full", "task": "a", "train": "800"}
    final = pd.DataFrame([keys | {"seed": seed, "test_loss": loss} for seed, loss in enumerate(finals)])
    found = overfitting(curves([1.5, 1.0, 1.1]), final).iloc[0]
    assert found["overfits"] == overfits
    assert found["std"] == pytest.approx(pd.Series(finals).std(), nan_ok=True)


def test_numbers_behind_the_rule():
    found = overfitting(curves([2.0, 1.0, 1.5], [2.0, 3.0, 1.5])).iloc[0]
    assert (found.minimum_epoch, found["minimum"], found["last"], found.rise, found.seeds) == (2, 1.5, 1.5, 0.0, 2)
    assert found["std"] == 0.0
    assert math.isnan(overfitting(curves([1.0, 2.0])).iloc[0]["std"])


def test_cells_without_a_test_curve_have_no_row():
    assert overfitting(curves([None, None])).empty


def test_a_repeated_epoch_is_one_line():
    rows = curves([1.0, 2.0])
    with pytest.raises(RowsError, match="seed 0, epoch 0 occurs twice"):
        overfitting(pd.concat([rows, rows.head(1)]))
