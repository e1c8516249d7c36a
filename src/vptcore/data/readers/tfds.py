"""The VTAB tasks from tensorflow_datasets, where a person has it: the very images, order and splits of the benchmark.

In: a task and the folder that holds the prepared data sets (tfds's `data_dir`). Out: items in tfds's own order; val is
the benchmark's own rows. Nothing is downloaded here, and shuffling is off.

    pip install tensorflow-datasets tensorflow-cpu
    python -m pytest tests/vptcore/data/test_tfds.py
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np

from vptcore.data import vtab
from vptcore.data.item import SPLITS, Item, Request, Source, numbered
from vptcore.data.reader import Reader
from vptcore.data.readers import labels

INSTALL = "pip install tensorflow-datasets tensorflow-cpu, or choose another source (docs/data.md)"
Label = Callable[[dict], int]


def _dsprites(record: dict, name: str, classes: int) -> int:
    return int(labels.dsprites_bins(int(record[name]), classes))


# The rule from a record to a class, where it is not the record's own label.
RULES: dict[str, Label] = {
    "clevr_count": lambda record: labels.clevr_count(len(record["objects"]["size"])),
    "clevr_distance": lambda record: labels.clevr_distance(record["objects"]["pixel_coords"]),
    "kitti_distance": lambda record: labels.kitti_distance(record["objects"]["type"], record["objects"]["location"]),
    "dsprites_location": partial(_dsprites, name="label_x_position", classes=vtab.ROWS["dsprites_location"].raw),
    "dsprites_orientation": partial(_dsprites, name="label_orientation", classes=vtab.ROWS["dsprites_orientation"].raw),
    "smallnorb_azimuth": lambda record: int(record["label_azimuth"]),
    "smallnorb_elevation": lambda record: int(record["label_elevation"]),
}
BRIGHT = ("dsprites_location", "dsprites_orientation")  # their pixels are 0 and 1


def read_tfds(request: Request) -> Source:
    """Raises ValueError (one line) where tfds is not installed, does not know the task or has not prepared it."""
    if request.task not in vtab.ROWS:
        raise ValueError(f"{request.task}: source tfds has the VTAB tasks alone: {', '.join(vtab.ROWS)}")
    row = vtab.ROWS[request.task]
    try:
        import tensorflow_datasets
    except ImportError:
        raise ValueError(f"{request.task}: source tfds needs tensorflow_datasets; {INSTALL}") from None
    try:
        builder = tensorflow_datasets.builder(row.builder, data_dir=str(request.path) if request.path else None)
        parts = {split: builder.as_dataset(split=row.slice(split), shuffle_files=False) for split in SPLITS}
    except Exception as error:  # tfds raises whatever its readers meet
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        hint = f"prepare it with `tfds build {row.builder}` into {request.path}"
        raise ValueError(f"{request.task}: tfds has no {row.builder} in {request.path} ({reason}); {hint}") from None
    items = _items(parts, request, tensorflow_datasets.as_numpy)
    return Source(f"tfds {row.builder}", numbered(request.classes), items)


def _items(parts: dict, request: Request, as_numpy: Callable) -> Iterator[Item]:
    rule = RULES.get(request.task, lambda record: int(record["label"]))
    scale = np.uint8(255 if request.task in BRIGHT else 1)
    for split, part in parts.items():
        for row, record in enumerate(as_numpy(part)):
            if split == "train" and request.max_train is not None and row >= request.max_train:
                break
            yield Item(f"{split}/{row:06d}", split, rule(record), np.asarray(record["image"]) * scale)


READER = Reader("tfds", "data sets that tensorflow_datasets has prepared (its data_dir)", read_tfds, is_quick=False)
