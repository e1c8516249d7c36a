"""Original archives in small: the very layouts that the data sets' owners give, written by the tests themselves."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import pickle
import struct
import tarfile
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest
from scipy.io import savemat

from tests.vptcore.data.layouts import add_member, encode, noise
from vptcore.data.item import Request, load
from vptcore.data.sources import open_source
from vptcore.data.tasks import TASKS


def read(task: str, root: Path, images: int | None = None, **more):
    """The source, its items, and their images loaded (the first `images` of them), as `prepare` gets them."""
    opened = open_source("original", Request(task, TASKS[task].classes, root, **more))
    items = list(opened.items)
    return opened, items, [load(item.image) for item in items[:images]]


def fails(task: str, root: Path) -> str:
    """The one line that reading ends in."""
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the callers hold the message
        _, *_ = open_source("original", Request(task, TASKS[task].classes, root)).items
    assert "\n" not in str(caught.value)
    return str(caught.value)


def md5_order(split: str, keys: list) -> list:
    """The benchmark's order in one line, the slow way."""
    return sorted(keys, key=lambda key: hashlib.md5(f"{split}{key}".encode()).hexdigest())


def jpeg(seed: int, height: int = 8, width: int = 8) -> bytes:
    return encode(noise(seed, height, width), "JPEG", quality=90)


def make_tar(path: Path, members: dict[str, bytes], mode: str = "w:gz") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, mode) as tar:
        for name, data in members.items():
            add_member(tar, name, data)
    return path


def make_zip(path: Path, members: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


def make_files(root: Path, members: dict[str, bytes]) -> Path:
    for name, data in members.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return root


def cifar_batch(count: int, seed: int) -> tuple[np.ndarray, list[int]]:
    pixels_ND = np.random.default_rng(seed).integers(0, 256, (count, 3072), dtype=np.uint8)
    return pixels_ND, [row % 100 for row in range(count)]


def cifar_python(counts: dict[str, int]) -> dict[str, bytes]:
    members = {"cifar-100-python/meta": pickle.dumps({"fine_label_names": [f"thing {i}" for i in range(100)]}, 2)}
    for seed, (split, count) in enumerate(counts.items()):
        data, labels = cifar_batch(count, seed)
        batch = {b"data": data, b"fine_labels": labels, b"coarse_labels": labels, b"batch_label": b"training batch"}
        members[f"cifar-100-python/{split}"] = pickle.dumps(batch, 2)
    return members


def cifar_binary(counts: dict[str, int]) -> dict[str, bytes]:
    names = "\n".join(f"thing_{i}" for i in range(100))
    members = {"cifar-100-binary/fine_label_names.txt": f"{names}\n".encode()}
    for seed, (split, count) in enumerate(counts.items()):
        data, labels = cifar_batch(count, seed)
        rows = np.concatenate([np.zeros((count, 1), np.uint8), np.array(labels, np.uint8)[:, None], data], axis=1)
        members[f"cifar-100-binary/{split}.bin"] = rows.tobytes()
    return members


def make_svhn(root: Path, counts: dict[str, int]) -> Path:
    root.mkdir(parents=True, exist_ok=True)
    for seed, (split, count) in enumerate(counts.items()):
        images = np.random.default_rng(seed).integers(0, 256, (32, 32, 3, count), dtype=np.uint8)
        digits = np.array([[row % 10 or 10] for row in range(count)], np.uint8)
        savemat(root / f"{split}_32x32.mat", {"X": images, "y": digits}, do_compression=True)
    return root


def dsprites_arrays(count: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    classes = np.stack([np.zeros(count), rng.integers(0, 3, count), rng.integers(0, 6, count),
                        np.arange(count) % 40, np.arange(count) % 32, rng.integers(0, 32, count)], axis=1)  # fmt: skip
    return {"imgs": rng.integers(0, 2, (count, 64, 64), dtype=np.uint8), "latents_classes": classes.astype(np.int64),
            "latents_values": classes.astype(float), "metadata": np.array({"title": "dSprites"}, object)}  # fmt: skip


def norb_bytes(array: np.ndarray) -> bytes:
    magic = {np.dtype("u1"): 0x1E3D4C55, np.dtype("<i4"): 0x1E3D4C54}[array.dtype]
    shape = [*array.shape, *[1] * (3 - array.ndim)]
    return struct.pack(f"<2i{len(shape)}i", magic, array.ndim, *shape) + array.tobytes()


def norb_members(count: int, stem: str, seed: int) -> dict[str, bytes]:
    rng = np.random.default_rng(seed)
    info = np.stack([rng.integers(0, 10, count), np.arange(count) % 9, 2 * (np.arange(count) % 18),
                     rng.integers(0, 6, count)], axis=1).astype("<i4")  # fmt: skip
    arrays = {"dat": rng.integers(0, 256, (count, 2, 12, 12), dtype=np.uint8), "info": info,
              "cat": rng.integers(0, 5, count).astype("<i4")}  # fmt: skip
    return {f"{stem}-{kind}.mat": norb_bytes(array) for kind, array in arrays.items()}


def make_pcam(root: Path, counts: dict[str, int], packed: bool = True, **storage) -> Path:
    root.mkdir(parents=True, exist_ok=True)
    for seed, (split, count) in enumerate(counts.items()):
        rng = np.random.default_rng(seed)
        arrays = {"x": rng.integers(0, 256, (count, 12, 12, 3), dtype=np.uint8),
                  "y": (np.arange(count) % 2).astype(np.uint8).reshape(-1, 1, 1, 1)}  # fmt: skip
        for name, array in arrays.items():
            path = root / f"camelyonpatch_level_2_split_{split}_{name}.h5"
            with h5py.File(path, "w") as file:
                file.create_dataset(name, data=array, **(storage if name == "x" else {}))
            if packed:
                path.with_name(f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes()))
                path.unlink()
    return root


def mat_bytes(arrays: dict[str, np.ndarray]) -> bytes:
    buffer = io.BytesIO()
    savemat(buffer, arrays)
    return buffer.getvalue()


def clevr_members(counts: dict[str, int]) -> dict[str, bytes]:
    """CLEVR_v1.0.zip; scene i of a split has 3 + i % 8 objects, the nearest at a depth of 7.9 + 0.5 * (i % 6)."""
    members = {}
    for split, count in counts.items():
        scenes = []
        for i in range(count):
            name = f"CLEVR_{split}_{i:06d}.png"
            depths = [7.9 + 0.5 * (i % 6)] + [12.0] * (2 + i % 8)
            things = [{"color": "red", "pixel_coords": [1, 2, depth]} for depth in depths]
            scenes.append({"image_filename": name, "split": split, "relationships": {"left": [[1]]}, "objects": things})
            members[f"CLEVR_v1.0/images/{split}/{name}"] = encode(noise(i))
        text = json.dumps({"info": {"license": "CC BY 4.0"}, "scenes": scenes})
        members[f"CLEVR_v1.0/scenes/CLEVR_{split}_scenes.json"] = text.encode()
    members["CLEVR_v1.0/images/test/CLEVR_test_000000.png"] = encode(noise(0))
    return members


def kitti_line(kind: str, depth: float) -> str:
    return f"{kind} 0.00 0 -1.57 600.0 150.0 630.0 190.0 1.5 1.6 3.7 1.0 1.7 {depth:.2f} -1.59"


def tfrecord(rows: list[tuple[bytes, str, int]]) -> bytes:
    """TFRecord file of tf.train.Example with image, filename and label, as tf.io writes it (checksums left at 0)."""
    return b"".join(struct.pack("<QI", len(data := example(*row)), 0) + data + bytes(4) for row in rows)


def example(image: bytes, filename: str, label: int, packed: bool = True) -> bytes:
    """One tf.train.Example; older writers do not pack a list of numbers into one field."""
    number = _field(1, _number(label)) if packed else _number(1 << 3) + _number(label)
    values = {"image": _field(1, _field(1, image)), "filename": _field(1, _field(1, filename.encode())),
              "label": _field(3, number)}  # fmt: skip
    entries = b"".join(_field(1, _field(1, name.encode()) + _field(2, value)) for name, value in values.items())
    return _field(1, entries)


def _field(number: int, data: bytes) -> bytes:
    return _number(number << 3 | 2) + _number(len(data)) + data


def _number(value: int) -> bytes:
    out = b""
    while value > 127:
        out, value = out + bytes([value & 127 | 128]), value >> 7
    return out + bytes([value])
