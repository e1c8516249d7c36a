"""Items of a person's own images from a listing of them: labels, a drawn test set, and a share of a large train set.

In: a `Listing` and where its names start. Out: a `Source`. Raises ValueError (one line) with all of the listing's
problems, before anything is decoded.

    python -m pytest tests/vptcore/data/test_sources.py -k "folder or csv"
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from vptcore.data.item import UNSPLIT, Item, Request, Source, count_of_each, drawn_of_each, spread
from vptcore.data.remedies import stop_for

if TYPE_CHECKING:
    from vptcore.data.listing import Listing

TEST_SHARE = 0.2  # of each class, where no test set is named
DRAWN = "test is a fifth of each class, drawn by the images' names: {} names no test split"


def source_of_listing(listing: Listing, root: Path, request: Request) -> Source:
    """At most `max_train` train images, of every class alike. What is left out is in the source's `left_out`."""
    stop_for(listing)
    label = {name: number for number, name in enumerate(listing.classes)}
    labels = [label[image.kind] for image in listing.images]
    names = [image.name for image in listing.images]
    splits, drawn = with_test([image.split for image in listing.images], labels, request.seed, names)
    kept = kept_rows(splits, labels, request, names)
    items = (Item(listing.images[row].name, splits[row], labels[row], root / listing.images[row].name) for row in kept)
    substitutes = (DRAWN.format(Path(listing.where).name),) if drawn else ()
    return Source(listing.where, listing.classes, items, substitutes, listing.left_out, listing.remarks)


def sizes(listing: Listing) -> tuple[int, int]:
    """(images to train and validate on, images to test) of a listing, with the test set that would be drawn."""
    test = listing.in_split("test")
    if not test:
        drawn_from = listing.counts.get(UNSPLIT, {}) or listing.counts.get("train", {})
        test = sum(count_of_each(images, TEST_SHARE) for images in drawn_from.values())
    return listing.total - test, test


def with_test(
    splits: Sequence[str], labels: Sequence[int], seed: int, names: Sequence | None = None
) -> tuple[list[str], bool]:
    """The splits with a test set, and whether it had to be drawn: out of train, or of all where nothing is split.

    Each image's name, or its row's number, decides with the seed; images that come or go leave the others where they
    are, but for one of their class.
    """
    names = range(len(labels)) if names is None else names
    named = ["train" if split == UNSPLIT else split for split in splits]
    if "test" in named:
        return named, False
    train = [row for row, split in enumerate(named) if split == "train"]
    for row in drawn_of_each([labels[row] for row in train], TEST_SHARE, seed, [names[row] for row in train]):
        named[train[row]] = "test"
    return named, True


def kept_rows(splits: Sequence[str], labels: Sequence[int], request: Request, names: Sequence) -> Iterable[int]:
    """The rows in their order without the train images beyond `max_train`; those that stay are of every class alike."""
    train = np.flatnonzero(np.asarray(splits) == "train")
    if request.max_train is None or len(train) <= request.max_train:
        return range(len(splits))
    order = spread(np.asarray(labels)[train], request.seed, [names[row] for row in train])
    beyond = set(train[order[request.max_train :]].tolist())
    return (row for row in range(len(splits)) if row not in beyond)
