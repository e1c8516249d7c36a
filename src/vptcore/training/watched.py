"""Which test images a test curve is drawn from: all, or a fixed sample where they are many.

In: how many test images there are, and how many are scored at most after an epoch. Out: their places in the split's
order, which are the same for every method, backbone, seed and epoch. What is reported as test accuracy and loss comes
from all test images at the last epoch, never from this sample.

    python -m pytest tests/vptcore/training/test_watched.py
"""

from __future__ import annotations

import numpy as np


def watched_places(images: int, most: int) -> np.ndarray:
    """(min(images, most),) places in ascending order, drawn without replacement and always alike."""
    if images <= most:
        return np.arange(images)
    return np.sort(np.random.default_rng(0).permutation(images)[:most])
