"""training.watched: the fixed sample of test images behind a curve."""

from __future__ import annotations

import numpy as np
import pytest

from vptcore.training.watched import watched_places


@pytest.mark.parametrize(("images", "most"), [(0, 5), (5, 5), (6, 5), (26_032, 2000), (3, 100)])
def test_no_more_than_asked_for_and_none_twice(images, most):
    places = watched_places(images, most)
    assert len(places) == len(set(places.tolist())) == min(images, most)
    assert (np.diff(places) > 0).all()
    assert set(places.tolist()) <= set(range(images))


def test_the_sample_is_always_the_same_and_from_everywhere():
    first, again = watched_places(10_000, 2000), watched_places(10_000, 2000)
    assert np.array_equal(first, again)
    # 2,000 uniform places: their mean is 5,000 give or take 65, and each fifth has 400 give or take 18.
    assert abs(first.mean() - 5000) < 4 * 65
    assert abs(np.histogram(first, 5, (0, 10_000))[0] - 400).max() < 4 * 18
