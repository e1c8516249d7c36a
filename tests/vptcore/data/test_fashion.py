from __future__ import annotations

import gzip
import json
import struct

import numpy as np
import pyarrow.parquet as pq
import pytest

from vptcore.data.decode import to_rgb
from vptcore.data.readers.fashion import make_fashion_mnist


def write_idx(path, array):
    head = b"\0\0\x08" + bytes([array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    path.write_bytes(gzip.compress(head + array.tobytes()))


def test_the_first_of_each_class_in_file_order(tmp_path):
    rng = np.random.default_rng(0)
    images, labels = {}, {}
    for prefix, count in (("train", 4000), ("t10k", 900)):
        images[prefix] = rng.integers(0, 256, (count, 4, 4), dtype=np.uint8)
        labels[prefix] = rng.permutation(np.arange(count) % 10).astype(np.uint8)
        write_idx(tmp_path / f"{prefix}-images-idx3-ubyte.gz", images[prefix])
        write_idx(tmp_path / f"{prefix}-labels-idx1-ubyte.gz", labels[prefix])
    assert make_fashion_mnist(tmp_path, tmp_path / "out.parquet") == 3000
    table = pq.read_table(tmp_path / "out.parquet")
    rows = table.to_pylist()
    for split, prefix, count in (("train", "train", 250), ("test", "t10k", 50)):
        picked = [int(row["name"].split("/")[1]) for row in rows if row["split"] == split]
        assert picked == [i for i, label in enumerate(labels[prefix]) if (labels[prefix][:i] == label).sum() < count]
        assert [row["label"] for row in rows if row["split"] == split] == labels[prefix][picked].tolist()
    assert np.array_equal(to_rgb(rows[0]["image"])[..., 0], images["train"][0])
    assert json.loads(table.schema.metadata[b"classes"])[0] == "T-shirt/top"


def test_a_missing_file_and_another_format(tmp_path):
    with pytest.raises(ValueError, match=r"train-images-idx3-ubyte\.gz: no such file"):
        make_fashion_mnist(tmp_path, tmp_path / "out.parquet")
    (tmp_path / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(b"something else"))
    with pytest.raises(ValueError, match="not an IDX file"):
        make_fashion_mnist(tmp_path, tmp_path / "out.parquet")
