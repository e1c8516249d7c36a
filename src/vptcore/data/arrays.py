"""A task's images, decoded and resized once: one uint8 array on disk and one index row per image.

In: a job (task, source, path, classes, size, max_pool, seed, version, workers). Out: `images.npy`, uint8 (N, H, W, C),
to be memory-mapped, and rows of kind `index` in the same order. Images that all have one size no larger than the
model's input stay as they are, for the model to resize on its device; all others are resized here. Imports no torch.

    python -m pytest tests/data/test_arrays.py
"""

from __future__ import annotations

import hashlib
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import BinaryIO, TypeVar

import numpy as np

from vptcore import records
from vptcore.data.decode import is_grey, resize_bilinear, to_rgb
from vptcore.data.items import SPLITS, Item, Request, load
from vptcore.data.sources import open_source
from vptcore.data.tasks import TASKS

In, Out = TypeVar("In"), TypeVar("Out")


@dataclass(frozen=True)
class Decoded:
    """One image as it is stored, with its item, its size in the source and whether its channels are equal."""

    item: Item
    pixels_HW3: np.ndarray
    width: int
    height: int
    grey: bool


@dataclass(frozen=True)
class Stored:
    """What one pass over a source wrote: the index rows, the array's shape, and whether images kept their own size."""

    rows: list[dict]
    shape_NHWC: tuple[int, int, int, int]
    native: bool
    substitutes: tuple[str, ...] = ()


class _OtherSize(Exception):
    """Images are too large or not of one size, so that a pass that keeps them as they are has to stop."""


def prepare(job: dict, images_path: Path | str, index_path: Path | str) -> str:
    """Decode a task's images into `images_path` and `index_path`; return a summary of one line.

    At most `max_pool` train images are kept, the first ones, and all val and test images. The array and the rows are
    the same for any number of `workers`. Raises ValueError (one line) for a missing path, a broken image or a wrong
    label.
    """
    started = time.time()
    with records.replacing(images_path) as beside:
        try:
            stored = _write(job, beside, native=True)
        except _OtherSize:
            stored = _write(job, beside, native=False)
    seconds = time.time() - started
    notes = audit(stored.rows, job)
    decides = {key: value for key, value in job.items() if key != "workers"}
    more = {"shape": list(stored.shape_NHWC), "native": stored.native, "substitutes": list(stored.substitutes), **notes}
    inputs = {"source": job["path"]} if job["path"] and Path(job["path"]).is_file() else {}
    records.write_rows(index_path, "index", stored.rows, records.provenance(decides, inputs, started=started, **more))
    return _summary(stored, notes, seconds)


def _write(job: dict, path: Path, *, native: bool) -> Stored:
    """Write one .npy file, image after image. `native` keeps sizes, and one channel where every image is grey."""
    path_given = Path(job["path"]) if job["path"] else None
    request = Request(job["task"], job["classes"], path_given, job["seed"], job["max_pool"])
    source = open_source(job["source"], request)
    decode = partial(_decode, where=source.where, size=job["size"], native=native)
    rows, shape_HWC, all_grey = [], (), True
    workers = max(1, int(job.get("workers", 1)))
    with ThreadPoolExecutor(workers) as pool, open(path, "wb") as file:
        _write_header(file, (0, job["size"], job["size"], 3))
        for image in _in_order(pool, decode, source.items, ahead=4 * workers):
            shape_HWC = shape_HWC or image.pixels_HW3.shape
            if image.pixels_HW3.shape != shape_HWC:
                raise _OtherSize
            all_grey &= image.grey
            file.write(image.pixels_HW3.tobytes())
            rows.append(_row(len(rows), image, job["source"], source.class_names))
        if not rows:
            raise ValueError(f"{source.where}: no images found for {job['task']}")
        _write_header(file, (len(rows), *shape_HWC))
    stored = Stored(rows, (len(rows), *shape_HWC), native, tuple(source.substitutes))
    return _keep_one_channel(path, stored) if native and all_grey else stored


def _decode(item: Item, where: str, size: int, native: bool) -> Decoded:
    try:
        pixels_HW3 = to_rgb(load(item.image))
    except ValueError as error:
        raise ValueError(f"{where}: image {item.key} cannot be decoded ({error}); replace it or take it out") from None
    height, width = pixels_HW3.shape[:2]
    if native and max(height, width) > size:
        raise _OtherSize
    grey = native and is_grey(pixels_HW3)
    return Decoded(item, pixels_HW3 if native else resize_bilinear(pixels_HW3, size), width, height, grey)


def _row(row: int, image: Decoded, source: str, class_names: tuple[str, ...]) -> dict:
    item, label = image.item, int(image.item.label)
    return {
        "row": row, "split": item.split, "label": label, "class_name": class_names[label], "key": item.key,
        "source": source, "sha256": _sha256(image.pixels_HW3), "width": image.width, "height": image.height,
    }  # fmt: skip


def _keep_one_channel(path: Path, stored: Stored) -> Stored:
    """Rewrite an array of grey images with one channel; the hashes follow the stored pixels."""
    grey_NHW1 = np.load(path, mmap_mode="r")[..., :1]
    with records.replacing(path) as beside, open(beside, "wb") as file:
        _write_header(file, grey_NHW1.shape)
        for row, image_HW1 in zip(stored.rows, grey_NHW1, strict=True):
            file.write(image_HW1.tobytes())
            row["sha256"] = _sha256(image_HW1)
    return replace(stored, shape_NHWC=grey_NHW1.shape)


def _write_header(file: BinaryIO, shape: tuple[int, ...]) -> None:
    """The .npy header at the file's start. numpy pads it so that it has one length however many rows there are."""
    file.seek(0)
    np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": shape})


def _sha256(pixels: np.ndarray) -> str:
    return hashlib.sha256(pixels.tobytes()).hexdigest()


def _in_order(pool: Executor, work: Callable[[In], Out], items: Iterable[In], ahead: int) -> Iterator[Out]:
    """`map` over a pool that holds no more than `ahead` items at a time."""
    waiting: deque = deque()
    for item in items:
        waiting.append(pool.submit(work, item))
        if len(waiting) >= ahead:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


def audit(rows: list[dict], job: dict) -> dict:
    """What a reader of the results should know of the images: counts, absent classes, duplicates, an odd test size.

    `duplicates` counts the images of the second split whose pixels also occur in the first.
    """
    by_split = {split: [row for row in rows if row["split"] == split] for split in SPLITS}
    hashes = {split: {row["sha256"] for row in part} for split, part in by_split.items()}
    labels = {split: {row["label"] for row in part} for split, part in by_split.items()}
    pairs = (("train", "val"), ("train", "test"), ("val", "test"))
    expected = _expected_test(job)
    return {
        "counts": {split: len(part) for split, part in by_split.items()},
        "absent_classes": {s: sorted(set(range(job["classes"])) - found) for s, found in labels.items() if found},
        "duplicates": {f"{a}-{b}": sum(row["sha256"] in hashes[a] for row in by_split[b]) for a, b in pairs},
        "capped": len(by_split["train"]) == job["max_pool"],
        "test_expected": expected if expected and expected != len(by_split["test"]) else None,
    }


def _expected_test(job: dict) -> int:
    """The number of test images of a known task; 0 for a task, or a source, of one's own."""
    task = TASKS.get(job["task"])
    return task.test if task and (task.group != "fgvc" and job["source"] in (task.source, "vtab1k")) else 0


def _summary(stored: Stored, notes: dict, seconds: float) -> str:
    count, height, width, channels = stored.shape_NHWC
    parts = [f"{n:,} {split}" for split, n in notes["counts"].items() if n]
    parts.append(f"{len({row['label'] for row in stored.rows})} classes")
    parts.append(f"{height}x{width}x{channels} {'kept native' if stored.native else 'resized'}")
    parts.append(f"{count / max(seconds, 1e-3):,.0f} img/s")
    if absent := {split: len(classes) for split, classes in notes["absent_classes"].items() if classes}:
        parts.append("absent classes: " + ", ".join(f"{n} in {split}" for split, n in absent.items()))
    parts += [f"{n} duplicates {pair}" for pair, n in notes["duplicates"].items() if n]
    if notes["test_expected"]:
        parts.append(f"{notes['test_expected']:,} test images expected")
    return ", ".join(parts)
