"""Splits that a file tells: they replace the index's, and a file that does not fit is one line."""

from __future__ import annotations

import re

import pandas as pd
import pytest

from vptcore.data.readers.own import DRAWN
from vptcore.data.splits import split
from vptcore.data.told import as_told, noted, read_told, write_told

KEYS = [f"{kind}/{number}.png" for kind in ("cat", "dog") for number in range(4)]
INDEX = pd.DataFrame({"row": range(8), "split": "train", "label": [0] * 4 + [1] * 4, "key": KEYS, "source": "wds"})
TOLD = dict(zip(KEYS, ["train", "train", "val", "test"] * 2, strict=True))


@pytest.fixture
def file(tmp_path):
    write_told(tmp_path / "splits.csv", TOLD)
    return tmp_path / "splits.csv"


def test_the_file_decides(file):
    job = {"task": "pets", "train": "train", "seed": 0, "classes": 2, "told": str(file)}
    rows, notes = split(job, INDEX, substitutes=[DRAWN.format("x"), "JPEG"])
    assert {part: group["row"].tolist() for part, group in rows.groupby("part")} == {
        "train": [0, 1, 4, 5], "val": [2, 6], "test": [3, 7],
    }  # fmt: skip
    assert notes["substitutes"] == ["JPEG", "splits as splits.csv has them"]


def test_a_file_is_read_as_it_was_written_and_left_alone_where_nothing_changes(file):
    assert read_told(file) == TOLD
    before = file.stat().st_mtime_ns
    write_told(file, TOLD)
    assert file.stat().st_mtime_ns == before
    write_told(file, TOLD | {KEYS[0]: "val"})
    assert read_told(file)[KEYS[0]] == "val"


def test_names_that_people_give_and_keys_that_need_quotes(tmp_path):
    (tmp_path / "a.csv").write_text('split,key,more\nTraining,"a, b.png",1\nvalid,NA,2\n')
    assert read_told(tmp_path / "a.csv") == {"a, b.png": "train", "NA": "val"}
    assert noted([], tmp_path / "a.csv") == ["splits as a.csv has them"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("key,split\n", "no row for 8 images"),
        ("key,part\n", "no column split; found key, part"),
        ("key,split\nx.png,tset\n", "row 2: split 'tset' is unknown; choices: train"),
        ("", "not a readable csv"),
        ("key,split\nx.png,test\nx.png,val\n", "1 image listed twice"),
        ("key,split\n" + "".join(f"{key},test\n" for key in [*KEYS, "x"]), "1 of its images are not there (x)"),
    ],
)
def test_what_does_not_fit_is_one_line(tmp_path, text, said):
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises(ValueError, match=re.escape(said)) as caught:
        as_told(INDEX, tmp_path / "a.csv")
    assert "\n" not in str(caught.value)
    assert str(tmp_path / "a.csv") in str(caught.value)


def test_a_file_that_is_not_there_is_one_line(tmp_path):
    with pytest.raises(ValueError, match="not a readable csv"):
        read_told(tmp_path / "none.csv")
