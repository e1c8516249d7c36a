"""The sizes of batches, which decide what is compiled and captured.

In: numbers of images. Out: sizes. `fit` and `step` work by them, and a plan counts by them.

    python -m pytest tests/vptcore/training/test_step.py
"""

from __future__ import annotations

SCORE_BATCH = 512
# Below so many images a compiled pass saves less than its compilation costs.
FEW_IMAGES = 2048


def batch_sizes(images: int, batch: int) -> list[int]:
    """The sizes of an epoch's batches: full ones, and what is left."""
    full = min(batch, images)
    return [full, images % full] if images % full else [full]
