"""The benchmark's rows of an original archive: which of them are train, val and test, and in which order.

VTAB-1k takes its rows by number from TensorFlow Datasets (train800 is `train[:800]`), and TFDS stores the rows of a
split in the order of md5(split name + row key) (tensorflow_datasets core/shuffle.py, core/hashing.py). So the very rows
follow from the keys that TFDS gives them, which are file names or row numbers. In: each split's keys, labels and
images, in any order. Out: `Item`s in the benchmark's order.

    python -m pytest tests/vptcore/data/test_archives_order.py
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from vptcore.data import vtab
from vptcore.data.item import Image, Item, Request


@dataclass(frozen=True)
class Part:
    """One split of TFDS: its rows' keys, labels, and each one's image by number. `where` is the file the rows are of.

    `image` is called once for each row that is wanted, in the benchmark's order; `take` is told those rows before, all
    at once, for a file that is better read from front to back.
    """

    where: str
    keys: Sequence[str | int]
    labels: Sequence[int]
    image: Callable[[int], Image]
    take: Callable[[np.ndarray], None] | None = None


@dataclass(frozen=True)
class Original:
    """What a reader gives: the class names, the splits of TFDS, and what is not the benchmark's own, in short lines."""

    class_names: tuple[str, ...]
    parts: dict[str, Part]
    substitutes: tuple[str, ...] = ()


def shuffled(split: str, keys: Sequence[str | int]) -> np.ndarray:
    """The rows' numbers in TFDS's order. `split` is TFDS's name of it, which salts the hash."""
    salt = hashlib.md5(split.encode(), usedforsecurity=False)
    digests = []
    for key in keys:
        md5 = salt.copy()
        md5.update(str(key).encode())
        digests.append(md5.digest())
    halves_N2 = np.frombuffer(b"".join(digests), ">u8").reshape(-1, 2)
    return np.lexsort((halves_N2[:, 1], halves_N2[:, 0]))


def check(original: Original) -> None:
    """Raise ValueError (one line) for a key that occurs twice, a label out of range, or a class without images."""
    names = original.class_names
    for part in original.parts.values():
        if len(part.keys) != len(part.labels):
            raise ValueError(f"{part.where}: {len(part.keys):,} images but {len(part.labels):,} labels")
        if len(set(part.keys)) < len(part.keys):
            seen: set = set()
            twice = next(key for key in part.keys if key in seen or seen.add(key))
            raise ValueError(f"{part.where}: {_named(twice)} is there twice; this is not the original file")
        labels = np.asarray(part.labels, dtype=np.int64)
        wrong = np.flatnonzero((labels < 0) | (labels >= len(names)))
        if len(wrong):
            row = int(wrong[0])
            expected = f"expected 0 to {len(names) - 1}"
            raise ValueError(f"{part.where}: {_named(part.keys[row])} has label {labels[row]}; {expected}")
        absent = sorted(set(range(len(names))) - set(labels.tolist()))
        if absent:
            some = ", ".join(repr(names[label]) for label in absent[:3])
            raise ValueError(f"{part.where}: no image of class {some} ({len(absent)} of {len(names)} classes absent)")


def _named(key: str | int) -> str:
    return key if isinstance(key, str) else f"row {key}"


def odd_sizes(task: str, parts: Mapping[str, Part]) -> list[str]:
    """A line for each split of TFDS that has another number of rows here."""
    return [
        f"{len(parts[split].keys):,} images, TFDS has {count:,} in {split}: the rows are not the benchmark's"
        for split, count in vtab.ROWS[task].rows.items()
        if len(parts[split].keys) != count
    ]


def rows(task: str, parts: Mapping[str, Part], max_train: int | None = None) -> Iterator[tuple[str, str, np.ndarray]]:
    """(split here, split of TFDS, row numbers in the benchmark's order) for train, val and test."""
    cuts = vtab.ROWS[task].cuts
    orders = {split: shuffled(split, parts[split].keys) for split in {source for source, _, _ in cuts.values()}}
    for split, (source, low, high) in cuts.items():
        order = orders[source]
        picked = order[len(order) * low // 100 : len(order) * high // 100]
        yield split, source, picked[:max_train] if split == "train" else picked


def items(request: Request, parts: Mapping[str, Part]) -> Iterator[Item]:
    """The benchmark's images in its order, at most `request.max_train` of train."""
    for split, source, numbers in rows(request.task, parts, request.max_train):
        part = parts[source]
        if part.take:
            part.take(numbers)
        for row in numbers.tolist():
            yield Item(f"{source}/{part.keys[row]}", split, int(part.labels[row]), part.image(row))
