"""DMLab's TFRecord files."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from tests.vptcore.data.archive_layouts import example, fails, make_files, make_tar, md5_order, read, tfrecord
from tests.vptcore.data.layouts import encode, noise
from vptcore.data.readers.archives.dmlab import _example as parse

COUNTS = {"train": 24, "validation": 12, "test": 18}


def members(counts=COUNTS, top="") -> dict[str, bytes]:
    files = {}
    for split, count in counts.items():
        rows = [(encode(noise(i)), f"{split}_{i}.png", i % 6) for i in range(count)]
        for shard in range(2):
            files[f"{top}dmlab-{split}.tfrecord-{shard:05d}-of-00002"] = tfrecord(rows[shard::2])
    return files


@pytest.mark.parametrize("layout", ["tar.gz", "tar", "folder"])
def test_dmlab(tmp_path, layout):
    if layout == "folder":
        make_files(tmp_path / "dmlab", members())
    else:
        make_tar(tmp_path / f"dmlab.{layout}", members(top="./"), "w:gz" if layout == "tar.gz" else "w")
    _, items, images = read("dmlab", tmp_path)
    expected = []
    for split, tfds in (("train", "train"), ("val", "validation"), ("test", "test")):
        names = md5_order(tfds, [f"{tfds}_{i}.png" for i in range(COUNTS[tfds])])
        expected += [(f"{tfds}/{name}", split, int(name.split("_")[1][:-4]) % 6) for name in names]
    assert [(item.key, item.split, item.label) for item in items] == expected
    assert all(
        image == encode(noise(int(item.key.split("_")[1][:-4]))) for item, image in zip(items, images, strict=True)
    )


@pytest.mark.parametrize("packed", [True, False])
def test_large_fields_and_both_forms_of_a_number(packed):
    image = bytes(range(256)) * 2000
    record = example(image, "name", 300, packed)
    name, label, where = parse(record, Path("file"), 100)
    assert (name, label) == ("name", 300)
    assert record[where.start - 100 :][: where.size] == image


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "no image of class"), (b"123", "breaks off in record 0"),
        (struct.pack("<QI", 1000, 0) + bytes(500), "breaks off in record 0"),
        (struct.pack("<QI", 3, 0) + b"abc" + bytes(4), "record 0 is not an image"),
        (struct.pack("<QI", 3, 0) + b"\x0a\x7f\x00" + bytes(4), "record 0 is not an image"),
        (struct.pack("<QI", 12, 0) + b"\x0a" + b"\xff" * 11 + bytes(4), "record 0 is not an image"),
        (tfrecord([(b"x", "a", 0)]) + tfrecord([(b"x", "b", 1)])[:-5], "breaks off in record 1"),
        (tfrecord([(b"x", "a", 0), (b"x", "a", 1)]), "a is there twice"),
        (tfrecord([(b"x", "a", 0), (b"x", "b", 6)]), "b has label 6; expected 0 to 5"),
    ],
)  # fmt: skip
def test_record_files_that_cannot_be(tmp_path, data, words):
    files = members()
    files |= {"dmlab-validation.tfrecord-00000-of-00002": data, "dmlab-validation.tfrecord-00001-of-00002": b""}
    make_tar(tmp_path / "dmlab.tar.gz", files)
    message = fails("dmlab", tmp_path)
    assert words in message
    assert "dmlab.tar.gz: validation" in message


def test_a_split_that_is_not_there(tmp_path):
    make_tar(tmp_path / "dmlab.tar.gz", members({"train": 24, "validation": 12}))
    assert "no dmlab-test.tfrecord*" in fails("dmlab", tmp_path)
