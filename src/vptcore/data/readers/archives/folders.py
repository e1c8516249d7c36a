"""Data sets that are one folder of images per class: EuroSAT, RESISC45 and Caltech101.

In: the found archive or folder. Out: the class names and TFDS's splits, keyed as TFDS keys them.

    python -m pytest tests/vptcore/data/test_archives_folders.py
"""

from __future__ import annotations

from pathlib import Path, PurePosixPath

import numpy as np

from vptcore.data.item import Request
from vptcore.data.readers.archives.files import Entries, entries, extracted
from vptcore.data.readers.archives.order import Original, Part

CALTECH_TRAIN, CALTECH_SEED = 30, 1234  # images of a class, and TFDS's seed for them
CALTECH_DRAWN = (
    "train and test are drawn by TFDS's rule and seed, but over sorted names: TFDS drew over the order of a file system"
)
CALTECH_INNER = "101_ObjectCategories.tar.gz"

Row = tuple[str, str, str]  # class, file name, name in the archive


def _rows(path: Path, files: Entries, suffix: str) -> list[Row]:
    """Every image below a class folder, sorted."""
    rows = []
    for name in sorted(files):
        parts = PurePosixPath(name).parts
        if len(parts) >= 2 and parts[-1].lower().endswith(suffix):
            rows.append((parts[-2], parts[-1], name))
    if not rows:
        raise ValueError(f"{path}: no {suffix} below class folders in it; this is not the original archive")
    return rows


def _class_folders(request: Request, found: dict[str, Path]) -> Original:
    """One split; TFDS's key is class and file name with a line between them."""
    (path,) = found.values()
    files = entries(path)
    rows = _rows(path, files, ".jpg")
    classes = tuple(sorted({row[0] for row in rows}))
    label = {name: number for number, name in enumerate(classes)}
    keys = [f"{folder}_{file}" for folder, file, _ in rows]
    part = Part(str(path), keys, [label[row[0]] for row in rows], lambda row: files[rows[row][2]])
    return Original(classes, {"train": part})


eurosat = resisc45 = _class_folders


def caltech101(request: Request, found: dict[str, Path]) -> Original:
    """Objects, and a class of background; 30 images of each class are train."""
    (path,) = found.values()
    path, files = _inner(path)
    rows = [row for row in _rows(path, files, ".jpg") if row[1].startswith("image_")]
    classes = sorted({row[0] for row in rows}, key=str.lower)
    draw = np.random.RandomState(CALTECH_SEED)
    picked: set[str] = set()
    by_class = {name: [row[2] for row in rows if row[0] == name] for name in classes}
    for name, images in by_class.items():
        if len(images) < CALTECH_TRAIN:
            raise ValueError(f"{path}: class {name!r} has {len(images)} images; expected at least {CALTECH_TRAIN}")
        picked.update(draw.choice(images, CALTECH_TRAIN, replace=False).tolist())
    label = {name: number for number, name in enumerate(classes)}
    parts = {}
    for split in ("train", "test"):
        chosen = [row for row in rows if (row[2] in picked) == (split == "train")]
        keys = [f"{folder}/{file}" for folder, file, _ in chosen]
        labels = [label[row[0]] for row in chosen]
        parts[split] = Part(str(path), keys, labels, lambda row, chosen=chosen: files[chosen[row][2]])
    return Original(tuple(name.lower() for name in classes), parts, (CALTECH_DRAWN,))


def _inner(path: Path) -> tuple[Path, Entries]:
    """The archive of images, which the owners give inside a zip."""
    files = entries(path)
    inner = next((name for name in files if PurePosixPath(name).name == CALTECH_INNER), None)
    if inner is None:
        return path, files
    tar = path / inner if path.is_dir() else extracted(path, inner)
    return tar, entries(tar)
