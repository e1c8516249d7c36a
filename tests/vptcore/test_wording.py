"""Counts and their nouns agree."""

import numpy as np
import pytest

from vptcore.wording import plural


@pytest.mark.parametrize(
    ("count", "words", "expected"),
    [
        (0, ("image",), "0 images"),
        (1, ("image",), "1 image"),
        (2, ("image",), "2 images"),
        (12_345, ("image",), "12,345 images"),
        (np.int64(12_345), ("image",), "12,345 images"),
        (1.0, ("point",), "1 point"),
        (0.5, ("point",), "0.5 points"),
        (1, ("search", "searches"), "1 search"),
        (2, ("search", "searches"), "2 searches"),
    ],
)
def test_a_count_and_its_noun_agree(count, words, expected):
    assert plural(count, *words) == expected
