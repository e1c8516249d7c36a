"""analysis.statistics against scipy and pandas in two lines each."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from vptcore.analysis.statistics import (
    check_final,
    count_wins,
    estimate,
    group_mean,
    percent,
    summarise,
    welch,
)
from vptcore.records import RowsError

accuracies = st.lists(st.floats(0, 1), min_size=2, max_size=8)


def final(values: dict[tuple[str, str], list[float]], train: str = "800") -> pd.DataFrame:
    rows = [
        {
            "backbone": "b", "method": method, "task": task, "train": train, "seed": seed, "test_accuracy": value,
            "diverged": False,
            "tuned_parameters": 25, "total_parameters": 100, "prompt_length": 10 if method == "vpt" else None,
        }
        for (method, task), seeds in values.items()
        for seed, value in enumerate(seeds)
    ]  # fmt: skip
    return pd.DataFrame(rows)


@given(accuracies)
def test_estimate_is_the_t_interval(values):
    found, series = estimate(values), pd.Series(values)
    assert found.mean == pytest.approx(series.mean(), abs=1e-12)
    assert found.std == pytest.approx(series.std(), abs=1e-12)
    if series.std() > 1e-9:
        low, high = stats.t.interval(0.95, len(values) - 1, series.mean(), stats.sem(values))
        assert (found.low, found.high) == pytest.approx((low, high), abs=1e-9)


def test_one_seed_has_no_spread():
    found = estimate([0.7])
    assert found.mean == 0.7
    assert found.n == 1
    assert all(math.isnan(value) for value in (found.std, found.low, found.high))


@given(accuracies, accuracies)
def test_welch_is_scipys(a, b):
    found = welch(estimate(a), estimate(b))
    assert found.difference == pytest.approx(np.mean(a) - np.mean(b), abs=1e-12)
    if max(np.std(a), np.std(b)) > 1e-6:
        theirs = stats.ttest_ind(a, b, equal_var=False)
        low, high = theirs.confidence_interval(0.95)
        assert (found.low, found.high) == pytest.approx((low, high), rel=1e-6, abs=1e-9)
        assert found.p == pytest.approx(theirs.pvalue, rel=1e-6, abs=1e-12)


def test_welch_without_any_spread_is_the_difference_itself():
    found = welch(estimate([0.5, 0.5]), estimate([0.25, 0.25]))
    assert (found.low, found.high) == (0.25, 0.25)
    assert math.isnan(found.p)
    assert found.direction == 1


def test_welch_with_one_seed_claims_nothing():
    found = welch(estimate([0.9]), estimate([0.1, 0.2]))
    assert found.difference == pytest.approx(0.75)
    assert math.isnan(found.low)
    assert found.direction == 0


def test_summary_matches_a_groupby():
    rng = np.random.default_rng(0)
    rows = final({(m, t): rng.random(5).tolist() for m in ("full", "vpt") for t in ("a", "b")})
    found = summarise(rows).set_index(["method", "task"])
    oracle = rows.groupby(["method", "task"])["test_accuracy"].agg(["mean", "std", "count"])
    np.testing.assert_allclose(found[["mean", "std", "n"]].sort_index(), oracle.sort_index())
    assert set(found["tuned_percent"]) == {25.0}
    assert found.loc[("vpt", "a"), "prompt_length"] == 10
    assert math.isnan(found.loc[("full", "a"), "prompt_length"])


def test_diverged_seeds_are_named_and_counted():
    rows = final({("full", "a"): [0.8, 0.1, 0.9]})
    rows.loc[1, "diverged"] = True
    found = summarise(rows).iloc[0]
    assert found.diverged == (1,)
    assert found["mean"] == pytest.approx(0.6)
    assert found.n == 3


def test_group_mean_is_the_mean_of_task_means_and_spreads_over_seeds():
    rows = final({("vpt", "a"): [0.1, 0.2, 0.3], ("vpt", "b"): [0.5, 0.9, 0.4]})
    found = group_mean(rows, ["a", "b"])
    per_seed = rows.groupby("seed")["test_accuracy"].mean()
    assert found.estimate.mean == pytest.approx(rows.groupby("task")["test_accuracy"].mean().mean())
    assert found.estimate.std == pytest.approx(per_seed.std())
    assert found.estimate.n == 3
    assert not found.partial


def test_group_mean_without_a_task_is_partial_and_never_counts_zero():
    found = group_mean(final({("vpt", "a"): [0.4, 0.6]}), ["a", "kitti"])
    assert found.partial
    assert found.missing == ("kitti",)
    assert found.estimate.mean == pytest.approx(0.5)


def test_group_mean_of_unlike_seeds_keeps_every_seed_in_the_mean():
    rows = final({("vpt", "a"): [0.2, 0.4, 0.9], ("vpt", "b"): [0.6, 0.8]})
    found = group_mean(rows, ["a", "b"])
    assert found.estimate.mean == pytest.approx((0.5 + 0.7) / 2)
    assert found.estimate.n == 2


def test_wins_name_ties():
    one, other = np.mean([0.1, 0.2, 0.3]), np.mean([0.3, 0.2, 0.1])
    found = count_wins({"a": 0.5, "b": one, "c": 0.1, "only": 1.0}, {"a": 0.4, "b": other, "c": 0.2})
    assert (found.won, found.tied, found.lost) == (("a",), ("b",), ("c",))


@pytest.mark.parametrize("value", [math.nan, -0.1, 1.01, None])
def test_a_wrong_accuracy_is_one_line(value):
    rows = final({("full", "a"): [0.5, 0.6], ("vpt", "a"): [0.5, value]})
    with pytest.raises(RowsError) as error:
        summarise(rows)
    assert "method=vpt/task=a" in str(error.value)
    assert "seed 1" in str(error.value)
    assert "\n" not in str(error.value)


def test_a_repeated_seed_is_one_line():
    rows = final({("full", "a"): [0.5, 0.6]})
    with pytest.raises(RowsError, match="seed 0 occurs twice"):
        check_final(pd.concat([rows, rows.head(1)]))


def test_percent():
    assert [percent(x) for x in (0.7953, 1.0, 0.0, math.nan)] == ["79.5", "100.0", "0.0", "–"]
    assert [percent(x, 1, signed=True) for x in (0.043, -0.043, 0.0001, -0.0001)] == ["+4.3", "−4.3", "0.0", "0.0"]


@given(st.floats(-1, 1), st.integers(0, 3))
def test_percent_reads_back(fraction, decimals):
    text = percent(fraction, decimals, signed=True)
    assert float(text.replace("−", "-")) == pytest.approx(100 * fraction, abs=0.5 * 10**-decimals + 1e-9)
    assert text.strip("−0.") != "" or text[0] not in "−+"
