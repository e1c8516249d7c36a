"""The 1,797 digits that scikit-learn ships, 8x8 grey; 500 of them, drawn by the seed, are test.

python -m pytest tests/vptcore/data/test_sources.py -k digits
"""

from __future__ import annotations

import numpy as np

from vptcore.data.item import Item, Request, Source, drawn_splits, numbered
from vptcore.data.reader import Reader

IMAGES, TEST = 1797, 500


def sklearn_digits(request: Request) -> Source:
    from sklearn.datasets import load_digits

    digits = load_digits()
    pixels_NHW1 = np.rint(digits.images[..., None] * (255 / 16)).astype(np.uint8)
    splits = drawn_splits(len(digits.target), TEST, request.seed)
    rows = zip(splits, digits.target.tolist(), pixels_NHW1, strict=True)
    items = (Item(f"row {row}", *values) for row, values in enumerate(rows))
    return Source("sklearn.datasets.load_digits", numbered(10), items)


READER = Reader(
    "sklearn_digits", "nothing: scikit-learn brings them", sklearn_digits, count=lambda _: IMAGES, ships="scikit-learn"
)
