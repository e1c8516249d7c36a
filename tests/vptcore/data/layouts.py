"""Small data sets in the very layouts that people have on disk, made in a temporary folder."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image


def encode(pixels: np.ndarray, form: str = "PNG", **options) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels.squeeze()).save(buffer, form, **options)
    return buffer.getvalue()


def noise(seed: int, height: int = 12, width: int = 12, channels: int = 3) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, channels), dtype=np.uint8)


def tf1_by_hand(image_HWC: np.ndarray, size: int) -> np.ndarray:
    """TensorFlow 1's bilinear resize in float64, pixel by pixel: read at i x scale, the next pixel clipped."""
    height, width = image_HWC.shape[:2]
    out = np.empty((size, size, image_HWC.shape[2]))
    for i in range(size):
        for j in range(size):
            y, x = i * height / size, j * width / size
            top, left = int(y), int(x)
            below, right = min(top + 1, height - 1), min(left + 1, width - 1)
            upper = image_HWC[top, left] * (1 - (x - left)) + image_HWC[top, right] * (x - left)
            lower = image_HWC[below, left] * (1 - (x - left)) + image_HWC[below, right] * (x - left)
            out[i, j] = upper * (1 - (y - top)) + lower * (y - top)
    return out


def add_member(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    tar.addfile(info, io.BytesIO(data))


def make_wds(root: Path, labels: dict[str, list[int]], per_shard: int = 4, form: str = "webp") -> Path:
    """CLIP-benchmark's layout; image i of a split is `noise(i)`."""
    for split, values in labels.items():
        (root / split).mkdir(parents=True)
        shards = [range(start, min(start + per_shard, len(values))) for start in range(0, len(values), per_shard)]
        (root / split / "nshards.txt").write_text(str(len(shards)))
        for number, rows in enumerate(shards):
            with tarfile.open(root / split / f"{number}.tar", "w") as tar:
                for row in rows:
                    options = {"lossless": True} if form == "webp" else {}
                    add_member(tar, f"s{row:07d}.{form}", encode(noise(row), form, **options))
                    add_member(tar, f"s{row:07d}.cls", str(values[row]).encode())
    (root / "classnames.txt").write_text("\n".join(f"name {label}" for label in range(3)))
    return root


def make_vtab1k(root: Path, counts: dict[str, int], classes: int = 3) -> Path:
    """The NOAH family's layout; labels run 0, 1, 2, 0, ..."""
    for name, count in counts.items():
        (root / "images" / name).mkdir(parents=True)
        lines = [f"images/{name}/{i:06d}.jpg {i % classes}" for i in range(count)]
        (root / f"{name}.txt").write_text("\n".join(lines) + "\n")
        for i in range(count):
            (root / "images" / name / f"{i:06d}.jpg").write_bytes(encode(noise(i), "JPEG"))
    return root


def make_parquet(path: Path, columns: dict, classes: list[str] | None = None) -> Path:
    table = pa.table(columns)
    if classes:
        table = table.replace_schema_metadata({"classes": json.dumps(classes)})
    pq.write_table(table, path)
    return path


def make_folder(root: Path, counts: dict[str, int]) -> Path:
    """{'train/cat': 3, ...}: so many images below each folder."""
    for name, count in counts.items():
        (root / name).mkdir(parents=True)
        for i in range(count):
            (root / name / f"{i}.png").write_bytes(encode(noise(i)))
    return root
