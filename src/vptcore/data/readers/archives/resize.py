"""Resizing by a factor with OpenCV's defaults, for the two data sets that TFDS stores reduced.

In: uint8 (H, W, 3) and a factor. Out: uint8, bilinear between pixel centres, without antialias.

    python -m pytest tests/vptcore/data/test_archives_listed.py -k resized
"""

from __future__ import annotations

import numpy as np

from vptcore.data.decode import opencv


def resized(image_HW3: np.ndarray, factor: float) -> np.ndarray:
    """`image_HW3` at `factor` times its height and width, each rounded. Raises ValueError if a side comes to 0."""
    height, width = image_HW3.shape[:2]
    if not round(height * factor) or not round(width * factor):
        raise ValueError(f"an image of {width} x {height} pixels cannot be scaled by {factor:.3g}")
    return opencv().resize(image_HW3, None, fx=factor, fy=factor)
