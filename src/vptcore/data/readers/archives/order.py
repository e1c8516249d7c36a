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

from vptcore.data.item import Image, Item, Request

# split here: (split of TFDS, from and to in per cent of its rows). google-research/task_adaptation data/*.py
Cuts = dict[str, tuple[str, int, int]]
OWN: Cuts = {"train": ("train", 0, 100), "val": ("validation", 0, 100), "test": ("test", 0, 100)}
NINETY: Cuts = {"train": ("train", 0, 90), "val": ("train", 90, 100), "test": ("test", 0, 100)}
EIGHTY: Cuts = NINETY | {"train": ("train", 0, 80), "val": ("train", 80, 100)}
SIXTY: Cuts = {"train": ("train", 0, 60), "val": ("train", 60, 80), "test": ("train", 80, 100)}
CLEVR: Cuts = NINETY | {"test": ("validation", 0, 100)}
DSPRITES: Cuts = {"train": ("train", 0, 80), "val": ("train", 80, 90), "test": ("train", 90, 100)}
SMALLNORB: Cuts = {"train": ("train", 0, 100), "val": ("test", 0, 50), "test": ("test", 50, 100)}

# task: its cuts, and how many rows TFDS has in each of its splits.
SPLITS: dict[str, tuple[Cuts, dict[str, int]]] = {
    "cifar100": (NINETY, {"train": 50_000, "test": 10_000}),
    "caltech101": (NINETY, {"train": 3_060, "test": 6_084}),
    "dtd": (OWN, {"train": 1_880, "validation": 1_880, "test": 1_880}),
    "oxford_flowers102": (OWN, {"train": 1_020, "validation": 1_020, "test": 6_149}),
    "oxford_iiit_pet": (EIGHTY, {"train": 3_680, "test": 3_669}),
    "svhn": (NINETY, {"train": 73_257, "test": 26_032}),
    "sun397": (OWN, {"train": 76_128, "validation": 10_875, "test": 21_750}),
    "patch_camelyon": (OWN, {"train": 262_144, "validation": 32_768, "test": 32_768}),
    "eurosat": (SIXTY, {"train": 27_000}),
    "resisc45": (SIXTY, {"train": 31_500}),
    "diabetic_retinopathy": (OWN, {"train": 35_126, "validation": 10_906, "test": 42_670}),
    "clevr_count": (CLEVR, {"train": 70_000, "validation": 15_000}),
    "clevr_distance": (CLEVR, {"train": 70_000, "validation": 15_000}),
    "dmlab": (OWN, {"train": 65_550, "validation": 22_628, "test": 22_735}),
    "kitti_distance": (OWN, {"train": 6_347, "validation": 423, "test": 711}),
    "dsprites_location": (DSPRITES, {"train": 737_280}),
    "dsprites_orientation": (DSPRITES, {"train": 737_280}),
    "smallnorb_azimuth": (SMALLNORB, {"train": 24_300, "test": 24_300}),
    "smallnorb_elevation": (SMALLNORB, {"train": 24_300, "test": 24_300}),
}


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
    expected = SPLITS[task][1]
    return [
        f"{len(parts[split].keys):,} images, TFDS has {count:,} in {split}: the rows are not the benchmark's"
        for split, count in expected.items()
        if len(parts[split].keys) != count
    ]


def rows(task: str, parts: Mapping[str, Part], max_train: int | None = None) -> Iterator[tuple[str, str, np.ndarray]]:
    """(split here, split of TFDS, row numbers in the benchmark's order) for train, val and test."""
    cuts, _ = SPLITS[task]
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
