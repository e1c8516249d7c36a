"""The tfds reader against a small package of that name with tfds's own calls and records, put on the path."""

from __future__ import annotations

import sys
import textwrap

import pytest

from vptcore.data.item import Request
from vptcore.data.readers import labels
from vptcore.data.sources import open_source
from vptcore.data.tasks import VTAB
from vptcore.data.vtab import ROWS

PACKAGE = '''
    """Ten records a split of whatever is asked for, in tfds's shapes: dicts of arrays, sliced by split strings."""
    import re
    import numpy as np

    ASKED = []

    def record(i):
        rng = np.random.default_rng(i)
        objects = 3 + i % 8
        return {
            "image": rng.integers(0, 2, (6, 6, 1)).astype(np.uint8), "label": np.int64(i % 2),
            "label_x_position": np.int64(3 * i), "label_orientation": np.int64(4 * i - i // 10),
            "label_azimuth": np.int64(i), "label_elevation": np.int64(i % 9),
            "objects": {
                "size": np.zeros(objects), "pixel_coords": rng.uniform(7, 12, (objects, 3)).astype(np.float32),
                "type": rng.integers(0, 5, objects), "location": rng.uniform(0, 40, (objects, 3)).astype(np.float32),
            },
        }

    class Builder:
        def __init__(self, name, data_dir):
            if data_dir and data_dir.endswith("empty"):
                raise LookupError("dataset not found\\nmore lines")
            self.name = name

        def as_dataset(self, split, shuffle_files):
            assert shuffle_files is False
            ASKED.append((self.name, split))
            return [record(i) for i in range(10)]

    def builder(name, data_dir=None):
        return Builder(name, data_dir)

    def as_numpy(dataset):
        yield from dataset
'''


@pytest.fixture
def tfds(tmp_path, monkeypatch):
    (tmp_path / "tensorflow_datasets.py").write_text(textwrap.dedent(PACKAGE))
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "tensorflow_datasets", raising=False)
    import tensorflow_datasets

    yield tensorflow_datasets
    sys.modules.pop("tensorflow_datasets", None)


@pytest.mark.parametrize("task", VTAB, ids=lambda task: task.id)
def test_every_vtab_task(tfds, tmp_path, task):
    items = list(open_source("tfds", Request(task.id, task.classes, tmp_path, max_train=6)).items)
    assert [item.split for item in items] == ["train"] * 6 + ["val"] * 10 + ["test"] * 10
    for item in items:
        record = tfds.record(int(item.key[-6:]))
        expected = {
            "clevr_count": len(record["objects"]["size"]) - 3,
            "clevr_distance": labels.clevr_distance(record["objects"]["pixel_coords"]),
            "kitti_distance": labels.kitti_distance(record["objects"]["type"], record["objects"]["location"]),
            "dsprites_location": record["label_x_position"] // 2,
            "dsprites_orientation": int(record["label_orientation"] / 2.5),
            "smallnorb_azimuth": record["label_azimuth"], "smallnorb_elevation": record["label_elevation"],
        }.get(task.id, record["label"])  # fmt: skip
        assert item.label == expected
        assert item.image.max() == (255 if "dsprites" in task.id else 1)


# KMnP/vpt's VTAB_SETUP and task_adaptation's data folder, as in docs/data.md: where val200 begins and what test is.
@pytest.mark.parametrize(
    ("task", "val", "test"),
    [
        ("caltech101", "train[2754:]", "test"), ("cifar100", "train[45000:]", "test"),
        ("oxford_iiit_pet", "train[2944:]", "test"), ("svhn", "train[65931:]", "test"), ("dtd", "validation", "test"),
        ("eurosat", "train[16200:21600]", "train[21600:]"), ("resisc45", "train[18900:25200]", "train[25200:]"),
        ("clevr_count", "train[63000:]", "validation"), ("clevr_distance", "train[63000:]", "validation"),
        ("dsprites_location", "train[589824:663552]", "train[663552:]"),
        ("smallnorb_azimuth", "test[:12150]", "test[12150:]"), ("kitti_distance", "validation", "test"),
    ],
)  # fmt: skip
def test_the_benchmarks_splits(task, val, test):
    assert (ROWS[task].slice("val"), ROWS[task].slice("test")) == (val, test)


def test_what_is_missing_ends_in_one_line(tfds, tmp_path, monkeypatch):
    with pytest.raises(ValueError, match=r"tfds build svhn_cropped:3\.0\.0") as caught:
        open_source("tfds", Request("svhn", 10, tmp_path / "empty"))
    assert "\n" not in str(caught.value)
    with pytest.raises(ValueError, match="VTAB tasks alone"):
        open_source("tfds", Request("cub200", 200, tmp_path))
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", None)
    with pytest.raises(ValueError, match="svhn: source tfds needs tensorflow_datasets; pip install"):
        open_source("tfds", Request("svhn", 10, tmp_path))
