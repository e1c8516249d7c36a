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
    capped = read(tmp_path, max_train=3)[1]
    assert [item.split for item in capped] == ["train"] * 3 + ["val"] * 2 + ["test"] * 2
    assert {item.label for item in capped[:3]} == {0, 1, 2}


def test_what_save_to_disk_leaves(tmp_path):
    """`DatasetDict.save_to_disk`: an Arrow stream a split, and notes beside it."""
    for split, rows in (("train", range(5)), ("test", range(5, 8))):
        shard(tmp_path / "made" / f"{split}.parquet", rows)
        table = pq.read_table(tmp_path / "made" / f"{split}.parquet")
        (tmp_path / "set" / split).mkdir(parents=True)
        for name in ("data-00000-of-00001.arrow", "cache-1f.arrow"):
            with (
                pa.OSFile(str(tmp_path / "set" / split / name), "wb") as sink,
                pa.ipc.new_stream(sink, table.schema) as out,
            ):
                out.write_table(table)
        (tmp_path / "set" / split / "state.json").write_text("{}")
    source, items = read(tmp_path / "set")
    assert source.class_names == ("cat", "dog", "owl")
    assert [(item.split, item.label) for item in items] == [("train" if i < 5 else "test", i % 3) for i in range(8)]
    assert np.array_equal(to_rgb(items[6].image), noise(6))
    (tmp_path / "set/test/data-00000-of-00001.arrow").write_bytes(b"broken")
    with pytest.raises(ValueError, match="not a readable Arrow file"):
        read(tmp_path / "set")


def test_two_configurations_are_not_merged(tmp_path):
    for name in ("small/train-0.parquet", "small/test-0.parquet", "full/train-0.parquet", "full/test-0.parquet"):
        shard(tmp_path / name, range(3))
    with pytest.raises(ValueError, match=r"2 configurations \(full, small\), each with its own copy"):
        read(tmp_path)
    assert len(read(tmp_path / "full")[1]) == 6


def test_a_table_without_a_split_has_a_test_set_drawn(tmp_path):
    shard(tmp_path / "0000.parquet", range(30))
    source, items = read(tmp_path)
    assert sum(item.split == "test" for item in items) == 6
    assert source.substitutes


def test_a_test_split_without_labels_says_what_to_do(tmp_path):
    shard(tmp_path / "train.parquet", range(6))
    table = pa.table({"image": [{"bytes": b"x", "path": ""}] * 4, "label": [-1] * 4})
    pq.write_table(table, tmp_path / "test.parquet")
    with pytest.raises(ValueError, match="test has 4 rows and not one label; take them out"):
        read(tmp_path)


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
