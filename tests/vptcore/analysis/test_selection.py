"""analysis.selection against plain resampling with `choose`, and rows that are wrong."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from vptcore.analysis.selection import selection_noise, standard_error
from vptcore.records import RowsError
from vptcore.training.choose import choose


def search(right_CV: np.ndarray, labels_V: np.ndarray, diverged: tuple[int, ...] = ()) -> pd.DataFrame:
    """A grid whose configuration c answers image v right where right_CV[c, v]."""
    return pd.DataFrame(
        [
            {
                "config": config, "lr": [0.1, 0.01][config % 2], "weight_decay": [0.0, 0.0, 0.01, 0.01][config % 4],
                "val_accuracy": np.nan if config in diverged else right.mean(),
                "diverged": config in diverged,
                "val_predictions": np.where(right, labels_V, labels_V + 1),
            }
            for config, right in enumerate(right_CV)
        ]
    )  # fmt: skip


@pytest.fixture
def grid():
    rng = np.random.default_rng(1)
    labels_V = rng.integers(0, 5, 30)
    return search(rng.random((4, 30)) < [[0.5], [0.55], [0.5], [0.6]], labels_V), labels_V


def plain(rows: pd.DataFrame, labels_V: np.ndarray, repeats: int) -> tuple[float, float, list[float]]:
    """Every resample scored and chosen by the search's own rule."""
    rng = np.random.default_rng(0)
    counts = rng.multinomial(len(labels_V), np.full(len(labels_V), 1 / len(labels_V)), size=repeats)
    chosen, other, gains, accuracies = choose(rows), 0, [], []
    for count in counts:
        images = np.repeat(np.arange(len(labels_V)), count)
        scored = rows.assign(
            val_accuracy=[
                np.nan if row.diverged else (row.val_predictions[images] == labels_V[images]).sum() / len(images)
                for row in rows.itertuples()
            ]
        )
        best = choose(scored)
        other += best["config"] != chosen["config"]
        gains.append(best["val_accuracy"] - rows.set_index("config").loc[best["config"], "val_accuracy"])
        accuracies.append(scored.set_index("config").loc[chosen["config"], "val_accuracy"])
    return other / repeats, float(np.mean(gains)), accuracies


def test_equals_plain_resampling_with_the_searchs_own_rule(grid):
    rows, labels = grid
    found = selection_noise(rows, labels, repeats=60)
    other, gain, accuracies = plain(rows, labels, 60)
    assert found.chosen == choose(rows)["config"]
    assert found.other == pytest.approx(other)
    assert 0 < found.other < 1
    assert found.gain == pytest.approx(gain)
    assert (found.low, found.high) == pytest.approx(tuple(np.percentile(accuracies, [2.5, 97.5])))
    assert found.accuracy == pytest.approx(choose(rows)["val_accuracy"])
    assert (found.images, found.configurations) == (30, 4)


def test_equal_configurations_never_take_each_others_place():
    labels = np.arange(20) % 3
    right = np.arange(20) % 2 == 0
    rows = search(np.stack([right] * 4), labels)
    found = selection_noise(rows, labels, repeats=50)
    assert (found.other, found.rivals, found.chosen) == (0, 1, 1)


def test_diverged_configurations_are_never_chosen(grid):
    rows, labels = grid
    worse = rows.assign(diverged=rows["config"] == 3)
    assert selection_noise(worse, labels).configurations == 3
    with pytest.raises(RowsError, match="all 4 configurations diverged"):
        selection_noise(rows.assign(diverged=True), labels)


def test_the_flattery_is_real():
    """Configurations that are all equally good: the chosen one looks better than it is."""
    rng = np.random.default_rng(0)
    labels = np.zeros(200, int)
    rows = search(rng.random((40, 200)) < 0.5, labels)
    found = selection_noise(rows, labels)
    assert found.gain > 0.02
    assert found.other > 0.3


def test_rows_that_are_wrong_are_one_line(grid):
    rows, labels = grid
    with pytest.raises(RowsError, match="30 val predictions, but the split has 29 val images"):
        selection_noise(rows, labels[:29])
    with pytest.raises(RowsError, match="do not give the stored val accuracy"):
        selection_noise(rows, np.roll(labels, 7))
    with pytest.raises(RowsError, match="configuration 0 occurs twice"):
        selection_noise(pd.concat([rows, rows]), labels)


def test_standard_error():
    assert standard_error(0.5, 200) == pytest.approx(0.0354, abs=1e-4)
    assert np.isnan(standard_error(0.5, 0))
