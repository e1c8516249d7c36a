"""The records that every reader of images speaks: what is asked of a source, what it gives, image by image.

In: a `Request` (task, number of classes, path). Out: a `Source` with class names and `Item`s of key, split, label and
image, read once and lazily. `sources.READERS` has the readers; one more is one more function from `Request` to
`Source`.

    python -m pytest tests/vptcore/data/test_sources.py
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

SPLITS = ("train", "val", "test")
UNSPLIT = "all"  # the split of images whose test set is still to be drawn
# In lower case: what a folder, a column or a file name may call them.
SPLIT_NAMES = {
    "train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val", "dev": "val",
    "test": "test", "testing": "test",
}  # fmt: skip
IMAGE_SUFFIXES = frozenset((
    ".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm", ".avif", ".jp2",
))  # fmt: skip
HEIC_SUFFIXES = frozenset((".heic", ".heif"))  # with pillow-heif


@dataclass(frozen=True)
class Range:
    """An encoded image inside a larger file, such as an uncompressed tar: `size` bytes from `start` on."""

    path: Path
    start: int
    size: int


@dataclass(frozen=True)
class Deferred:
    """An image that the worker gets by `make(*arguments)`: bytes or pixels. Both pickle, so any worker can."""

    make: Callable[..., bytes | np.ndarray]
    arguments: tuple


Image = bytes | np.ndarray | Path | Range | Deferred


@dataclass(frozen=True)
class Item:
    """One image: an encoded file's bytes, pixels as uint8 (H, W, 1 or 3), or where they are to be had.

    A `Path`, a `Range` or a `Deferred` is opened by the worker that decodes it, so it costs nothing to skip and is read
    in parallel.
    """

    key: str
    split: str
    label: int
    image: Image


@dataclass(frozen=True)
class Request:
    """What is wanted of a source. `seed` draws splits that a source does not have; `max_train` caps train images."""

    task: str
    classes: int
    path: Path | None = None
    seed: int = 0
    max_train: int | None = None


@dataclass(frozen=True)
class Source:
    """An opened source: where it is, what its classes are called, and its items, to be read once.

    `substitutes` says, one short line each, where the images or splits are not the benchmark's own ("images are lossy
    JPEG: ..."). It goes into the index file's metadata and from there to every table and caption that uses the task.
    It is looked at after the last item, so a reader may give a list that it extends while it yields. `left_out` are the
    files that are no item, by reason, and `remarks` what is worth knowing of a person's own images.
    """

    where: str
    class_names: tuple[str, ...]
    items: Iterator[Item]
    substitutes: Sequence[str] = ()
    left_out: Mapping[str, Sequence[str]] = field(default_factory=dict)
    remarks: Sequence[str] = ()


def load(image: Image) -> bytes | np.ndarray:
    """An item's image with the bytes read. Raises ValueError (one line) for a file that is gone or too short."""
    if isinstance(image, Deferred):
        return image.make(*image.arguments)
    if not isinstance(image, Path | Range):
        return image
    try:
        if isinstance(image, Path):
            return image.read_bytes()
        with open(image.path, "rb") as file:
            file.seek(image.start)
            data = file.read(image.size)
    except OSError as error:
        path = image if isinstance(image, Path) else image.path
        raise ValueError(f"{path} cannot be read: {error.strerror}") from None
    if len(data) < image.size:
        raise ValueError(f"{image.path} ends after {len(data)} of {image.size} bytes")
    return data


def read_text(path: Path) -> str:
    """The whole of a list that comes with images. Raises ValueError (one line) where it is no text."""
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise ValueError(f"{path}: line {line} is not text in UTF-8; fetch or write the file again") from None


def split_named(name: object) -> str | None:
    """train, val or test for what people call them, in any case; None for any other name."""
    return SPLIT_NAMES.get(name.lower()) if isinstance(name, str) else None


def whole_number(text: str, at: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise ValueError(f"{at}: label {text.strip()!r} is not a whole number") from None


def numbered(classes: int) -> tuple[str, ...]:
    """Class names where a source has none: '0', '1', ..."""
    return tuple(str(label) for label in range(classes))


def drawn_splits(count: int, test: int, seed: int) -> list[str]:
    """The split of each of `count` rows, `test` of them drawn at random to be scored."""
    splits = np.full(count, "train", dtype=object)
    splits[np.random.default_rng(seed).permutation(count)[:test]] = "test"
    return splits.tolist()


def by_name(names: Sequence, seed: int) -> np.ndarray:
    """The rows in a random order that each name decides for itself, by a hash: one more leaves the others in theirs."""
    marks = [hashlib.sha256(f"{seed} {name}".encode(errors="surrogateescape")).digest() for name in names]
    return np.array(sorted(range(len(marks)), key=marks.__getitem__), dtype=int)


def drawn_of_each(labels: Sequence[int], share: float, seed: int, names: Sequence) -> list[int]:
    """The rows of a random `share` of every class: at least one of a class that has two, none of a class of one.

    Drawn by the rows' names (`by_name`), so that one more image changes two rows at most, one that comes and one that
    goes.
    """
    labels_N, order_N = np.asarray(labels), by_name(names, seed)
    drawn: list[int] = []
    for label in np.unique(labels_N):
        of_class = order_N[labels_N[order_N] == label]
        drawn += of_class[: count_of_each(len(of_class), share)].tolist()
    return sorted(drawn)


def count_of_each(images: int, share: float) -> int:
    """How many of a class's images `drawn_of_each` draws."""
    return min(max(round(images * share), 1), images - 1) if images else 0


def spread(labels: Sequence[int], seed: int, names: Sequence) -> np.ndarray:
    """A random order of the rows, by their names, whose every beginning has about the same share of each class.

    It begins with one image of every class; the n-th image of a class of N comes at n / N of the way.
    """
    labels_N, order_N = np.asarray(labels), by_name(names, seed)
    at_N = np.empty(len(labels_N))
    for label in np.unique(labels_N):
        of_class = np.flatnonzero(labels_N[order_N] == label)
        at_N[of_class] = np.arange(len(of_class)) / len(of_class)
    return order_N[np.argsort(at_N, kind="stable")]


def capped(parts: Iterable[tuple], request: Request) -> Iterator[tuple]:
    """Leave out the train images beyond `max_train`, so that they are not read either."""
    train = 0
    for split, value in parts:
        train += split == "train"
        if split != "train" or request.max_train is None or train <= request.max_train:
            yield split, value
