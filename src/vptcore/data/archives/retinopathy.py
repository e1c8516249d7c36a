"""Diabetic retinopathy from Kaggle's files, with the preparation that the benchmark uses (TFDS's `btgraham-300`).

In: the images below train/ and test/, their labels in two CSV files. Out: TFDS's splits, keyed by image name; the
public half of Kaggle's test is validation, the private half is test. Each image is prepared by the worker that decodes
it: the eye is scaled to a radius of 300 pixels, its local mean taken away, and what is outside 90 % of the radius made
grey. Imports no torch.

    python -m pytest tests/data/test_archives_retinopathy.py
"""

from __future__ import annotations

import csv
import io
from functools import lru_cache
from pathlib import Path, PurePosixPath

import numpy as np
from PIL import Image as Pillow

from vptcore.data.archives.files import Entries, entries
from vptcore.data.archives.order import Original, Part
from vptcore.data.archives.resize import resized
from vptcore.data.decode import to_rgb
from vptcore.data.items import Deferred, Image, Request, load

RADIUS, KEPT, QUALITY = 300, 0.9, 72
BLUR = RADIUS / 30
NAMES = ("no retinopathy", "mild", "moderate", "severe", "proliferative")
PREPARED = (
    "images are prepared as TFDS's btgraham-300, but by this package: equal but for rounding and the JPEG encoder"
)
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
    pixels_HW3 = to_rgb(load(image))
    scaled_HW3 = resized(pixels_HW3, RADIUS / _radius(pixels_HW3))
    detail_HW3 = np.clip(4 * (scaled_HW3.astype(np.float32) - np.rint(_blurred(scaled_HW3))) + 128, 0, 255)
    buffer = io.BytesIO()
    Pillow.fromarray(_cropped(detail_HW3.astype(np.uint8))).save(buffer, "JPEG", quality=QUALITY)
    return buffer.getvalue()


def _radius(pixels_HW3: np.ndarray) -> float:
    """Half the bright part of the middle row; half the height where that row is dark."""
    brightness_W = pixels_HW3[len(pixels_HW3) // 2].sum(axis=1, dtype=np.int64)
    radius = (brightness_W > brightness_W.mean() / 10).sum() / 2
    return radius if radius >= 1 else len(pixels_HW3) / 2


def _blurred(pixels_HW3: np.ndarray) -> np.ndarray:
    """The local mean, float32: a Gaussian over both axes, as two matrix products."""
    height, width = pixels_HW3.shape[:2]
    rows_HWC = (_blur(height) @ pixels_HW3.reshape(height, -1).astype(np.float32)).reshape(height, width, 3)
    columns_WHC = _blur(width) @ rows_HWC.swapaxes(0, 1).reshape(width, -1)
    return columns_WHC.reshape(width, height, 3).swapaxes(0, 1)


@lru_cache(maxsize=64)
def _blur(length: int) -> np.ndarray:
    """The blur of a line of pixels as a matrix, (length, length)."""
    from scipy.ndimage import gaussian_filter1d

    # OpenCV's kernel for 8 bits reaches three sigmas; its border is mirrored about the last pixel.
    return gaussian_filter1d(np.eye(length, dtype=np.float32), BLUR, axis=0, mode="mirror", truncate=3.0)


def _cropped(pixels_HW3: np.ndarray) -> np.ndarray:
    """What is inside 90 % of the radius, grey around it, cut to the circle's square."""
    height, width = pixels_HW3.shape[:2]
    y, x, radius = height // 2, width // 2, int(RADIUS * KEPT)
    outside_HW = np.hypot(np.arange(height)[:, None] - y, np.arange(width) - x) > radius
    pixels_HW3[outside_HW] = 128
    return pixels_HW3[max(y - radius, 0) : y + radius, max(x - radius, 0) : x + radius]
