"""Resizing by a factor as OpenCV's cv2.resize does by default, for the two data sets that TFDS stores reduced.

In: uint8 (H, W, 3) and a factor. Out: uint8, bilinear between pixel centres, without antialias. Imports no torch.

    python -m pytest tests/data/test_archives_listed.py -k resized
"""

from __future__ import annotations

import numpy as np


def resized(image_HW3: np.ndarray, factor: float) -> np.ndarray:
    """`image_HW3` at `factor` times its height and width, each rounded; at least one pixel."""
    height, width = (max(1, round(length * factor)) for length in image_HW3.shape[:2])
    rows_YW3 = _along(image_HW3, height, factor)
    columns_XY3 = _along(rows_YW3.swapaxes(0, 1), width, factor)
    return np.rint(columns_XY3.swapaxes(0, 1)).astype(np.uint8)


def _along(image_L: np.ndarray, length: int, factor: float) -> np.ndarray:
    """The first axis at `length`, as float32: each output lies between two inputs, or on the border's."""
    last = len(image_L) - 1
    at_S = np.clip((np.arange(length) + 0.5) / factor - 0.5, 0, last)
    before_S = at_S.astype(np.int64)
    share_S = (at_S - before_S).astype(np.float32).reshape(-1, *[1] * (image_L.ndim - 1))
    lower = image_L[before_S].astype(np.float32)
    return lower + share_S * (image_L[np.minimum(before_S + 1, last)] - lower)
