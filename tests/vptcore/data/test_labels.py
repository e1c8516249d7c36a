"""The label rules on generated metadata, as many scenes as the test sets have."""

from __future__ import annotations

import numpy as np
import pytest

from vptcore.data.readers.labels import clevr_count, clevr_distance, dsprites_bins, kitti_distance


def test_clevr_count():
    objects = np.random.default_rng(0).integers(3, 11, 15_000)
    assert [clevr_count(n) for n in objects.tolist()] == (objects - 3).tolist()
    for impossible in (2, 11):
        with pytest.raises(ValueError, match=f"{impossible} objects"):
            clevr_count(impossible)


def test_clevr_distance():
    rng = np.random.default_rng(0)
    scenes = [rng.uniform(6, 14, (rng.integers(3, 11), 3)) for _ in range(15_000)]
    nearest = np.array([scene[:, 2].min() for scene in scenes])
    # An independent form: the bin of the nearest depth, each bin closed on the right.
    expected = np.digitize(nearest, [8.0, 8.5, 9.0, 9.5, 10.0], right=True)
    assert [clevr_distance(scene) for scene in scenes] == expected.tolist()
    assert set(expected) == set(range(6))
    assert [clevr_distance([[0, 0, depth]]) for depth in (8.0, 8.1, 10.0, 10.1)] == [0, 1, 4, 5]
    with pytest.raises(ValueError, match="distance of 0"):
        clevr_distance([[0, 0, 0.0]])


def test_kitti_distance():
    rng = np.random.default_rng(0)
    expected, found = [], []
    for _ in range(711):
        types, places = rng.integers(0, 8, n := rng.integers(0, 9)), rng.uniform(-2, 60, (n, 3))
        depths = [z for kind, (_, _, z) in zip(types, places, strict=True) if kind < 3]
        expected.append(3 if not depths else 0 if min(depths) <= 8 else 1 if min(depths) <= 20 else 2)
        found.append(kitti_distance(types, places))
    assert found == expected
    assert set(expected) == {0, 1, 2, 3}
    assert kitti_distance([], []) == 3


@pytest.mark.parametrize(("classes", "sizes"), [(32, [2] * 16), (40, [3, 2] * 8)])
def test_dsprites_bins(classes, sizes):
    labels = np.tile(np.arange(classes), 737_280 // classes)
    binned = dsprites_bins(labels, classes)
    assert np.array_equal(binned, np.floor(labels / (classes / 16)).astype(int))
    assert np.bincount(dsprites_bins(np.arange(classes), classes)).tolist() == sizes


def test_clevrs_depths_are_compared_in_float32():
    """8.5000001 is 8.5 in float32, whose neighbours there are 9.5e-7 apart."""
    assert np.float32(8.5000001) == np.float32(8.5)
    assert clevr_distance(np.array([[0, 0, 8.5000001]])) == clevr_distance(np.array([[0, 0, 8.5]])) == 1
    assert clevr_distance(np.array([[0, 0, 8.500001]])) == 2
