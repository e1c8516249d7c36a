"""A csv of paths and labels, and a parquet, listed without decoding."""

from __future__ import annotations

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.vptcore.data.test_listing import put
from vptcore.data.sources import look


def write(folder, text: str, *images: str, encoding: str = "utf-8"):
    put(folder, *images)
    path = folder / "set.csv"
    path.write_text(text, encoding=encoding)
    return path


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("heading", ["path,label", "Image,Class", "file_name,category"])
def test_paths_and_labels(tmp_path, delimiter, heading):
    text = "\n".join([heading, "a/1.png,owl", "a/2.png,cat", "b.png,owl", ""]).replace(",", delimiter)
    found = look("csv", write(tmp_path, text, "a/1.png", "a/2.png", "b.png", encoding="utf-8-sig"))
    assert (found.classes, found.splits, found.problems) == (("cat", "owl"), (), ())
    assert found.counts == {"all": {"owl": 2, "cat": 1}}
    assert [image.name for image in found.images] == ["a/1.png", "a/2.png", "b.png"]


def test_splits_and_numbers_in_their_order(tmp_path):
    text = "image,label,split\n1.png,10,Train\n2.png,9,train\n3.png,9,dev\n4.png,10,test\n5.png,9,TEST\n6.png,10,val\n"
    found = look("csv", write(tmp_path, text, *(f"{i}.png" for i in range(1, 7))))
    assert (found.classes, found.splits) == (("9", "10"), ("train", "val", "test"))
    assert found.counts == {"train": {"10": 1, "9": 1}, "val": {"9": 1, "10": 1}, "test": {"10": 1, "9": 1}}


BAD = {
    "no label": ("path,what\n1.png,a\n", "no column label or class or class_name or category or target in its heading"),
    "no path": ("name,label\n1.png,a\n", "no column path or image or"),
    "empty": ("", "it is empty; expected a heading such as path,label"),
    "blank label": ("path,label\n1.png,\n", "row 2: no label"),
    "ragged": ("path,label\n1.png,a,b\n", "row 2: 3 values, the heading has 2"),
    "split": ("path,label,split\n1.png,a,fold1\n", "row 2: split 'fold1' is unknown; choices: train, training, val"),
    "twice": ("path,label\n1.png,a\n1.png,b\n", "1 image listed more than once (1.png); keep one row of each"),
    "gone": (
        "path,label\n7.png,a\n8.png,b\n",
        "none of its 2 files is there (7.png, 8.png); paths are relative to",
    ),
    "many": ("path,label\n" + "1.png,\n" * 9, "6 more rows like these"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_is_wrong_is_one_line(tmp_path, case):
    text, expected = BAD[case]
    problems = look("csv", write(tmp_path, text, "1.png")).problems
    assert any(line.startswith(expected) for line in problems)
    assert not any("\n" in line for line in problems)


def test_a_file_that_is_gone_is_an_image_that_is_named(tmp_path):
    found = look("csv", write(tmp_path, "path,label\n1.png,a\n2.png,b\n", "1.png"))
    assert (found.dead, found.problems, found.total) == (("2.png",), (), 2)


def test_no_csv_is_a_problem(tmp_path):
    assert len(look("csv", tmp_path / "none.csv").problems) == 1
    (tmp_path / "latin.csv").write_bytes(b"path,label\ncaf\xe9.png,a\n")
    assert "is not text in UTF-8" in look("csv", tmp_path / "latin.csv").problems[0]


def parquet(path, columns: dict, metadata: dict | None = None):
    table = pa.table({"image": [b"png"] * len(columns["label"]), **columns})
    if metadata:
        table = table.replace_schema_metadata({key: json.dumps(value) for key, value in metadata.items()})
    pq.write_table(table, path)
    return path


LABEL = {"info": {"features": {"label": {"names": ["cat", "dog", "owl"], "_type": "ClassLabel"}}}}


@pytest.mark.parametrize(
    ("labels", "metadata", "names"),
    [
        ([0, 2, 1], None, ("0", "1", "2")),
        ([0, 2, 1], {"classes": ["x", "y", "z"]}, ("x", "y", "z")),
        ([0, 2, 1], {"huggingface": LABEL}, ("cat", "dog", "owl")),
        (["b", "c", "a"], None, ("a", "b", "c")),
    ],
)
def test_a_parquets_classes(tmp_path, labels, metadata, names):
    path = parquet(tmp_path / "a.parquet", {"label": labels, "split": ["train", "test", "Train"]}, metadata)
    found = look("parquet", path)
    first, last, middle = names[0], names[2], names[1]
    order = (first, last, middle) if labels == [0, 2, 1] else (middle, last, first)
    assert found.classes == names
    assert found.counts == {"train": {order[0]: 1, order[2]: 1}, "test": {order[1]: 1}}


def test_a_path_may_lack_the_suffix(tmp_path):
    parquet(tmp_path / "mine.parquet", {"label": [0, 1]})
    write(tmp_path, "path,label\n1.png,a\n2.png,b\n", "1.png", "2.png")
    assert look("parquet", tmp_path / "mine").total == look("csv", tmp_path / "set").total == 2


def test_what_is_wrong_with_a_parquet(tmp_path):
    rows = {"label": [0, 1, None, -1], "split": ["train", "x", "test", "train"]}
    odd = look("parquet", parquet(tmp_path / "a.parquet", rows))
    unlabelled, split, label = odd.problems[:3]
    assert unlabelled.startswith("test has 1 rows and not one label")
    assert split.startswith("row 1: split 'x' is unknown")
    assert label == "row 3: label -1 is out of range; expected 0 to 1"
    (tmp_path / "b.parquet").write_bytes(b"no parquet")
    (problem,) = look("parquet", tmp_path / "b.parquet").problems
    assert problem.startswith("not a readable parquet file")
    assert look("parquet", tmp_path / "c.parquet").problems
