"""CIFAR-100 from its owners' archive: the python version (pickles, read as plain data) or the binary one.

In: the found archive or folder. Out: the class names and TFDS's splits, keyed by row number. TFDS reads the binary
version; the python version has the same images in the same order.

    python -m pytest tests/vptcore/data/test_archives_cifar.py
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from vptcore.data.item import Request
from vptcore.data.readers.archives import pickles
from vptcore.data.readers.archives.files import Entries, entries, read
from vptcore.data.readers.archives.order import Original, Part

SIDE = 32
PIXELS = 3 * SIDE * SIDE
RECORD = 2 + PIXELS  # coarse label, fine label, then red, green and blue


def cifar100(request: Request, found: dict[str, Path]) -> Original:
    (path,) = found.values()
    files = {Path(name).name: entry for name, entry in entries(path).items()}
    names, batch = (_python_names, _python_batch) if "meta" in files else (_binary_names, _binary_batch)
    parts = {}
    for split in ("train", "test"):
        labels_N, pixels_NHW3 = batch(files, split, path)
        parts[split] = Part(f"{path}: {split}", range(len(labels_N)), labels_N, pixels_NHW3.__getitem__)
    return Original(names(files, path), parts)


def _member(files: Entries, name: str, path: Path) -> bytes:
    if name not in files:
        raise ValueError(f"{path}: no {name} in it; expected cifar-100-python or cifar-100-binary, whole")
    return read(files[name], f"{path}: {name}")


def _images(flat_ND: np.ndarray) -> np.ndarray:
    return flat_ND.reshape(-1, 3, SIDE, SIDE).transpose(0, 2, 3, 1)


def _python_names(files: Entries, path: Path) -> tuple[str, ...]:
    where = f"{path}: meta"
    names = pickles.load(_member(files, "meta", path), where).get("fine_label_names")
    if not isinstance(names, list) or not all(isinstance(name, bytes | str) for name in names):
        raise ValueError(f"{where}: no list of fine_label_names in it")
    return tuple(name.decode("latin-1") if isinstance(name, bytes) else name for name in names)


def _python_batch(files: Entries, split: str, path: Path) -> tuple[np.ndarray, np.ndarray]:
    where = f"{path}: {split}"
    batch = pickles.load(_member(files, split, path), where)
    data, labels = batch.get("data"), batch.get("fine_labels")
    if not isinstance(data, np.ndarray) or data.ndim != 2 or data.shape[1] != PIXELS or not isinstance(labels, list):
        raise ValueError(f"{where}: expected data of {PIXELS} bytes a row and a list of fine_labels")
    for row, label in enumerate(labels):
        if type(label) is not int or not 0 <= label < 2**31:
            raise ValueError(f"{where}: row {row}: label {label!r} is not a whole number from 0")
    if len(labels) != len(data):
        raise ValueError(f"{where}: {len(data):,} images but {len(labels):,} labels")
    return np.asarray(labels), _images(data)


def _binary_names(files: Entries, path: Path) -> tuple[str, ...]:
    return tuple(_member(files, "fine_label_names.txt", path).decode("latin-1").split())


def _binary_batch(files: Entries, split: str, path: Path) -> tuple[np.ndarray, np.ndarray]:
    data = _member(files, f"{split}.bin", path)
    if len(data) % RECORD:
        raise ValueError(f"{path}: {split}.bin has {len(data):,} bytes, not a multiple of {RECORD}; download it again")
    rows_ND = np.frombuffer(data, np.uint8).reshape(-1, RECORD)
    return rows_ND[:, 1], _images(rows_ND[:, 2:])
