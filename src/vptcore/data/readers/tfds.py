"""The VTAB tasks from tensorflow_datasets, where a person has it: the very images, order and splits of the benchmark.

In: a task and the folder that holds the prepared data sets (tfds's `data_dir`). Out: items in tfds's own order; val is
the benchmark's own rows. Nothing is downloaded here, and shuffling is off.

    pip install tensorflow-datasets tensorflow-cpu
    python -m pytest tests/vptcore/data/test_tfds.py
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np

from vptcore.data.item import Item, Request, Source, numbered
from vptcore.data.reader import Reader
from vptcore.data.readers import labels

INSTALL = "pip install tensorflow-datasets tensorflow-cpu, or choose another source (docs/data.md)"
Label = Callable[[dict], int]


@dataclass(frozen=True)
class Dataset:
    """A tfds builder, its splits as the benchmark cuts them (task_adaptation), and the rule from a record to a class.

    `train` and `val` are whole: train800 and val200 are their first rows. `scale` brings pixels of 0 and 1 to 255.
    """

    builder: str
    train: str = "train"
    val: str = "validation"
    test: str = "test"
    label: Label = lambda record: int(record["label"])
    scale: int = 1


def _clevr_count(record: dict) -> int:
    return labels.clevr_count(len(record["objects"]["size"]))


def _clevr_distance(record: dict) -> int:
    return labels.clevr_distance(record["objects"]["pixel_coords"])


def _kitti(record: dict) -> int:
    return labels.kitti_distance(record["objects"]["type"], record["objects"]["location"])


def _dsprites(record: dict, name: str, classes: int) -> int:
    return int(labels.dsprites_bins(int(record[name]), classes))


def _named(record: dict, name: str) -> int:
    return int(record[name])


_clevr = partial(Dataset, "clevr:3.1.0", "train[:63000]", "train[63000:]", "validation")
_sprites = partial(Dataset, "dsprites:2.0.0", "train[:589824]", "train[589824:663552]", "train[663552:]", scale=255)
_norb = partial(Dataset, "smallnorb:2.0.0", "train", "test[:50%]", "test[50%:]")

# docs/data.md has the same table in words, with the numbers of images.
DATASETS = {
    "caltech101": Dataset("caltech101:3.0.1", "train[:2754]", "train[2754:]"),
    "cifar100": Dataset("cifar100:3.0.2", "train[:45000]", "train[45000:]"),
    "dtd": Dataset("dtd:3.0.1"),
    "oxford_flowers102": Dataset("oxford_flowers102:2.1.1"),
    "oxford_iiit_pet": Dataset("oxford_iiit_pet:3.2.0", "train[:2944]", "train[2944:]"),
    "svhn": Dataset("svhn_cropped:3.0.0", "train[:65931]", "train[65931:]"),
    "sun397": Dataset("sun397/tfds:4.0.0"),
    "patch_camelyon": Dataset("patch_camelyon:2.0.0"),
    "eurosat": Dataset("eurosat/rgb:2.0.0", "train[:16200]", "train[16200:21600]", "train[21600:]"),
    "resisc45": Dataset("resisc45:3.0.0", "train[:18900]", "train[18900:25200]", "train[25200:]"),
    "diabetic_retinopathy": Dataset("diabetic_retinopathy_detection/btgraham-300:3.0.0"),
    "clevr_count": _clevr(label=_clevr_count),
    "clevr_distance": _clevr(label=_clevr_distance),
    "dmlab": Dataset("dmlab:2.0.1"),
    "kitti_distance": Dataset("kitti:3.2.0", label=_kitti),
    "dsprites_location": _sprites(label=partial(_dsprites, name="label_x_position", classes=32)),
    "dsprites_orientation": _sprites(label=partial(_dsprites, name="label_orientation", classes=40)),
    "smallnorb_azimuth": _norb(label=partial(_named, name="label_azimuth")),
    "smallnorb_elevation": _norb(label=partial(_named, name="label_elevation")),
}


def read_tfds(request: Request) -> Source:
    """Raises ValueError (one line) where tfds is not installed, does not know the task or has not prepared it."""
    if request.task not in DATASETS:
        raise ValueError(f"{request.task}: source tfds has the VTAB tasks alone: {', '.join(DATASETS)}")
    row = DATASETS[request.task]
    try:
        import tensorflow_datasets
    except ImportError:
        raise ValueError(f"{request.task}: source tfds needs tensorflow_datasets; {INSTALL}") from None
    try:
        builder = tensorflow_datasets.builder(row.builder, data_dir=str(request.path) if request.path else None)
        parts = {split: builder.as_dataset(split=getattr(row, split), shuffle_files=False) for split in SPLITS}
    except Exception as error:  # tfds raises whatever its readers meet
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        hint = f"prepare it with `tfds build {row.builder}` into {request.path}"
        raise ValueError(f"{request.task}: tfds has no {row.builder} in {request.path} ({reason}); {hint}") from None
    items = _items(parts, row, tensorflow_datasets.as_numpy, request.max_train)
    return Source(f"tfds {row.builder}", numbered(request.classes), items)


SPLITS = ("train", "val", "test")


def _items(parts: dict, dataset: Dataset, as_numpy: Callable, max_train: int | None) -> Iterator[Item]:
    for split, part in parts.items():
        for row, record in enumerate(as_numpy(part)):
            if split == "train" and max_train is not None and row >= max_train:
                break
            image = np.asarray(record["image"]) * np.uint8(dataset.scale)
            yield Item(f"{split}/{row:06d}", split, dataset.label(record), image)


READER = Reader("tfds", "data sets that tensorflow_datasets has prepared (its data_dir)", read_tfds)
