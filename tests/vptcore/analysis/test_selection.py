"""analysis.selection against plain resampling with `choose`, and rows that are wrong."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import scipy.special

from vptcore.analysis.selection import corrected_choice, grid_mean, right_answers_of, selection_noise, standard_error
from vptcore.records import RowsError
from vptcore.training.choose import choose


def search(right_CV: np.ndarray, labels_V: np.ndarray, diverged: tuple[int, ...] = ()) -> pd.DataFrame:
    """A grid whose configuration c answers image v right where right_CV[c, v]."""
    return pd.DataFrame(
        [
            {
                "config": config, "lr": [0.1, 0.01][config % 2], "weight_decay": [0.0, 0.0, 0.01, 0.01][config % 4],
                "epochs": 10,
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
    with pytest.raises(RowsError, match="every configuration diverged"):
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


def arms(rng, images, arms=2, configurations=16, spread=0.03):
    """True accuracies (arms, configurations), and correlated answers of all of them on the same images."""
    truth = np.clip(0.6 + spread * rng.normal(size=(arms, configurations)), 0.05, 0.95)
    ease = 0.7 * rng.normal(size=images)
    noise = np.sqrt(1 - 0.7**2) * rng.normal(size=(arms, configurations, images))
    return truth, ease + noise < scipy.special.ndtri(truth)[..., None]


@pytest.mark.parametrize(("images", "runs"), [(20, 400), (50, 250), (200, 100), (1000, 25)])
def test_what_choosing_adds_is_taken_away(images, runs):
    """Within .6 points (and twice the simulation's own error) of the truth; the winner's own score is far above."""
    rng, off, naive, covered = np.random.default_rng(images), [], [], 0
    for run in range(runs):
        truth, right = arms(rng, images)
        found = corrected_choice({"a": right[0], "b": right[1]}, repeats=100, seed=run)
        arm, configuration = np.unravel_index(right.mean(2).argmax(), truth.shape)
        off.append(100 * (found.accuracy - truth[arm, configuration]))
        naive.append(100 * (right.mean(2).max() - truth[arm, configuration]))
        covered += found.low <= truth[arm, configuration] <= found.high
    assert abs(np.mean(off)) < 0.6 + 2 * np.std(off) / np.sqrt(runs)
    assert np.mean(naive) > {20: 5, 50: 4, 200: 1, 1000: 0.1}[images]
    assert covered / runs >= 0.93


def test_it_is_the_plain_bootstrap_scored_out_of_bag():
    rng = np.random.default_rng(4)
    _, right = arms(rng, 30, configurations=3)
    found = corrected_choice({"a": right[0], "b": right[1]}, repeats=3000)
    scores, best = [], 0.0
    for _ in range(3000):
        drawn = rng.integers(0, 30, 30)
        outside = np.setdiff1d(np.arange(30), drawn)
        picks = [side[side[:, drawn].mean(1).argmax()] for side in right]
        a, b = (pick[outside].mean() for pick in picks)
        scores.append(a if picks[0][drawn].mean() >= picks[1][drawn].mean() else b)
        best += 0.5 if a == b else float(a > b)
    assert found.accuracy == pytest.approx(np.mean(scores), abs=0.01)
    assert found.best["a"] == pytest.approx((30 * best / 3000 + 12 / 2) / 42, abs=0.03)
    with pytest.raises(ValueError, match="expected the same"):
        corrected_choice({"a": right[0], "b": right[1][:, :20]})


def test_the_mean_of_all_configurations_is_that_of_their_probabilities(grid):
    rows, _ = grid
    logits_CVK = 3 * np.random.default_rng(2).normal(size=(4, 30, 5))
    kept = rows.assign(val_logits=[(one - one.max(-1, keepdims=True)).astype(np.float16).ravel() for one in logits_CVK])
    expected = scipy.special.softmax(logits_CVK, -1)
    assert grid_mean(kept, 30) == pytest.approx(expected.mean(0), abs=2e-3)
    lost = kept.assign(diverged=[True, False, False, False])
    assert grid_mean(lost, 30) == pytest.approx(expected[1:].mean(0), abs=2e-3)
    # Those of a configuration that diverged are not missed; those of another one are.
    lost["val_logits"] = [None, *kept["val_logits"][1:]]
    assert grid_mean(lost, 30) == pytest.approx(expected[1:].mean(0), abs=2e-3)
    assert grid_mean(lost.assign(diverged=False), 30) is None
    with pytest.raises(RowsError, match="150 val logits, which is no number for each class of 29 images"):
        grid_mean(kept, 29)


def test_answers_come_in_the_order_of_ties(grid):
    rows, labels_V = grid
    found = right_answers_of(rows, labels_V)
    order = rows.sort_values(["lr", "weight_decay"], kind="stable")
    assert found.tolist() == [list(answers == labels_V) for answers in order.val_predictions]
