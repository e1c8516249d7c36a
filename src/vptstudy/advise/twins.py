"""Images of a person's own that are in two splits at once: the same pixels, or the same picture a little changed.

In: prepared images and their index. Out: `Twins` for every pair of splits that shares pictures, and a line for each.
What is scored and was trained on flatters every method; nothing is taken out here, and nothing is stopped.

    python -m pytest tests/vptstudy/advise/test_twins.py
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from vptcore.data.census import LISTED
from vptcore.data.duplicates import alike, exact, fingerprints, near
from vptcore.data.item import SPLITS
from vptcore.data.remedies import NAMED


@dataclass(frozen=True)
class Twins:
    """Of `later` so many images are in `earlier` too: `exact` with the same pixels, `near` with the same picture.

    `images` names the first of them, (key in `earlier`, key in `later`), those with the same pixels first.
    """

    earlier: str
    later: str
    exact: int
    near: int
    images: tuple[tuple[str, str], ...]


def within(images_NHWC: np.ndarray, index: pd.DataFrame) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    """(exact, near): pairs of places in the index, whatever their splits; exact ones each with the first of them."""
    first: dict[str, int] = {}
    places = [(first.setdefault(sha, place), place) for place, sha in enumerate(index["sha256"])]
    return [pair for pair in places if pair[0] != pair[1]], alike(
        fingerprints(images_NHWC[row] for row in index["row"])
    )


def among(images_NHWC: np.ndarray, index: pd.DataFrame) -> list[Twins]:
    """`index` has the columns row, split, key and sha256; `images_NHWC` is uint8, an image a row of the index."""
    splits = index["split"].tolist()
    if len(set(splits)) < 2:
        return []
    same = exact(index["sha256"].tolist(), splits)
    known = {later for _, later in same}
    alike = [
        pair for pair in near(fingerprints(images_NHWC[row] for row in index["row"]), splits) if pair[1] not in known
    ]
    keys = index["key"].tolist()
    found = []
    for place, earlier in enumerate(SPLITS):
        for later in SPLITS[place + 1 :]:
            ours = [[pair for pair in pairs if _splits(pair, splits) == (earlier, later)] for pairs in (same, alike)]
            if named := tuple((keys[a], keys[b]) for a, b in [*ours[0], *ours[1]]):
                found.append(Twins(earlier, later, len(ours[0]), len(ours[1]), named[:LISTED]))
    return found


def lines(found: Sequence[Twins]) -> Iterator[str]:
    """A line for each pair of splits, with the first images of it by name."""
    for one in found:
        total = one.exact + one.near
        kinds = ((one.exact, "pixel by pixel"), (one.near, "nearly"))
        said = [(f"{count:,} " if one.exact and one.near else "") + how for count, how in kinds if count]
        named = "; ".join(f"{later} and {earlier}" for earlier, later in one.images[:NAMED])
        more = "; ..." if total > NAMED else ""
        images, take = ("image", "it out, or it flatters") if total == 1 else ("images", "them out, or they flatter")
        yield (
            f"{total:,} {images} of {one.later} {'is' if total == 1 else 'are'} also in {one.earlier}, "
            f"{' and '.join(said)} ({named}{more}): take {take} every method"
        )


def _splits(pair: tuple[int, int], splits: Sequence[str]) -> tuple[str, str]:
    return splits[pair[0]], splits[pair[1]]
