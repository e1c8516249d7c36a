"""Folds against what they are for: classes evenly, bundles whole, and an interval over folds that holds the truth."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vptstudy.advise.decide import decide
from vptstudy.advise.folds import bundles, dealt, parts_of

labels = st.lists(st.integers(0, 3), min_size=5, max_size=80)


@given(labels, st.integers(2, 5), st.integers(0, 3))
def test_sizes_and_classes_differ_by_at_most_one(labels, folds, seed):
    fold_N = dealt(np.array(labels), folds, seed)
    sizes = np.bincount(fold_N, minlength=folds)
    assert np.ptp(sizes) <= 1
    for label in set(labels):
        assert np.ptp(np.bincount(fold_N[np.array(labels) == label], minlength=folds)) <= 1


@given(labels, st.data())
def test_bundles_stay_whole(labels, data):
    bundle = data.draw(st.lists(st.integers(0, 9), min_size=len(labels), max_size=len(labels)))
    fold_N = dealt(np.array(labels), 3, 0, np.array(bundle))
    for one in set(bundle):
        assert len(set(fold_N[np.array(bundle) == one])) == 1


def test_bundles_of_few_images_leave_classes_about_even():
    rng = np.random.default_rng(0)
    labels_N, bundle_N = np.repeat(np.arange(4), 50), np.repeat(np.arange(66), 4)[:200]
    order = rng.permutation(200)
    fold_N = dealt(labels_N[order], 5, 0, bundle_N[order])
    for label in range(4):
        assert np.ptp(np.bincount(fold_N[labels_N[order] == label], minlength=5)) <= 4  # one bundle


def test_bundles_join_what_is_joined_over_others():
    assert Counter(bundles(6, [(0, 1), (1, 2)], [])) == Counter({0: 3, 1: 1, 2: 1, 3: 1})
    joined = bundles(5, [(0, 1)], ["x", "y", "y", "z", "x"])
    # 0 and 4 by their group, 0 and 1 as a pair, 1 and 2 by theirs.
    assert joined[0] == joined[1] == joined[2] == joined[4] != joined[3]


def alone(count: int) -> np.ndarray:
    return np.arange(count)


def test_a_small_folder_is_tested_wholly():
    labels_N = np.repeat(np.arange(3), 40)
    folds = parts_of(labels_N, ["train"] * 120, alone(120), own=frozenset())
    assert len(folds) == 5
    assert (np.stack(folds) == "test").sum(0).tolist() == [1] * 120
    for part_N in folds:
        assert Counter(part_N.tolist()) == {"train": 76, "val": 20, "test": 24} or Counter(part_N.tolist())["val"] == 19
        assert np.ptp(np.bincount(labels_N[part_N == "val"])) <= 1


def test_a_larger_folder_has_one_sealed_fifth():
    labels_N = np.repeat(np.arange(3), 200)
    (part_N,) = parts_of(labels_N, ["test", *["train"] * 599], alone(600), own=frozenset({"train"}))
    assert Counter(part_N.tolist()) == {"train": 384, "val": 96, "test": 120}


@pytest.mark.parametrize("own", [{"test"}, {"val"}, {"val", "test"}])
def test_the_persons_own_parts_stay(own):
    labels_N = np.tile(np.arange(2), 60)
    splits = [part if part in own else "train" for part in ["train", "val", "test", "train", "train", "train"] * 20]
    (part_N,) = parts_of(labels_N, splits, alone(120), own=frozenset({"train", *own}))
    for part in own:
        assert (part_N == part).tolist() == [split == part for split in splits]
    assert set(part_N) == {"train", "val", "test"}


def learned(x_ND, y_N, test_MD, kind, rng):
    """Answers of a nearest class mean, or of ridge regression, on random half of the features."""
    keep = rng.random(x_ND.shape[1]) < 0.5
    x_ND, test_MD = x_ND[:, keep], test_MD[:, keep]
    if kind == "means":
        means = np.stack([x_ND[y_N == c].mean(0) for c in (0, 1)])
        return ((test_MD[:, None] - means) ** 2).sum(2).argmin(1)
    weights = np.linalg.solve(x_ND.T @ x_ND + 10 * np.eye(x_ND.shape[1]), x_ND.T @ (2.0 * y_N - 1))
    return (test_MD @ weights > 0).astype(int)


def drawn(count, rng):
    y_N = rng.permutation(np.arange(count) % 2)
    spread = np.linspace(0.3, 2.0, 20)
    return (0.35 * (2 * y_N[:, None] - 1) * spread**0.5 + spread * rng.normal(size=(count, 20))), y_N


@pytest.mark.parametrize("images", [60, 200])
def test_the_interval_over_folds_holds_the_difference_of_two_learners(images):
    """Known truth: the mean difference over many training sets of this size, on 20,000 further images."""
    rng, kinds, seeds = np.random.default_rng(images), ("means", "ridge"), 3
    far_MD, far_M = drawn(4000, rng)
    truth = np.mean([
        np.subtract(*[(learned(*drawn(images * 4 // 5, rng), far_MD, kind, rng) == far_M).mean() for kind in kinds])
        for _ in range(100)
    ])  # fmt: skip
    inside = []
    for _ in range(300):
        x_ND, y_N = drawn(images, rng)
        right = {kind: np.zeros((seeds, images)) for kind in kinds}
        for part_N in parts_of(y_N, ["train"] * images, alone(images), own=frozenset()):
            on, to = part_N != "test", part_N == "test"
            for kind, right_SN in right.items():
                for seed in range(seeds):
                    right_SN[seed, to] = learned(x_ND[on], y_N[on], x_ND[to], kind, rng) == y_N[to]
        contrast = decide(right, {"means": 2, "ridge": 1}).contrast
        sign = 1 if decide(right, {"means": 2, "ridge": 1}).take == "means" else -1
        inside.append(contrast.low <= sign * 100 * truth <= contrast.high)
    assert np.mean(inside) >= 0.93
