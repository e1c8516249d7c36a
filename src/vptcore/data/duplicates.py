"""Images that are in two splits at once: the same bytes, or the same picture a little changed.

In: hashes of pixels, or images one by one, and the split of each. Out: pairs of rows. What is scored must not have been
trained on: photographs taken in a burst, copies in another size or quality, and the same image under two names are what
people find in sets of their own.

    python -m pytest tests/vptcore/data/test_duplicates.py
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from vptcore.data.decode import opencv
from vptcore.data.item import SPLITS

SIDE = 9  # of the grey thumbnail: 8 differences a row and 8 a column
MOST_BITS, MOST_LEVELS = 8, 6  # of 144 signs that differ, and grey levels that the thumbnails differ by on average
FLAT = 3  # levels of contrast: below it a picture is as good as one colour, like any other
BLOCK = 1024


@dataclass(frozen=True)
class Fingerprints:
    """Of N images: grey thumbnails `thumbs_ND` in int16, and the signs of their slopes `bits_NW` in uint64."""

    thumbs_ND: np.ndarray
    bits_NW: np.ndarray


def fingerprints(images: Iterable[np.ndarray]) -> Fingerprints:
    """Of images (H, W, 1 or 3) in uint8, one at a time. dHash (difference hash) along rows and along columns."""
    thumbs = [_thumb(image) for image in images]
    thumbs_NSS = np.stack(thumbs).astype(np.int16) if thumbs else np.empty((0, SIDE, SIDE), np.int16)
    signs = [np.diff(thumbs_NSS, axis=axis).reshape(-1, SIDE * (SIDE - 1)) > 0 for axis in (1, 2)]
    packed = np.packbits(np.concatenate(signs, axis=1), axis=1)
    padded = np.pad(packed, ((0, 0), (0, -packed.shape[1] % 8)))
    return Fingerprints(thumbs_NSS.reshape(-1, SIDE * SIDE), padded.view(np.uint64))


def exact(hashes: Sequence[str], splits: Sequence[str]) -> list[tuple[int, int]]:
    """(row in an earlier split, row in a later one) of every image whose hash occurs in an earlier split too."""
    first: dict[str, int] = {}
    pairs = []
    for row in _by_split(splits):
        other = first.setdefault(hashes[row], row)
        if splits[other] != splits[row]:
            pairs.append((other, row))
    return pairs


def near(prints: Fingerprints, splits: Sequence[str]) -> list[tuple[int, int]]:
    """(row in an earlier split, row in a later one): the nearest picture of each that has one there.

    Pictures of one colour are left out: they are all alike. Exact duplicates are among the pairs.
    """
    rank = np.array([SPLITS.index(split) for split in splits])
    telling = np.ptp(prints.thumbs_ND, axis=1) >= FLAT if len(rank) else np.empty(0, bool)
    pairs = []
    for later in range(1, len(SPLITS)):
        rows, before = np.flatnonzero((rank == later) & telling), np.flatnonzero((rank < later) & telling)
        for start in range(0, len(rows) if len(before) else 0, BLOCK):
            pairs += _nearest(prints, rows[start : start + BLOCK], before)
    return pairs


def alike(prints: Fingerprints) -> list[tuple[int, int]]:
    """Every pair (earlier row, later row) of pictures that are near each other, whatever their splits; none of one
    colour."""
    rows, pairs = np.flatnonzero(np.ptp(prints.thumbs_ND, axis=1) >= FLAT), []
    for start in range(0, len(rows), BLOCK):
        some, until = rows[start : start + BLOCK], rows[: start + BLOCK]
        for at, other in np.argwhere(_bits_apart(prints, some, until) <= MOST_BITS):
            a, b = until[other], some[at]
            if a < b and np.abs(prints.thumbs_ND[a] - prints.thumbs_ND[b]).mean() <= MOST_LEVELS:
                pairs.append((int(a), int(b)))
    return sorted(pairs)


def _bits_apart(prints: Fingerprints, rows: np.ndarray, others: np.ndarray) -> np.ndarray:
    """(R, O): how many signs differ."""
    apart_RO = np.zeros((len(rows), len(others)), np.uint8)
    for word in range(prints.bits_NW.shape[1]):
        apart_RO += np.bitwise_count(prints.bits_NW[rows, None, word] ^ prints.bits_NW[None, others, word])
    return apart_RO


def _nearest(prints: Fingerprints, rows: np.ndarray, before: np.ndarray) -> list[tuple[int, int]]:
    """For each of `rows` the row among `before` whose thumbnail is nearest, where both measures say that it is near."""
    apart_RB, pairs = _bits_apart(prints, rows, before), []
    for at in np.flatnonzero((apart_RB <= MOST_BITS).any(axis=1)):
        candidates = before[apart_RB[at] <= MOST_BITS]
        levels = np.abs(prints.thumbs_ND[candidates] - prints.thumbs_ND[rows[at]]).mean(axis=1)
        if levels.min() <= MOST_LEVELS:
            pairs.append((int(candidates[levels.argmin()]), int(rows[at])))
    return pairs


def _thumb(image_HWC: np.ndarray) -> np.ndarray:
    grey_HW = image_HWC.mean(axis=2, dtype=np.float32)
    cv2 = opencv()
    return np.rint(cv2.resize(grey_HW, (SIDE, SIDE), interpolation=cv2.INTER_AREA))


def _by_split(splits: Sequence[str]) -> list[int]:
    return sorted(range(len(splits)), key=lambda row: SPLITS.index(splits[row]))
