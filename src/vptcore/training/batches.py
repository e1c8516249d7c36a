"""The sizes of batches, which decide what is compiled and captured.

In: numbers of images. Out: sizes. `fit` and `step` work by them, and a plan counts by them.

    python -m pytest tests/vptcore/training/test_step.py
"""

from __future__ import annotations

SCORE_BATCH = 512
# Below so many images a compiled pass saves less than its compilation costs.
FEW_IMAGES = 2048


def cuts(images: int, batch: int, *, joined: bool = False) -> list[int]:
    """The size of each of an epoch's batches: full ones, and what is left.

    `joined`: a last batch of one image becomes part of the one before it. Batch norm has no variance of one image.
    """
    full = min(batch, images)
    sizes = [full] * (images // full) + ([images % full] if images % full else [])
    if joined and len(sizes) > 1 and sizes[-1] == 1:
        sizes[-2:] = [full + 1]
    return sizes


def batch_sizes(images: int, batch: int) -> list[int]:
    """The sizes that an epoch's batches have."""
    return list(dict.fromkeys(cuts(images, batch)))
