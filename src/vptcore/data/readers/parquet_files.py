"""Tables of images that a person or a repository brings, parquet or Arrow: schema, rows, one line for a broken one.

In: the path of a parquet file, or of an .arrow file as `datasets` saves it. Out: its schema, its rows as dicts a batch
at a time, the JSON in its metadata.

    python -m pytest tests/vptcore/data/test_sources.py tests/vptcore/data/test_hf.py
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

BATCH = 64
# pyarrow's own, and Python's where a text in a broken file is not UTF-8.
BROKEN = (OSError, ValueError, pa.ArrowException)


def schema_of(path: Path) -> pa.Schema:
    """Raises ValueError (one line) for a file that is no table."""
    with _errors(path):
        if _is_arrow(path):
            with pa.memory_map(str(path)) as source:
                return pa.ipc.open_stream(source).schema
        return pq.read_schema(path)


def rows(path: Path, columns: Sequence[str]) -> Iterator[dict]:
    """The rows, a batch at a time. Raises ValueError (one line) where the data are broken."""
    with _errors(path):
        for batch in _batches(path, list(columns)):
            yield from batch.to_pylist()


def count(path: Path) -> int:
    with _errors(path):
        if _is_arrow(path):
            return sum(batch.num_rows for batch in _batches(path, []))
        return pq.read_metadata(path).num_rows


def _batches(path: Path, columns: list[str]) -> Iterator[pa.RecordBatch]:
    if not _is_arrow(path):
        with pq.ParquetFile(path) as file:
            yield from file.iter_batches(batch_size=BATCH, columns=columns)
        return
    with pa.memory_map(str(path)) as source:
        for batch in pa.ipc.open_stream(source):
            chosen = batch.select(columns) if columns else batch
            yield from (chosen.slice(start, BATCH) for start in range(0, chosen.num_rows, BATCH))


def _is_arrow(path: Path) -> bool:
    return path.suffix == ".arrow"


@contextmanager
def _errors(path: Path) -> Iterator[None]:
    try:
        yield
    except BROKEN as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        kind = "Arrow" if _is_arrow(path) else "parquet"
        raise ValueError(f"{path}: not a readable {kind} file ({reason}); fetch or write it again") from None


def stored_json(path: Path, schema: pa.Schema, key: str) -> dict | list | None:
    """What the schema's metadata hold as JSON below `key`; None where there is nothing."""
    stored = (schema.metadata or {}).get(key.encode())
    try:
        return json.loads(stored) if stored else None
    except ValueError:
        raise ValueError(f"{path}: the metadata {key!r} of its schema are not JSON") from None


def class_names(path: Path, schema: pa.Schema, column: str) -> tuple[str, ...]:
    """The names that the schema stores: a JSON list `classes`, or those of `datasets`' ClassLabel; empty for none."""
    stored = stored_json(path, schema, "classes")
    if isinstance(stored, list):
        return tuple(map(str, stored))
    feature = stored_json(path, schema, "huggingface") or {}
    for key in ("info", "features", column):
        feature = feature.get(key) if isinstance(feature, dict) else None
    return tuple(map(str, feature.get("names") or ())) if isinstance(feature, dict) else ()


def picture(value: object, folder: Path) -> object:
    """An image column's value: its bytes, or the file, named from `folder`, given in place of them."""
    if isinstance(value, str):
        return folder / value
    if not isinstance(value, dict):
        return value
    return value.get("bytes") or (folder / value["path"] if value.get("path") else None)


def named_images(path: Path, column: str) -> list[str]:
    """The files that an image column gives in place of bytes, as it names them; no image is read.

    Raises ValueError (one line) for a file that is no table.
    """
    with _errors(path):
        kind = schema_of(path).field(column).type
        if pa.types.is_struct(kind):
            has_paths = kind.get_field_index("path") >= 0 and _lacks_bytes(path, column)
            return [name for name in _paths(path, column) if name] if has_paths else []
        is_text = pa.types.is_string(kind) or pa.types.is_large_string(kind)
        return [row[column] for row in rows(path, [column]) if row[column]] if is_text else []


def _paths(path: Path, column: str) -> Iterator[str | None]:
    for batch in _batches(path, [column if _is_arrow(path) else f"{column}.path"]):
        yield from batch.column(0).field("path").to_pylist()


def _lacks_bytes(path: Path, column: str) -> bool:
    """Whether any image of a struct column may be without bytes, by what the file says of itself."""
    if _is_arrow(path):
        return any(batch.column(0).field("bytes").null_count for batch in _batches(path, [column]))
    about = pq.read_metadata(path)
    leaves = [about.schema.column(index).path for index in range(len(about.schema))]
    leaf = leaves.index(f"{column}.bytes")
    chunks = [about.row_group(group).column(leaf) for group in range(about.num_row_groups)]
    return any(not chunk.statistics or chunk.statistics.null_count != 0 for chunk in chunks)
