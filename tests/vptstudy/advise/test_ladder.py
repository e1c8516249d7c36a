"""Which rates are tried, and what is kept of them, against accuracies that are made up: nothing is trained."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest

from vptstudy.advise.ladder import Tried, better_length, finalists, merged, search
from vptstudy.advise.rungs import ARMS, RATES, Arm

IMAGES = 1000


def answers(accuracy: float) -> np.ndarray:
    right_N = np.zeros(IMAGES)
    right_N[: round(accuracy * IMAGES)] = 1
    return right_N


class Landscape:
    """Accuracy falls by a tenth for every factor of four away from an arm's summit, in each fold."""

    def __init__(self, summits: Mapping[Arm, tuple[float, ...]]):
        self.summits, self.asked = summits, {arm: [] for arm in summits}

    def accuracy(self, arm: Arm, rate: float, fold: int) -> float:
        return max(0.0, 0.9 - 0.1 * abs(np.log(rate / self.summits[arm][fold])) / np.log(4))

    def short(self, arms, suffix):
        found = {}
        for arm, rates in arms.items():
            self.asked[arm] += [(suffix, rate) for rate in rates]
            folds = range(len(self.summits[arm]))
            best = [min(rates, key=lambda rate, f=fold: (-self.accuracy(arm, rate, f), rate)) for fold in folds]
            right = [answers(self.accuracy(arm, rate, fold)) for fold, rate in zip(folds, best, strict=True)]
            # As a config rounds them: three digits.
            rounded = [tuple(float(f"{rate:.3g}") for rate in some) for some in (rates, best)]
            found[arm] = Tried(*rounded, tuple(right), 10)
        return found


@pytest.mark.parametrize("place", range(5))
def test_the_summit_is_found_with_four_rates_and_two_more_at_an_end(place):
    summits = {arm: (RATES[arm.method][place],) for arm in ARMS}
    landscape = Landscape(summits)
    found = search(landscape.short)
    for arm in ARMS:
        assert found[arm].best == (pytest.approx(summits[arm][0], rel=0.01),)
        rates = [rate for _, rate in landscape.asked[arm]]
        assert len(set(rates)) == len(rates) == (6 if place in (0, 4) else 4)


def test_a_summit_beyond_the_grid_is_found_one_step_out():
    summits = {arm: (RATES[arm.method][-1],) for arm in ARMS} | {Arm("full"): (0.009,)}
    found = search(Landscape(summits).short)
    # 3e-3 is the grid's end, and its last step a factor of 3.
    assert found[Arm("full")].best == (pytest.approx(0.009, rel=0.01),)


def test_each_fold_keeps_its_own_rate():
    summits = {arm: (RATES[arm.method][0], RATES[arm.method][3]) for arm in ARMS}
    found = search(Landscape(summits).short)
    for arm in ARMS:
        assert found[arm].best == tuple(pytest.approx(rate, rel=0.01) for rate in summits[arm])
        assert found[arm].accuracy == pytest.approx(0.9, abs=0.01)
        assert len(found[arm].right_N) == 2 * IMAGES


def test_of_two_searches_the_better_is_kept_and_the_smaller_rate_where_they_tie():
    first = Tried((1, 2), (2, 1), (answers(0.5), answers(0.6)), 7)
    second = Tried((0.5, 4), (4, 0.5), (answers(0.7), answers(0.6)), 7)
    one = merged(first, second)
    assert (one.rates, one.best, one.tuned) == ((0.5, 1, 2, 4), (4, 0.5), 7)
    assert one.accuracy == pytest.approx(0.65)


def test_of_the_lengths_one_stays():
    def tried(accuracy):
        return Tried((1.0,), (1.0,), (answers(accuracy),), 5)

    kept = better_length({Arm("vpt", 5): tried(0.7), Arm("vpt", 20): tried(0.7), Arm("full"): tried(0.6)})
    assert set(kept) == {Arm("vpt", 5), Arm("full")}
    assert set(finalists(kept).finalists) == {"vpt_5"}  # 10 points of 1,000 images are no chance
