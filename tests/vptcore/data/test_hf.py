"""A repository of the hub as it lies on disk after a download: the layouts that `datasets` writes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.vptcore.data.layouts import encode, noise
from vptcore.data.decode import to_rgb
from vptcore.data.item import Request
from vptcore.data.sources import open_source


def shard(path: Path, rows: range, image="image", label="label", names=("cat", "dog", "owl")) -> None:
    """As `Dataset.to_parquet` writes it: an Image column as {bytes, path}, the features in the schema's metadata."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pictures = [{"bytes": encode(noise(i)), "path": f"{i}.png"} for i in rows]
    table = pa.table({image: pictures, label: [i % 3 for i in rows]})
    features = {image: {"_type": "Image"}, label: {"names": list(names), "_type": "ClassLabel"}}
    table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    pq.write_table(table, path)


def read(root, classes=3, **more):
    source = open_source("hf", Request("mine", classes, root, **more))
    return source, list(source.items)


@pytest.mark.parametrize(
    ("train", "val", "test"),
    [
        (["data/train-00000-of-00002.parquet", "data/train-00001-of-00002.parquet"],
         "data/validation-00000-of-00001.parquet", "data/test-00000-of-00001.parquet"),
        (["default/train/0000.parquet", "default/train/0001.parquet"], "default/validation/0000.parquet",
         "default/test/0000.parquet"),
        (["train.parquet", "train_b.parquet"], "valid.parquet", "test.parquet"),
    ],
)  # fmt: skip
def test_layouts(tmp_path, train, val, test):
    for name, rows in ((train[0], range(4)), (train[1], range(4, 6)), (val, range(6, 8)), (test, range(8, 10))):
        shard(tmp_path / name, rows)
    (tmp_path / ".cache").mkdir()
    (tmp_path / ".cache" / "train.parquet").write_bytes(b"not read")
    source, items = read(tmp_path)
    assert source.class_names == ("cat", "dog", "owl")
    assert [item.split for item in items] == ["train"] * 6 + ["val"] * 2 + ["test"] * 2
    assert [item.label for item in items] == [i % 3 for i in range(10)]
    assert all(np.array_equal(to_rgb(item.image), noise(i)) for i, item in enumerate(items))
    assert items[4].key == f"{train[1]}:0"
    (tmp_path / train[1]).write_bytes(b"broken: beyond the cap it is not opened")
    assert [item.split for item in read(tmp_path, max_train=4)[1]] == ["train"] * 4 + ["val"] * 2 + ["test"] * 2


def test_other_names_of_columns_and_no_names_of_classes(tmp_path):
    shard(tmp_path / "train.parquet", range(3), "img", "fine_label", names=())
    source, items = read(tmp_path)
    assert source.class_names == ("0", "1", "2")
    assert len(items) == 3


def test_mistakes(tmp_path):
    def fails(classes=3) -> str:
        with pytest.raises(ValueError) as caught:  # noqa: PT011 - the callers hold the message
            read(tmp_path, classes)
        assert "\n" not in str(caught.value)
        return str(caught.value)

    assert "train, validation or test" in fails()
    shard(tmp_path / "train.parquet", range(3), "picture")
    assert "no column image or img; found picture, label" in fails()
    shard(tmp_path / "train.parquet", range(3))
    assert "found 3 classes (cat, dog, owl, ...), expected 4" in fails(4)
    shard(tmp_path / "train_2.parquet", range(3), label="labels")
    assert "train_2.parquet: no column label, which the first shard has" in fails()
    (tmp_path / "train_2.parquet").write_bytes(b"")
    assert "train_2.parquet: not a readable parquet file" in fails()
