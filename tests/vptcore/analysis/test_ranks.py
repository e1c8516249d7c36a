"""Rank correlation against scipy, its interval against simulated pairs of known correlation."""

from __future__ import annotations

import math
from math import asin, pi

import numpy as np
import pytest
import scipy.stats

from vptcore.analysis.ranks import rank_correlation


@pytest.mark.parametrize("tasks", [6, 11, 19])
def test_value_and_p_are_scipys(tasks):
    rng = np.random.default_rng(tasks)
    x, y = rng.normal(size=tasks), rng.integers(0, 6, size=tasks).astype(float)
    found, theirs = rank_correlation(x, y), scipy.stats.spearmanr(x, y)
    assert found.value == pytest.approx(theirs.statistic)
    if tasks <= 8:
        exact = scipy.stats.permutation_test(
            (x,), lambda x: scipy.stats.spearmanr(x, y).statistic, permutation_type="pairings", n_resamples=np.inf
        )
        assert found.p == pytest.approx(exact.pvalue, abs=1e-12)
    else:
        assert found.p == pytest.approx(theirs.pvalue, abs=0.03)


def test_the_interval_covers_the_truth():
    """Of normal pairs with correlation r, Spearman's is 6 / pi arcsin(r / 2)."""
    rng, r, tasks, hits = np.random.default_rng(0), 0.5, 19, 0
    for _ in range(400):
        x = rng.normal(size=tasks)
        found = rank_correlation(x, r * x + math.sqrt(1 - r**2) * rng.normal(size=tasks))
        hits += found.low <= 6 / pi * asin(r / 2) <= found.high
    assert 0.92 <= hits / 400 <= 0.98


def test_what_has_no_interval():
    assert math.isnan(rank_correlation([1, 2, 3], [1, 2, 3]).value)
    assert math.isnan(rank_correlation([1, 1, 1, 1], [1, 2, 3, 4]).value)
    perfect = rank_correlation([1, 2, 3, 4, 5], [5, 4, 3, 2, 1])
    assert (perfect.value, perfect.p) == (pytest.approx(-1), pytest.approx(2 / 120))
    assert math.isnan(perfect.low)
    with pytest.raises(ValueError, match="one pair a task"):
        rank_correlation([1, 2], [1])
