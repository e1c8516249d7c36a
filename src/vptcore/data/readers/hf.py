"""Data sets as the Hugging Face Hub has them: parquet shards with an image and a label column.

In: a folder as `huggingface_hub` downloads a repository (`data/train-00000-of-00002.parquet`, `train/0000.parquet`, or
one file per split). Out: items in the shards' order, splits from the file names, class names from the stored features.
`vptcore data fetch` brings them; `datasets` itself is not needed to read them.

    python -m pytest tests/vptcore/data/test_hf.py
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import pyarrow.parquet as pq

from vptcore.data.item import SPLIT_NAMES, SPLITS, Item, Request, Source, numbered
from vptcore.data.readers import parquet_files

LAYOUT = "parquet files whose names or folders say train, validation or test, with an image and a label column"
IMAGES, LABELS = ("image", "img"), ("label", "labels", "fine_label")


def shards(root: Path) -> list[tuple[str, Path]]:
    """(split, file) of every parquet file that names a split, by split and then by name."""
    found = []
    for path in sorted(root.rglob("*.parquet")):
        relative = path.relative_to(root)
        if any(part.startswith(".") for part in relative.parts):
            continue
        words = re.split(r"[^a-z]+", relative.as_posix().lower())
        split = next((SPLIT_NAMES[word] for word in reversed(words) if word in SPLIT_NAMES), None)
        if split:
            found.append((split, path))
    return sorted(found, key=lambda pair: SPLITS.index(pair[0]))


def read_hf(root: Path, request: Request) -> Source:
    """Raises ValueError (one line) for files that are no parquet, or have no image or label column."""
    files = shards(root)
    path = files[0][1]
    schema = parquet_files.opened(path).schema_arrow
    image, label = _one_of(path, schema.names, IMAGES), _one_of(path, schema.names, LABELS)
    names = parquet_files.class_label(path, schema, label) or numbered(request.classes)
    return Source(str(root), names, chain.from_iterable(_parts(root, files, image, label, request)))


def _parts(root: Path, files: list[tuple[str, Path]], image: str, label: str, request: Request) -> Iterator:
    train = 0
    for split, path in files:
        # A shard beyond the cap is not opened.
        if split == "train" and request.max_train is not None and train >= request.max_train:
            continue
        file = parquet_files.opened(path)
        train += file.metadata.num_rows if split == "train" else 0
        yield _items(root, split, path, file, image, label)


def _items(root: Path, split: str, path: Path, file: pq.ParquetFile, image: str, label: str) -> Iterator[Item]:
    if missing := {image, label} - set(file.schema_arrow.names):
        raise ValueError(f"{path}: no column {' or '.join(sorted(missing))}, which the first shard has")
    name = path.relative_to(root).as_posix()
    for row, values in enumerate(parquet_files.rows(path, file, [image, label])):
        picture = values[image]
        encoded = picture.get("bytes") if isinstance(picture, dict) else picture
        yield Item(f"{name}:{row}", split, values[label], encoded)


def _one_of(path: Path, columns: list[str], wanted: tuple[str, ...]) -> str:
    found = next((name for name in wanted if name in columns), None)
    if found is None:
        raise ValueError(f"{path}: no column {' or '.join(wanted)}; found {', '.join(columns)}")
    return found
