"""The embedded Fashion-MNIST subset: the IDX files of the original in, one parquet of PNG images out.

In: a folder with the four gzipped IDX files (Debian's dataset-fashion-mnist, or the authors' repository). Out: a
parquet with the columns image (PNG bytes), label, split and name, class names in its metadata; the first 250 images of
each class of the train file and the first 50 of the test file, in file order: making it again gives the same rows.

    python -m vptcore.data.readers.fashion /usr/share/datasets/fashion-mnist src/vptcore/assets/fashion_mnist.parquet
"""

from __future__ import annotations

import gzip
import io
import json
import struct
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from vptcore.records import replacing

CLASSES = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")
# split of the asset: prefix of the IDX files, images kept of each class
PARTS = {"train": ("train", 250), "test": ("t10k", 50)}


def read_idx(path: Path) -> np.ndarray:
    """The uint8 array of one gzipped IDX file (two zero bytes, type 8, number of axes, sizes big-endian, data)."""
    try:
        data = gzip.decompress(path.read_bytes())
    except FileNotFoundError:
        raise ValueError(f"{path}: no such file; expected the gzipped IDX files of Fashion-MNIST") from None
    if data[:3] != b"\0\0\x08":
        raise ValueError(f"{path}: not an IDX file of unsigned bytes")
    shape = struct.unpack_from(f">{data[3]}I", data, 4)
    return np.frombuffer(data, np.uint8, offset=4 + 4 * data[3]).reshape(shape)


def first_of_each_class(labels_N: np.ndarray, count: int) -> np.ndarray:
    """Rows of the first `count` images of every class, in ascending order."""
    return np.sort(np.concatenate([np.flatnonzero(labels_N == label)[:count] for label in range(len(CLASSES))]))


def make_fashion_mnist(idx_folder: Path | str, out: Path | str) -> int:
    """Write the subset and return its number of rows."""
    rows: list[dict] = []
    for split, (prefix, count) in PARTS.items():
        images_NHW = read_idx(Path(idx_folder) / f"{prefix}-images-idx3-ubyte.gz")
        labels_N = read_idx(Path(idx_folder) / f"{prefix}-labels-idx1-ubyte.gz")
        for row in first_of_each_class(labels_N, count):
            name = f"{prefix}/{row:05d}"
            rows.append({"image": _png(images_NHW[row]), "label": int(labels_N[row]), "split": split, "name": name})
    schema = pa.schema([("image", pa.binary()), ("label", pa.int32()), ("split", pa.string()), ("name", pa.string())])
    table = pa.Table.from_pylist(rows, schema.with_metadata({"classes": json.dumps(CLASSES)}))
    with replacing(out) as beside:
        pq.write_table(table, beside, compression="zstd")
    return len(rows)


def _png(image_HW: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image_HW).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: python -m vptcore.data.readers.fashion IDX_FOLDER OUT.parquet")
    print(f"{make_fashion_mnist(*sys.argv[1:]):,} rows in {sys.argv[2]}")
