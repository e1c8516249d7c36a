"""DMLab from its archive of TFRecord files, read without TensorFlow.

A TFRecord file is records of length (8 bytes), checksum (4), data, checksum (4); a record's data is a tf.train.Example,
a protocol-buffer message. In: the found archive or folder. Out: TFDS's splits, keyed by the records' filename; an
image stays where it is in the file until a worker decodes it.

    python -m pytest tests/vptcore/data/test_archives_dmlab.py
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from vptcore.data.item import Deferred, Range, Request, numbered
from vptcore.data.readers.archives.files import AGAIN, entries
from vptcore.data.readers.archives.order import Original, Part

VARINT, EIGHT, BYTES, FOUR = 0, 1, 2, 5  # wire types: protobuf.dev/programming-guides/encoding
SHARD = re.compile(r"dmlab-(train|validation|test)\.tfrecord.*")


def dmlab(request: Request, found: dict[str, Path]) -> Original:
    (path,) = found.values()
    shards: dict[str, list[Range]] = {}
    for name, entry in sorted(entries(path).items()):
        if match := SHARD.fullmatch(PurePosixPath(name).name):
            shards.setdefault(match[1], []).append(_range(entry, f"{path}: {name}"))
    parts = {}
    for split in ("train", "validation", "test"):
        if split not in shards:
            raise ValueError(f"{path}: no dmlab-{split}.tfrecord* in it; this is not the original archive")
        rows = [row for shard in shards[split] for row in _shard(shard, f"{path}: {split}")]
        keys, labels, images = (list(column) for column in zip(*rows, strict=True)) if rows else ([], [], [])
        parts[split] = Part(f"{path}: {split}", keys, labels, images.__getitem__)
    return Original(numbered(request.classes), parts)


def _range(entry: Path | Range | Deferred, where: str) -> Range:
    if isinstance(entry, Path):
        return Range(entry, 0, entry.stat().st_size)
    if isinstance(entry, Range):
        return entry
    raise ValueError(f"{where}: TFRecord files are read from a tar or a folder; unpack this zip")


def _shard(shard: Range, where: str) -> Iterator[tuple[str, int, Range]]:
    """(filename, label, where the image is) of each record of one TFRecord file."""
    row, at, end = 0, shard.start, shard.start + shard.size
    with open(shard.path, "rb") as file:
        while at < end:
            file.seek(at)
            head = file.read(12)
            length = struct.unpack("<Q", head[:8])[0] if len(head) == 12 else end
            if at + 16 + length > end:
                raise ValueError(f"{where}: breaks off in record {row}; {AGAIN}")
            data = file.read(length)
            try:
                yield _example(data, shard.path, at + 12)
            except (KeyError, IndexError, UnicodeDecodeError, ValueError) as error:
                raise ValueError(f"{where}: record {row} is not an image with filename and label ({error})") from None
            row, at = row + 1, at + 16 + length


def _example(data: bytes, path: Path, start: int) -> tuple[str, int, Range]:
    """Example{features=1}, Features{feature=1: map}, entry{key=1, value=2}, Feature{bytes_list=1, int64_list=3}."""
    values = {}
    features = _only(data, 0, len(data), 1)
    for field, low, high in _fields(data, *features):
        if field == 1:
            name = slice(*_only(data, low, high, 1))
            values[data[name].decode()] = _only(data, low, high, 2)
    image = _only(data, *_only(data, *values["image"], 1), 1)
    filename = slice(*_only(data, *_only(data, *values["filename"], 1), 1))
    label, _ = _varint(data, _only(data, *_only(data, *values["label"], 3), 1)[0])
    return data[filename].decode(), label, Range(path, start + image[0], image[1] - image[0])


def _only(data: bytes, low: int, high: int, wanted: int) -> tuple[int, int]:
    """From and to of the field numbered `wanted` in a message."""
    for field, start, end in _fields(data, low, high):
        if field == wanted:
            return start, end
    raise KeyError(f"no field {wanted}")


def _fields(data: bytes, low: int, high: int) -> Iterator[tuple[int, int, int]]:
    """(field number, from, to) of each field's value in the message at data[low:high]."""
    while low < high:
        tag, start = _varint(data, low)
        kind = tag & 7
        if kind == BYTES:
            length, start = _varint(data, start)
            low = start + length
        elif kind == VARINT:
            _, low = _varint(data, start)
        elif kind in (EIGHT, FOUR):
            low = start + (8 if kind == EIGHT else 4)
        else:
            raise ValueError(f"wire type {kind}")
        if low > high:
            raise IndexError("a field that goes beyond its message")
        yield tag >> 3, start, low


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """A number of seven bits a byte, and where it ends."""
    value = 0
    for shift in range(0, 70, 7):
        byte = data[at]
        value |= (byte & 127) << shift
        at += 1
        if byte < 128:
            return value, at
    raise ValueError("a number of more than ten bytes")
