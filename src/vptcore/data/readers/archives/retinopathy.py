"""Diabetic retinopathy from Kaggle's files, with the preparation that the benchmark uses (TFDS's `btgraham-300`).

In: the images below train/ and test/, their labels in two CSV files. Out: TFDS's splits, keyed by image name; the
public half of Kaggle's test is validation, the private half is test. Each image is prepared by the worker that decodes
it: the eye is scaled to a radius of 300 pixels, its local mean taken away, and what is outside 90 % of the radius made
grey.

    python -m pytest tests/vptcore/data/test_archives_retinopathy.py
"""

from __future__ import annotations

import csv
import io
from pathlib import Path, PurePosixPath

import numpy as np
from PIL import Image as Pillow

from vptcore.data.decode import opencv, to_rgb
from vptcore.data.item import Deferred, Image, Request, load
from vptcore.data.readers.archives.files import Entries, entries
from vptcore.data.readers.archives.order import Original, Part
from vptcore.data.readers.archives.resize import resized

RADIUS, KEPT, QUALITY = 300, 0.9, 72
BLUR = RADIUS / 30
NAMES = ("no retinopathy", "mild", "moderate", "severe", "proliferative")
PREPARED = "images are prepared as TFDS's btgraham-300, but by this package: equal but for OpenCV's and JPEG's versions"
SPLITS = {"train": ("train", "trainLabels.csv", None), "validation": ("test", "retinopathy_solution.csv", "Public"),
          "test": ("test", "retinopathy_solution.csv", "Private")}  # fmt: skip


def diabetic_retinopathy(request: Request, found: dict[str, Path]) -> Original:
    files = {name: _images(found[f"{name}.zip"], name) for name in ("train", "test")}
    parts = {}
    for split, (folder, listed, usage) in SPLITS.items():
        path = found[listed]
        names, labels = _labels(path, usage)
        for name in names:
            if name not in files[folder]:
                raise ValueError(
                    f"{found[f'{folder}.zip']}: no image {folder}/{name}.jpeg, which {listed} has a label of"
                )
        parts[split] = Part(f"{path}: {usage or 'all'}", names, labels, _deferred(files[folder], names))
    return Original(NAMES, parts, (PREPARED,))


def _deferred(files: Entries, names: list[str]):
    return lambda row: Deferred(prepared, (files[names[row]],))


def _images(path: Path, folder: str) -> Entries:
    """{image name: entry} of train or test; an unpacked folder has both below it."""
    own = {name: entry for name, entry in entries(path).items() if name.lower().endswith(".jpeg")}
    inside = {name: entry for name, entry in own.items() if PurePosixPath(name).parent.name == folder}
    return {PurePosixPath(name).stem: entry for name, entry in (inside or own).items()}


def _labels(path: Path, usage: str | None) -> tuple[list[str], list[int]]:
    """Names and grades of a CSV with the columns image and level; those of one Usage if it is given."""
    names, labels = [], []
    with open(path, newline="", encoding="utf-8", errors="replace") as file:
        reader = csv.DictReader(file)
        wanted = {"image", "level"} | ({"Usage"} if usage else set())
        if lacking := wanted - set(reader.fieldnames or ()):
            raise ValueError(
                f"{path}: no column {' or '.join(sorted(lacking))}; found {', '.join(reader.fieldnames or ())}"
            )
        for row, line in enumerate(reader, start=2):
            if usage and line["Usage"] != usage:
                continue
            level = line["level"] or ""
            if not level.isdigit() or int(level) >= len(NAMES):
                raise ValueError(
                    f"{path}: line {row}: level {level!r} of {line['image']!r}; expected 0 to {len(NAMES) - 1}"
                )
            names.append(line["image"])
            labels.append(int(level))
    return names, labels


def prepared(image: Image) -> bytes:
    """A JPEG of one eye as TFDS's btgraham-300 has it."""
    buffer = io.BytesIO()
    Pillow.fromarray(evened(to_rgb(load(image)))).save(buffer, "JPEG", quality=QUALITY)
    return buffer.getvalue()


def evened(pixels_HW3: np.ndarray) -> np.ndarray:
    """One eye at a radius of 300 pixels without its local mean: uint8, (540, 540, 3) or less."""
    scaled_HW3 = resized(pixels_HW3, RADIUS / _radius(pixels_HW3))
    mean_HW3 = opencv().GaussianBlur(scaled_HW3, (0, 0), BLUR)
    return _cropped(opencv().addWeighted(scaled_HW3, 4, mean_HW3, -4, 128))


def _radius(pixels_HW3: np.ndarray) -> float:
    """Half the bright part of the middle row; half the height where that row is dark."""
    brightness_W = pixels_HW3[len(pixels_HW3) // 2].sum(axis=1, dtype=np.int64)
    radius = (brightness_W > brightness_W.mean() / 10).sum() / 2
    return radius if radius >= 1 else len(pixels_HW3) / 2


def _cropped(pixels_HW3: np.ndarray) -> np.ndarray:
    """What is inside 90 % of the radius, grey around it, cut to the circle's square."""
    height, width = pixels_HW3.shape[:2]
    y, x, radius = height // 2, width // 2, int(RADIUS * KEPT)
    inside_HW = opencv().circle(np.zeros((height, width), np.uint8), (x, y), radius, color=1, thickness=-1)
    pixels_HW3[inside_HW == 0] = 128
    return pixels_HW3[max(y - radius, 0) : y + radius, max(x - radius, 0) : x + radius]
