"""Parquet files that a person or a repository brings: opened, and read row by row, with one line for a broken one.

In: a path and the columns that are wanted. Out: the open file, rows as dicts, the JSON in the schema's metadata.

    python -m pytest tests/vptcore/data/test_sources.py tests/vptcore/data/test_hf.py
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

BATCH = 64
# pyarrow's own, and Python's where a text in a broken file is not UTF-8.
BROKEN = (OSError, ValueError, pa.ArrowException)


def opened(path: Path) -> pq.ParquetFile:
    """Raises ValueError (one line) for a file that is no parquet."""
    try:
        return pq.ParquetFile(path)
    except BROKEN as error:
        raise _unreadable(path, error) from None


def rows(path: Path, file: pq.ParquetFile, columns: list[str]) -> Iterator[dict]:
    """The rows of `file`, a batch at a time. Raises ValueError (one line) where its data are broken."""
    try:
        for batch in file.iter_batches(batch_size=BATCH, columns=columns):
            yield from batch.to_pylist()
    except BROKEN as error:
        raise _unreadable(path, error) from None


def stored_json(path: Path, schema: pa.Schema, key: str) -> dict | list | None:
    """What the schema's metadata hold as JSON below `key`; None where there is nothing."""
    stored = (schema.metadata or {}).get(key.encode())
    try:
        return json.loads(stored) if stored else None
    except ValueError:
        raise ValueError(f"{path}: the metadata {key!r} of its schema are not JSON") from None


def class_label(path: Path, schema: pa.Schema, column: str) -> tuple[str, ...]:
    """The names of `datasets`' ClassLabel in `column`, which it stores in the schema's metadata; empty for none."""
    feature = stored_json(path, schema, "huggingface") or {}
    for key in ("info", "features", column):
        feature = feature.get(key) if isinstance(feature, dict) else None
    return tuple(map(str, feature.get("names") or ())) if isinstance(feature, dict) else ()


def _unreadable(path: Path, error: Exception) -> ValueError:
    return ValueError(f"{path}: not a readable parquet file ({str(error).splitlines()[0]}); fetch or write it again")
