"""analysis.examples: which images stand for a task, and the rows they are written as."""

from __future__ import annotations

import io

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from vptcore.analysis import examples
from vptcore.jobs.provenance import provenance
from vptcore.records import KINDS, read_rows, write_rows


def index(labels: list[int], splits: list[str]) -> pd.DataFrame:
    count = len(labels)
    blank = {"class_name": [f"class {label}" for label in labels], "key": "", "source": "", "sha256": ""}
    return pd.DataFrame({"row": range(count), "split": splits, "label": labels, **blank, "width": 4, "height": 4})


def test_one_a_class_then_the_next():
    frame = index([0, 1, 1, 0, 2, 1, 2], ["train", *["test"] * 6])
    assert list(examples.pick(frame, 3)["row"]) == [1, 3, 4]
    assert list(examples.pick(frame, 5)["row"]) == [1, 3, 4, 2, 5]
    assert len(examples.pick(frame, 9)) == 6


@pytest.mark.parametrize("channels", [1, 3])
def test_the_images_are_those_of_the_arrays(tmp_path, channels):
    images = np.random.default_rng(0).integers(0, 256, (6, 4, 4, channels), dtype=np.uint8)
    np.save(tmp_path / "images.npy", images)
    frame = index([0, 0, 1, 1, 0, 1], ["train", "train", *["test"] * 4])
    write_rows(tmp_path / "index.parquet", "index", frame[KINDS["index"].names], provenance({}, {}))
    inputs = {"images": str(tmp_path / "images.npy"), "index": str(tmp_path / "index.parquet")}
    examples.run({"images": 2}, inputs, {"rows": str(tmp_path / "rows.parquet")})
    rows = read_rows(tmp_path / "rows.parquet", "examples")
    assert list(rows["row"]) == [2, 4]
    assert list(rows["class_name"]) == ["class 1", "class 0"]
    for row in rows.itertuples():
        assert np.array_equal(np.asarray(Image.open(io.BytesIO(row.image_png))), images[row.row].squeeze())
