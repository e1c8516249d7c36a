"""analysis.significance against scipy, enumeration and the textbook's own loops."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pandas as pd
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from vptcore.analysis.significance import discordant, holm, mcnemar, over_seeds, pair_p, right_answers, signed_rank
from vptcore.records import RowsError

counts = st.integers(0, 60)
p_lists = st.lists(st.floats(0, 1), min_size=1, max_size=12)


@given(counts, counts)
def test_mcnemar_is_the_binomial_test_and_its_mid_p(only_a, only_b):
    found, differ = mcnemar(only_a, only_b), only_a + only_b
    if differ == 0:
        assert (found.exact, found.mid) == (1, 1)
        return
    assert found.exact == pytest.approx(scipy.stats.binomtest(only_a, differ, 0.5).pvalue)
    # mid-p: everything as unlikely as what was seen, with what was seen counted by half.
    masses = scipy.stats.binom.pmf(np.arange(differ + 1), differ, 0.5)
    seen = masses[only_a]
    less, same = masses[masses < seen * (1 - 1e-9)].sum(), masses[np.isclose(masses, seen, rtol=1e-9, atol=0)].sum()
    assert found.mid == pytest.approx(less + same / 2)
    assert found.mid <= found.exact + 1e-12


def test_mcnemar_of_many_images_is_near_the_chi_square():
    found = mcnemar(5300, 5000)
    statistic = (5300 - 5000) ** 2 / 10300
    assert found.mid == pytest.approx(scipy.stats.chi2.sf(statistic, 1), rel=2e-3)


def predictions(right: dict[int, list[int]], label: int = 3) -> pd.DataFrame:
    """Seed -> 1 or 0 per image."""
    return pd.DataFrame(
        [
            {"seed": seed, "row": row, "label": label, "prediction": label if hit else label - 1}
            for seed, hits in right.items()
            for row, hit in enumerate(hits)
        ]
    )


def test_discordant_counts_by_image_whatever_the_order():
    a, b = predictions({1: [1, 1, 0, 0, 1], 2: [1, 1, 1, 1, 1]}), predictions({1: [0, 1, 1, 0, 0], 3: [1] * 5})
    shuffled = right_answers(b.sample(frac=1, random_state=0))
    assert discordant(right_answers(a), shuffled) == {1: (2, 1)}


def test_right_answers_are_a_row_a_seed_and_a_column_an_image():
    found = right_answers(predictions({2: [1, 0, 1], 1: [0, 0, 1]}).sample(frac=1, random_state=1))
    assert found.seeds == (1, 2)
    assert found.right_SN.tolist() == [[False, False, True], [True, False, True]]


def test_other_images_and_repeated_ones_are_one_line():
    a = predictions({1: [1, 0, 1]})
    with pytest.raises(RowsError, match=r"here: seed 1 was tested on 3 images by one method and 2 by the other"):
        discordant(right_answers(a), right_answers(predictions({1: [1, 0]})), "here")
    with pytest.raises(RowsError, match="two predictions for one image"):
        right_answers(pd.concat([a, a]), "here")
    with pytest.raises(RowsError, match="here: seed 2 was tested on other images than seed 1"):
        right_answers(predictions({1: [1, 0], 2: [1, 0, 1]}), "here")


def test_p_over_seeds_is_twice_the_median_and_keeps_its_level():
    assert over_seeds([0.3]) == 0.3
    assert over_seeds([0.01, 0.2, 0.04]) == pytest.approx(0.08)
    assert over_seeds([0.9, 0.8]) == 1
    assert math.isnan(over_seeds([]))
    rng = np.random.default_rng(0)
    alike = rng.uniform(size=4000)[:, None] + 0 * np.empty((4000, 5))
    assert np.mean([over_seeds(row) < 0.05 for row in alike]) <= 0.05
    assert np.mean([over_seeds(row) < 0.05 for row in rng.uniform(size=(4000, 5))]) <= 0.05


def test_pair_averages_the_counts():
    assert pair_p({1: (4, 2), 2: (6, 2)})[:2] == (5, 2)
    assert all(math.isnan(value) for value in pair_p({}))


@settings(deadline=None, max_examples=60)
@given(st.lists(st.integers(-8, 8).filter(bool), min_size=2, max_size=9))
def test_signed_rank_is_exact_by_enumeration_with_ties_too(whole):
    values = [value / 10 for value in whole]
    ranks = scipy.stats.rankdata(np.abs(values))
    sums = [
        sum(r for r, up in zip(ranks, signs, strict=True) if up)
        for signs in itertools.product([0, 1], repeat=len(ranks))
    ]
    up = ranks[np.array(values) > 0].sum()
    smaller = min(up, ranks.sum() - up)
    p = min(1.0, 2 * np.mean(np.array(sums) <= smaller + 1e-9))
    found = signed_rank(values)
    assert (found.tasks, found.zeros, found.statistic) == (len(values), 0, smaller)
    assert found.p == pytest.approx(p)
    assert found.least == pytest.approx(2 / 2 ** len(values))
    assert found.effect == pytest.approx((2 * up - ranks.sum()) / ranks.sum())


def test_signed_rank_of_many_is_scipys():
    values = np.random.default_rng(3).normal(0.3, 1, 40)
    assert signed_rank(values).p == pytest.approx(scipy.stats.wilcoxon(values, method="exact").pvalue)


def test_signed_rank_with_ties_and_zeros():
    found = signed_rank([0.0, 1.0, 1.0, 1.0, 1.0])
    assert (found.tasks, found.zeros) == (5, 1)
    assert (found.p, found.least) == (0.125, 0.125)  # of 16 sign patterns the two at the ends
    # Sizes that rounding made differ in the last bit are the same size.
    assert signed_rank([0.1 + 0.2, 0.3, -0.3, 1.0]).effect == signed_rank([0.3, 0.3, -0.3, 1.0]).effect


def test_one_task_has_no_test():
    found = signed_rank([2.0])
    assert math.isnan(found.p)
    assert found.effect == 1


def test_signed_rank_at_its_ends():
    assert signed_rank([1.0, 2.0, 3.0]).effect == 1
    assert signed_rank([-1.0, -2.0]).effect == -1
    assert math.isnan(signed_rank([0.0, 1e-12]).p)
    assert math.isnan(signed_rank([]).p)


@given(p_lists)
def test_holm_is_the_textbooks_loop(p_values):
    order, running, expected = sorted(range(len(p_values)), key=p_values.__getitem__), 0.0, {}
    for place, index in enumerate(order):
        running = max(running, min(1.0, (len(p_values) - place) * p_values[index]))
        expected[index] = running
    assert holm(p_values) == pytest.approx([expected[i] for i in range(len(p_values))])


def test_holm_leaves_unknown_ones_out():
    found = holm([0.01, math.nan, 0.04])
    assert found[0] == pytest.approx(0.02)
    assert math.isnan(found[1])
    assert found[2] == pytest.approx(0.04)
    assert holm([]) == []
