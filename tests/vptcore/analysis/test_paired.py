import math

import numpy as np
import pytest
from scipy import stats

from vptcore.analysis.paired import chance_of_best, more_needed, over_seeds_alone, paired_difference
from vptcore.analysis.statistics import estimate, welch


def studies(truth=0.0, *, runs, seeds=5, images=400, seed_sd=0.01, hard_sd=1.0, seed=0):
    """Two methods' answers on the same images: (runs, seeds, images) each. `truth`: a's lead over b in probability.

    An image's probability of being right varies, the same for both; every seed of a method is a little better or worse.
    """
    rng = np.random.default_rng(seed)
    ease = rng.normal(size=(runs, 1, images)) * hard_sd
    middle = np.clip(0.6 + 0.2 * np.tanh(ease), 0.1, 0.9)
    sides = []
    for lead in (truth / 2, -truth / 2):
        off = rng.normal(size=(runs, seeds, 1)) * seed_sd
        sides.append(rng.random((runs, seeds, images)) < middle + lead + off)
    return sides


def test_without_a_spread_of_images_it_is_welch():
    """Where every image's difference is the same, seeds are all there is: the two-line form of Welch."""
    rng = np.random.default_rng(1)
    a, b = (np.repeat(rng.random((5, 1)), 40, axis=1) for _ in range(2))
    found, oracle = paired_difference(a, b), welch(estimate(a.mean(1)), estimate(b.mean(1)))
    assert [found.low, found.high, found.p] == pytest.approx([oracle.low, oracle.high, oracle.p])


def test_over_seeds_alone_is_welch():
    a, b = estimate([0.61, 0.63, 0.66]), estimate([0.58, 0.6, 0.6, 0.61])
    found, oracle = over_seeds_alone(a, b), welch(a, b)
    assert [found.difference, found.low, found.high, found.p] == pytest.approx(
        [oracle.difference, oracle.low, oracle.high, oracle.p]
    )
    assert math.isnan(over_seeds_alone(estimate([0.6]), b).low)


def test_with_seeds_that_are_alike_it_is_the_paired_t_test_over_images():
    from scipy.stats import ttest_rel

    rng = np.random.default_rng(2)
    a, b = (np.repeat(rng.random((1, 300)) < level, 4, axis=0) for level in (0.7, 0.6))
    found, oracle = paired_difference(a, b), ttest_rel(a[0].astype(float), b[0].astype(float))
    assert found.p == pytest.approx(oracle.pvalue)
    assert [found.low, found.high] == pytest.approx([*oracle.confidence_interval()])


def test_where_the_seeds_agree_in_all_but_the_images_that_they_miss_it_is_the_t_test_over_images():
    """Equal accuracies of both seeds, on other images each: all of the spread over images is each seed's own."""
    a_SN, b_SN = np.array([[1, 1, 0, 0], [1, 0, 1, 0]]), np.ones((2, 4))
    found = paired_difference(a_SN, b_SN)
    test = stats.ttest_1samp(a_SN.mean(0) - b_SN.mean(0), 0)
    assert (found.p, found.freedom) == pytest.approx((test.pvalue, 3))
    assert (found.low, found.high) == pytest.approx(tuple(test.confidence_interval(0.95)))


@pytest.mark.parametrize(
    "setting",
    [
        {"seed_sd": 0.0},
        {"seed_sd": 0.03},
        {"seed_sd": 0.01, "images": 60},
        {"seed_sd": 0.02, "seeds": 2, "images": 1000},
        {"hard_sd": 0.0, "seed_sd": 0.02},
    ],
)
def test_the_interval_covers_the_truth(setting):
    runs, truth = 500, 0.04
    a, b = studies(truth, runs=runs, seed=3, **setting)
    found = [paired_difference(x, y) for x, y in zip(a, b, strict=True)]
    covered = np.mean([one.low <= truth <= one.high for one in found])
    assert covered >= 0.93


def test_without_a_difference_p_is_as_often_below_five_percent():
    a, b = studies(0.0, runs=600, seed_sd=0.02, seed=4)
    wrong = np.mean([paired_difference(x, y).p < 0.05 for x, y in zip(a, b, strict=True)])
    assert wrong <= 0.07


def test_over_seeds_alone_the_interval_would_miss_other_images():
    """The reason for pairing by image: seeds on the same few images agree far more than other images would."""
    rng = np.random.default_rng(5)
    covered = {"both": 0, "seeds": 0}
    for _ in range(300):
        own = rng.random((2, 1, 100)) < 0.6  # what each method gets right of these images, whatever the seed
        a, b = np.where(rng.random((2, 5, 100)) < 0.05, ~own, own)
        found, seeds = paired_difference(a, b), welch(estimate(a.mean(1)), estimate(b.mean(1)))
        covered["both"] += found.low <= 0 <= found.high
        covered["seeds"] += seeds.low <= 0 <= seeds.high
    assert covered["both"] >= 0.93 * 300 > 2 * covered["seeds"]


def test_one_seed_has_no_interval_and_other_images_are_refused():
    found = paired_difference(np.ones((1, 10)), np.zeros((1, 10)))
    assert found.difference == 1
    assert math.isnan(found.low)
    assert math.isnan(found.p)
    with pytest.raises(ValueError, match="10 and 9 images"):
        paired_difference(np.ones((2, 10)), np.ones((2, 9)))


def test_units_scale():
    a, b = studies(0.1, runs=1, seed=6)
    one = paired_difference(a[0], b[0])
    hundred = one.scaled(100)
    assert hundred.low == pytest.approx(100 * one.low)
    assert hundred.variance == pytest.approx(1e4 * one.variance)


def test_as_many_more_images_or_seeds_as_it_says_settle_it():
    """Studies drawn at the size that was asked for are clear about as often as not, or more."""
    a, b = studies(0.02, runs=1, images=300, seed_sd=0.002, seed=17)
    found = paired_difference(a[0], b[0])
    assert found.low < 0 < found.high
    more = more_needed(found, rope=0.001)
    assert 0 < more.seeds < 200
    assert more.images > 0
    for size in ({"images": 300 + more.images}, {"images": 300, "seeds": 5 + more.seeds}):
        a, b = studies(found.difference, runs=100, seed_sd=0.002, seed=9, **size)
        clear = np.mean([paired_difference(x, y).low > 0 for x, y in zip(a, b, strict=True)])
        assert 0.3 < clear < 0.97


def test_what_seeds_cannot_settle_is_not_asked_of_them():
    """Seeds that are all alike: more of them change nothing, more images do."""
    rng = np.random.default_rng(10)
    a, b = (np.repeat(rng.random((1, 200)) < level, 3, axis=0) for level in (0.62, 0.6))
    more = more_needed(paired_difference(a, b), rope=0.001)
    assert more.seeds is None
    assert more.images > 0


def test_the_chance_of_being_best_is_that_of_a_plain_bootstrap():
    a, b = (side[0] for side in studies(0.02, runs=1, images=150, seed=11))
    found = chance_of_best({"a": a, "b": b}, repeats=4000, shrink=False)
    rng, wins = np.random.default_rng(0), 0.0
    for _ in range(4000):
        images = rng.integers(0, 150, 150)
        gap = a[rng.integers(0, 5, 5)][:, images].mean() - b[rng.integers(0, 5, 5)][:, images].mean()
        wins += 0.5 if abs(gap) < 1e-12 else float(gap > 0)
    assert found["a"] == pytest.approx(wins / 4000, abs=0.03)
    assert sum(found.values()) == pytest.approx(1)


def test_equal_methods_share_the_chance_and_few_images_make_it_cautious():
    same = np.random.default_rng(12).random((3, 50)) < 0.5
    assert chance_of_best({"a": same, "b": ~same, "c": same})["b"] < 1
    sure = {"a": np.ones((2, 20)), "b": np.zeros((2, 20))}
    assert chance_of_best(sure, shrink=False)["a"] == 1
    assert chance_of_best(sure)["a"] == pytest.approx((20 + 12 / 2) / 32)
    with pytest.raises(ValueError, match="expected one number"):
        chance_of_best({"a": np.ones((2, 20)), "b": np.ones((2, 19))})


def test_a_chance_keeps_its_word():
    """Of methods named the best with .8 or more, at least .75 are: 50 and 200 validation images, one seed."""
    for images in (50, 200):
        rng, said, right = np.random.default_rng(images), 0, 0
        for run in range(250):
            truth = 0.6 + rng.normal(0, 0.06, 3)
            matrices = {str(i): rng.random((1, images)) < t for i, t in enumerate(truth)}
            found = chance_of_best(matrices, repeats=200, seed=run)
            best = max(found, key=found.get)
            if found[best] >= 0.8:
                said, right = said + 1, right + (int(best) == truth.argmax())
        assert said > 20
        assert right / said >= 0.75


def test_seeds_of_equal_accuracy_on_other_images_have_an_interval():
    """All variance lies in seeds and images together: the larger of the parts stays, with the images' freedom."""
    rng = np.random.default_rng(0)
    a_SN, b_SN = (
        np.stack([rng.permutation(np.arange(40) < right) for _ in range(3)]).astype(float) for right in (30, 10)
    )
    found = paired_difference(a_SN, b_SN)
    gap_N = a_SN.mean(0) - b_SN.mean(0)
    assert found.difference == pytest.approx(0.5)
    assert found.seeds_variance == 0
    half = stats.t.ppf(0.975, 39) * gap_N.std(ddof=1) / np.sqrt(40)
    assert (found.low, found.high) == (pytest.approx(0.5 - half), pytest.approx(0.5 + half))
