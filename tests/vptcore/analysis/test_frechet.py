"""analysis.frechet: against sqrtm, pytorch-fid, closed forms and plain resampling; the kernel distance against its
definition.
"""

from __future__ import annotations

import numpy as np
import pytest
import scipy.linalg
from hypothesis import given, settings
from hypothesis import strategies as st

from vptcore.analysis.frechet import (
    Comparison,
    Reference,
    bootstrap_interval,
    frechet_distance,
    kernel_distance,
    limit,
    root_of,
)


def reference_of(mean_D, covariance_DD, count, sample_MD=None) -> Reference:
    return Reference(mean_D, np.atleast_2d(covariance_DD), count, sample_MD)


def features(seed: int, count: int, width: int, spread: float = 1.0) -> np.ndarray:
    """Correlated features (count, width) away from the origin."""
    rng = np.random.default_rng(seed)
    mixing = rng.normal(size=(width, width)) * spread
    return rng.normal(size=(count, width)) @ mixing + rng.normal(size=width)


def statistics(features_ND: np.ndarray) -> tuple[np.ndarray, np.ndarray, int]:
    return features_ND.mean(0), np.cov(features_ND, rowvar=False), len(features_ND)


def by_sqrtm(a_ND: np.ndarray, b_ND: np.ndarray) -> float:
    """The distance as it is written: |m1 - m2|^2 + tr(S1 + S2 - 2 (S1 S2)^(1/2))."""
    (m1, s1, _), (m2, s2, _) = statistics(a_ND), statistics(b_ND)
    root = scipy.linalg.sqrtm(s1 @ s2)
    return float((m1 - m2) @ (m1 - m2) + np.trace(s1 + s2 - 2 * root.real))


# The distance

seeds = st.integers(0, 2**32 - 1)


@settings(max_examples=40, deadline=None)
@given(seeds, st.integers(2, 12), st.integers(1, 5))
def test_equals_sqrtm(seed, width, many):
    ours, theirs = features(seed, width * (many + 1) + 2, width), features(seed + 1, width * 4 + 2, width, 2.0)
    assert frechet_distance(ours, reference_of(*statistics(theirs))) == pytest.approx(by_sqrtm(ours, theirs), rel=1e-6)


@pytest.mark.parametrize(("width", "ours_n", "theirs_n"), [(16, 200, 300), (64, 1000, 500), (48, 90, 4000)])
def test_equals_pytorch_fid(monkeypatch, width, ours_n, theirs_n):
    """pytorch-fid asks scipy for `sqrtm(disp=False)`, which newer scipy does not have: the call is mended here."""
    from pytorch_fid import fid_score

    class Linalg:
        @staticmethod
        def sqrtm(matrix, disp=True):
            root = scipy.linalg.sqrtm(matrix)
            return root if disp else (root, 0.0)

    monkeypatch.setattr(fid_score, "linalg", Linalg)
    ours, theirs = features(0, ours_n, width), features(1, theirs_n, width, 1.5)
    (m1, s1, _), (m2, s2, _) = statistics(ours), statistics(theirs)
    expected = fid_score.calculate_frechet_distance(m1, s1, m2, s2)
    assert frechet_distance(ours, reference_of(m2, s2, theirs_n)) == pytest.approx(expected, rel=1e-6)


def by_singular_values(a_ND: np.ndarray, reference: Reference) -> float:
    factor_ND = (a_ND - a_ND.mean(0)) / np.sqrt(len(a_ND) - 1)
    gap = a_ND.mean(0) - reference.mean_D
    cross = np.linalg.svd(factor_ND @ root_of(reference.covariance_DD), compute_uv=False).sum()
    return float(gap @ gap + np.square(factor_ND).sum() + np.trace(reference.covariance_DD) - 2 * cross)


@settings(max_examples=30, deadline=None)
@given(seeds, st.integers(2, 40), st.integers(1, 40))
def test_both_products_equal_the_singular_values(seed, count, width):
    """More images than dimensions and fewer: the two ways that the same singular values are computed."""
    ours, theirs = features(seed, count, width), features(seed + 1, 60, width, 1.5)
    reference = reference_of(*statistics(theirs))
    assert frechet_distance(ours, reference) == pytest.approx(by_singular_values(ours, reference), rel=1e-6, abs=1e-6)


def exactly(mean_D: np.ndarray, scale_D: np.ndarray) -> np.ndarray:
    """2 D rows whose mean is `mean` and whose covariance is diag(scale^2) to the last digit."""
    width = len(mean_D)
    signs = np.concatenate([np.eye(width), -np.eye(width)]) * np.sqrt((2 * width - 1) / 2)
    return signs * scale_D + mean_D


@settings(max_examples=40, deadline=None)
@given(seeds, st.integers(1, 9))
def test_closed_form_for_diagonal_covariances(seed, width):
    rng = np.random.default_rng(seed)
    (m1, m2), (s1, s2) = rng.normal(size=(2, width)), rng.uniform(0, 3, size=(2, width))
    found = frechet_distance(exactly(m1, s1), reference_of(m2, np.diag(s2**2), 10))
    assert found == pytest.approx(np.square(m1 - m2).sum() + np.square(s1 - s2).sum(), rel=1e-9, abs=1e-9)


def test_fewer_images_than_dimensions():
    """Rank-deficient covariances, where sqrtm is of no use: by the eigenvalues of S1 S2 instead."""
    ours, theirs = features(0, 10, 40), features(1, 15, 40)
    (m1, s1, _), (m2, s2, n) = statistics(ours), statistics(theirs)
    roots = np.sqrt(np.clip(scipy.linalg.eigvals(s1 @ s2).real, 0, None))
    expected = (m1 - m2) @ (m1 - m2) + np.trace(s1 + s2) - 2 * np.sort(roots)[-9:].sum()
    assert frechet_distance(ours, reference_of(m2, s2, n)) == pytest.approx(expected, rel=1e-6)


def test_of_itself_is_zero():
    ours = features(3, 50, 8)
    assert frechet_distance(ours, reference_of(*statistics(ours))) == pytest.approx(0, abs=1e-9)


@settings(max_examples=30, deadline=None)
@given(seeds, st.integers(2, 10))
def test_translation_and_rotation_change_nothing(seed, width):
    ours, theirs = features(seed, 4 * width, width), features(seed + 1, 5 * width, width)
    rng = np.random.default_rng(seed)
    turn, move = np.linalg.qr(rng.normal(size=(width, width)))[0], rng.normal(size=width) * 10
    before = frechet_distance(ours, reference_of(*statistics(theirs)))
    after = frechet_distance(ours @ turn + move, reference_of(*statistics(theirs @ turn + move)))
    assert after == pytest.approx(before, rel=1e-7, abs=1e-8)
    swapped = frechet_distance(theirs, reference_of(*statistics(ours)))
    assert swapped == pytest.approx(before, rel=1e-7, abs=1e-8)
    scaled = frechet_distance(3 * ours, reference_of(*statistics(3 * theirs)))
    assert scaled == pytest.approx(9 * before, rel=1e-7, abs=1e-8)


# The interval


def test_the_interval_covers_the_distance_that_samples_of_this_size_have_on_average():
    rng = np.random.default_rng(0)
    reference = reference_of(np.zeros(3), np.eye(3), 1000)
    draw = lambda: rng.normal(size=(80, 3)) @ np.diag([1.0, 2.0, 0.5]) + [1.0, 0.0, 0.0]  # noqa: E731
    average = np.mean([frechet_distance(draw(), reference) for _ in range(500)])
    intervals = [bootstrap_interval(Comparison(draw(), reference), 60, seed=i) for i in range(100)]
    assert 0.85 <= np.mean([low <= average <= high for low, high in intervals]) <= 0.99


def test_the_interval_is_centred_repeatable_and_narrower_with_more_images():
    reference = reference_of(np.zeros(4), np.eye(4), 1000)
    few, many = features(0, 40, 4), features(0, 4000, 4)
    low, high = bootstrap_interval(Comparison(few, reference), 50)
    assert (low + high) / 2 == pytest.approx(frechet_distance(few, reference))
    assert bootstrap_interval(Comparison(few, reference), 50) == (low, high)
    assert bootstrap_interval(Comparison(few, reference), 50, seed=1) != (low, high)
    narrow = bootstrap_interval(Comparison(many, reference), 50)
    assert 0 < narrow[1] - narrow[0] < (high - low) / 3


@pytest.mark.parametrize("repeats", [0, 1])
def test_without_repeats_there_is_no_interval(repeats):
    comparison = Comparison(features(0, 9, 3), reference_of(np.zeros(3), np.eye(3), 9))
    assert np.isnan(bootstrap_interval(comparison, repeats)).all()


@pytest.mark.parametrize("width", [6, 70])
def test_bootstrap_equals_the_plain_resampling(width):
    """The same draws, each taken as a new set of images, in both products."""
    rng = np.random.default_rng(3)
    ours, reference = rng.normal(size=(40, width)), reference_of(np.zeros(width), np.diag(np.arange(1.0, width + 1)), 9)
    draws, rng = [], np.random.default_rng(0)
    for _ in range(5):
        draws.append(by_singular_values(ours[rng.integers(0, 40, 40)], reference))
    low, high = bootstrap_interval(Comparison(ours, reference), 5)
    assert (high - low) / 2 == pytest.approx(1.96 * np.std(draws, ddof=1), rel=1e-6)


def test_one_image_is_one_line():
    with pytest.raises(ValueError, match="1 images: a covariance needs at least 2"):
        frechet_distance(np.zeros((1, 3)), reference_of(np.zeros(3), np.eye(3), 9))


# For ever more images


def test_the_limit_takes_the_bias_away():
    """Samples of the reference's own Gaussian: the distance of 120 images is far from 0, its limit near."""
    rng = np.random.default_rng(0)
    reference = reference_of(np.zeros(10), np.eye(10), 10**6)
    pairs = []
    for seed in range(20):
        comparison = Comparison(rng.normal(size=(120, 10)), reference)
        pairs.append((comparison.distance(), limit(comparison, seed)))
    biased, unbiased = np.mean(pairs, axis=0)
    assert abs(unbiased) < biased / 3


def test_the_limit_is_the_intercept_of_a_plain_fit():
    ours, reference = features(5, 60, 4), reference_of(np.zeros(4), np.eye(4), 100)
    rng, counts = np.random.default_rng(7), np.unique(np.linspace(30, 60, 15).round().astype(int))
    found = [by_singular_values(ours[rng.permutation(60)[:count]], reference) for count in counts]
    slope_and_intercept = np.linalg.lstsq(np.stack([1 / counts, np.ones(len(counts))], 1), found, rcond=None)[0]
    assert limit(Comparison(ours, reference), seed=7) == pytest.approx(slope_and_intercept[1], rel=1e-8)
    assert np.isnan(limit(Comparison(ours[:19], reference)))


# The kernel distance


def plain_kid(x_ND: np.ndarray, y_MD: np.ndarray) -> float:
    """The unbiased squared MMD as it is written, pair by pair."""
    k = lambda a, b: (a @ b / len(a) + 1) ** 3  # noqa: E731
    n, m = len(x_ND), len(y_MD)
    xx = sum(k(x_ND[i], x_ND[j]) for i in range(n) for j in range(n) if i != j) / (n * (n - 1))
    yy = sum(k(y_MD[i], y_MD[j]) for i in range(m) for j in range(m) if i != j) / (m * (m - 1))
    return xx + yy - 2 * sum(k(x, y) for x in x_ND for y in y_MD) / (n * m)


def test_kernel_distance_is_its_definition_over_the_same_subsets():
    x, y = features(0, 24, 5, 0.5), features(1, 30, 5, 0.6)
    rng = np.random.default_rng(4)
    in_x = [np.sort(rng.permutation(24)[:12]) for _ in range(7)]
    in_y = [np.sort(rng.permutation(30)[:12]) for _ in range(7)]
    plain = [plain_kid(x[i], y[j]) for i, j in zip(in_x, in_y, strict=True)]
    mean, std = kernel_distance(x, y, seed=4, subsets=7)
    assert mean == pytest.approx(np.mean(plain), rel=1e-9)
    assert std == pytest.approx(np.std(plain, ddof=1), rel=1e-9)


def test_kernel_distance_has_no_bias():
    rng = np.random.default_rng(0)
    means = [kernel_distance(rng.normal(size=(40, 3)), rng.normal(size=(40, 3)), subsets=5)[0] for _ in range(200)]
    assert abs(np.mean(means)) < 3 * np.std(means) / np.sqrt(200)


def test_too_few_images_have_no_kernel_distance():
    assert np.isnan(kernel_distance(np.zeros((3, 2)), np.zeros((9, 2)))).all()
