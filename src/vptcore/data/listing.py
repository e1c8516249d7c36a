"""What a person's images are, before one is decoded: splits, classes, counts, what is left out, what is wrong.

In: a folder of class folders. Out: a `Listing`; the reader, `vptcore check`, `vptcore data list` and the plan read this
one. Beside the images it names what is neither used nor litter, and every problem at once.

    python -m pytest tests/vptcore/data/test_listing.py
"""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from importlib.util import find_spec

from vptcore.data import remedies
from vptcore.data.item import HEIC_SUFFIXES, IMAGE_SUFFIXES, SPLITS, UNSPLIT, split_named
from vptcore.data.walk import tree

LOOSE, FOREIGN = "images outside class folders", "images outside the splits"


@dataclass(frozen=True)
class Listed:
    """One image: its split (`UNSPLIT` where a test set is still to be drawn), its class, its name below the folder."""

    split: str
    kind: str
    name: str


@dataclass(frozen=True)
class Listing:
    """What was found at `where`.

    `splits` are those that the layout names; none where a test set is to be drawn. `classes` are in the order of their
    labels. `counts` is {split: {class: images}}, with the one key `UNSPLIT` where there are no splits. `left_out` is
    {".heic" or another reason: names}. Each of `problems` stops a preparation, each of `remarks` is worth knowing; both
    are lines that end in the remedy. `dead` are images that are links to nothing: bad images, as those that do not
    decode.
    """

    where: str
    splits: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()
    counts: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    left_out: Mapping[str, Sequence[str]] = field(default_factory=dict)
    problems: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
    images: tuple[Listed, ...] = ()
    dead: tuple[str, ...] = ()

    @property
    def total(self) -> int:
        return sum(self.in_split(split) for split in self.counts)

    def of_class(self, name: str) -> int:
        """The images of a class, in all splits together."""
        return sum(of_class.get(name, 0) for of_class in self.counts.values())

    def in_split(self, split: str) -> int:
        return sum(self.counts.get(split, {}).values())


@dataclass(frozen=True)
class _Layout:
    """The images that a way of sorting finds, and how many folders are above a class folder."""

    images: list[Listed]
    depth: int


def list_folder(path: os.PathLike | str) -> Listing:
    """The images below class folders, which are themselves below train, val and test folders or not. It never raises.

    Splits may be above the classes or below each. A set that was unpacked one folder deeper is found there. Folders
    below a class belong to it.
    """
    where = os.fspath(path)
    if not os.path.isdir(where):
        return Listing(where, problems=(f"{where}: no such folder",))
    found = tree(where)
    images = [name for name in found.files if is_image(name)]
    top = _top(images)
    parts = [name.split("/")[top:] for name in images]
    layout = _split_above(images, parts, top) or _split_below(images, parts, top) or _unsplit(images, parts, top)
    listed = sorted(layout.images, key=lambda image: (_rank(image.split), image.kind, image.name))
    dead = sorted(set(found.dead) & {image.name for image in listed})
    listing = listing_of(where, listed, _left_out(found.files, images, listed, layout.depth), tuple(dead))
    deeper = (f"read from {'/'.join(images[0].split('/')[:top])}, the one folder with images in it",) if top else ()
    problems = remedies.of_folders(listing, found, layout.depth, top)
    return replace(listing, problems=(*problems, *listing.problems), remarks=(*deeper, *listing.remarks))


def listing_of(
    where: str, listed: Sequence[Listed], left_out: Mapping[str, Sequence[str]] | None = None,
    dead: tuple[str, ...] = (), classes: Sequence[str] | None = None,
) -> Listing:  # fmt: skip
    """The listing of images in order, with the problems and remarks that any source can have."""
    counts: dict[str, Counter] = defaultdict(Counter)
    for image in listed:
        counts[image.split][image.kind] += 1
    names = sorted({image.kind for image in listed}) if classes is None else classes
    by_split = {split: dict(of_class) for split, of_class in counts.items()}
    splits = tuple(split for split in SPLITS if split in by_split)
    found = Listing(where, splits, tuple(names), by_split, left_out or {}, images=tuple(listed), dead=dead)
    return replace(found, problems=remedies.of_images(found), remarks=remedies.remarks(found))


def is_image(name: str) -> bool:
    """Whether a name's suffix is one that is decoded here."""
    suffix = suffix_of(name)
    return suffix in IMAGE_SUFFIXES or (suffix in HEIC_SUFFIXES and can_heic())


def suffix_of(name: str) -> str:
    return os.path.splitext(name)[1].lower()


@cache
def can_heic() -> bool:
    """Whether the package is there that teaches Pillow .heic: the extra `vptcore[heic]`."""
    return find_spec("pillow_heif") is not None


def _top(images: list[str]) -> int:
    """How many folders deep the set is: further down while one folder alone has images, and none directly."""
    top = 0
    while True:
        above = {tuple(name.split("/")[: top + 1]) for name in images}
        if len(above) != 1 or any(name.count("/") < top + 2 for name in images):
            return top
        top += 1


def _split_above(images: list[str], parts: list[list[str]], top: int) -> _Layout | None:
    """train/cat/1.png. All folders must be named so, or train and test hold folders alone: a class may be `train`."""
    folders = {p[0] for p in parts if len(p) > 1}
    split = {name: split_named(name) for name in folders if split_named(name)}
    flat = {p[0] for p in parts if len(p) == 2}
    has_both = {"train", "test"} <= set(split.values()) and not flat & set(split)
    if not split or not (set(split) == folders or has_both):
        return None
    rows = zip(images, parts, strict=True)
    return _Layout([Listed(split[p[0]], p[1], name) for name, p in rows if len(p) > 2 and p[0] in split], top + 1)


def _split_below(images: list[str], parts: list[list[str]], top: int) -> _Layout | None:
    """cat/train/1.png, where every image is at that depth and more than one split is named."""
    splits = {split_named(p[1]) if len(p) > 2 else None for p in parts}
    if None in splits or len(splits) < 2:
        return None
    rows = zip(images, parts, strict=True)
    return _Layout([Listed(split_named(p[1]), p[0], name) for name, p in rows], top)


def _unsplit(images: list[str], parts: list[list[str]], top: int) -> _Layout:
    rows = zip(images, parts, strict=True)
    return _Layout([Listed(UNSPLIT, p[0], name) for name, p in rows if len(p) > 1], top)


def _rank(split: str) -> int:
    return SPLITS.index(split) if split in SPLITS else 0


def _left_out(files: list[str], images: list[str], listed: Iterable[Listed], depth: int) -> dict[str, list[str]]:
    """{suffix or another reason: names} of the files that are no listed image, the most frequent first."""
    used, are_images = {image.name for image in listed}, set(images)
    left: dict[str, list[str]] = defaultdict(list)
    for name in files:
        if name in are_images and name not in used:
            left[LOOSE if name.count("/") <= depth else FOREIGN].append(name)
        elif name not in used:
            left[suffix_of(name) or "without a suffix"].append(name)
    return dict(sorted(left.items(), key=lambda pair: (-len(pair[1]), pair[0])))
