"""Rows on disk: parquet in and out, one fixed schema per kind, provenance in the file's metadata, written whole or not
at all.

In: rows (dicts of columns or a pandas frame) of one of `KINDS`. Out: `<folder>/rows.parquet` in a hive-style path whose
`key=value` parts (backbone, method, task, train) are columns to pandas, pyarrow, polars and DuckDB; the file itself
does not repeat them.

    python -m pytest tests/vptcore/test_records.py
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

METADATA_KEY = b"vptcore"
# Columns that are read only where they are named: most readers of a search want no logits.
HEAVY = {"search": ("val_logits",)}
MOST_LOGITS = 1_000_000  # numbers a configuration: 2 MB, and 80 MB for the paper's largest grid
_UMASK = os.umask(0o022)
os.umask(_UMASK)


def digest(value: object) -> str:
    """Twelve hex digits that change when a JSON-like value does, whatever the order of its keys."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:12]


class RowsError(ValueError):
    """A rows file that cannot be used. Its message is one line."""


def _schema(**columns: pa.DataType) -> pa.Schema:
    return pa.schema([pa.field(name, kind) for name, kind in columns.items()])


_f, _i, _s, _b = pa.float64(), pa.int32(), pa.string(), pa.bool_()

# One schema per kind. Losses are mean cross-entropy in nats, accuracies lie in [0, 1], seconds are wall time.
KINDS: dict[str, pa.Schema] = {
    # One row per image of a task's arrays, in the arrays' order.
    "index": _schema(row=_i, split=_s, label=_i, class_name=_s, key=_s, source=_s, sha256=_s, width=_i, height=_i),
    # Which rows of the index a train size uses: part is train, val or test.
    "splits": _schema(part=_s, row=_i),
    # One row per configuration of a grid, scored on val at the last epoch. `val_logits` are those of every val image,
    # one after the other, less the image's largest; null where it diverged, or they would be more than MOST_LOGITS.
    "search": _schema(
        config=_i,
        seed=_i,
        optimizer=_s,
        lr=_f,
        weight_decay=_f,
        batch=_i,
        epochs=_i,
        prompt_length=_i,
        val_accuracy=_f,
        val_loss=_f,
        train_accuracy=_f,
        train_loss=_f,
        diverged=_b,
        tuned_parameters=pa.int64(),
        total_parameters=pa.int64(),
        train_images=_i,
        val_images=_i,
        images_per_second=_f,
        seconds=_f,
        compile_seconds=_f,
        device=_s,
        val_predictions=pa.list_(pa.int16()),
        val_logits=pa.list_(pa.float16()),
    ),
    # One row per seed: the chosen configuration trained on train+val and scored on test at the last epoch.
    "final": _schema(
        seed=_i,
        config=_i,
        optimizer=_s,
        lr=_f,
        weight_decay=_f,
        batch=_i,
        epochs=_i,
        prompt_length=_i,
        test_accuracy=_f,
        test_loss=_f,
        train_accuracy=_f,
        train_loss=_f,
        diverged=_b,
        tuned_parameters=pa.int64(),
        total_parameters=pa.int64(),
        train_images=_i,
        test_images=_i,
        images_per_second=_f,
        seconds=_f,
        compile_seconds=_f,
        device=_s,
    ),
    # One row per seed and epoch, counted from 1; the test columns are null for seeds whose test curve is not kept.
    "curves": _schema(seed=_i, epoch=_i, lr=_f, train_loss=_f, train_accuracy=_f, test_loss=_f, test_accuracy=_f),
    # One row per seed and test image; `row` is the image's row in the task's index.
    "predictions": _schema(seed=_i, row=_i, label=_i, prediction=_i, confidence=pa.float32(), loss=pa.float32()),
    # One row per task: the Fréchet distance between its images and the reference in the features of `network`, its 95 %
    # interval over resampled images, its limit for ever more images, the kernel distance and its std over subsets.
    # reference_images is null for statistics that do not say, the kernel distance for those without features.
    # reference_spread is the trace of the reference's covariance: how far its own images are from their mean, squared.
    "fid": _schema(
        network=_s,
        resize=_s,
        reference=_s,
        reference_sha256=_s,
        reference_images=_i,
        reference_spread=_f,
        images=_i,
        dimensions=_i,
        fid=_f,
        fid_low=_f,
        fid_high=_f,
        fid_infinity=_f,
        kid=_f,
        kid_std=_f,
    ),
    # One row per explained image and method: which class the map explains, which form of Grad-CAM it is (`cam`), the
    # map itself (grid_h x grid_w values in [0, 1], row by row), and the image as PNG bytes. `ig` are the integrated
    # gradients of the same class (ig_h x ig_w absolute values, row by row); `ig_difference` is the score's rise over
    # the black image that they should add up to, and `ig_delta` by how much their sum misses it.
    "explain": _schema(
        pick=_i,
        row=_i,
        label=_i,
        case=_s,
        method=_s,
        prediction=_i,
        confidence=pa.float32(),
        target=_i,
        cam=_s,
        layer=_s,
        grid_h=_i,
        grid_w=_i,
        map=pa.list_(pa.float32()),
        image_png=pa.binary(),
        ig_h=_i,
        ig_w=_i,
        ig_steps=_i,
        ig=pa.list_(pa.float32()),
        ig_delta=_f,
        ig_difference=_f,
    ),
    # A few test images of a task as PNG bytes, for the figure that shows every data set.
    "examples": _schema(row=_i, label=_i, class_name=_s, image_png=pa.binary()),
}


@contextmanager
def replacing(path: Path | str):
    """Yield a path beside `path` to write to; it takes `path`'s place in one step, or is removed on failure.

    What a killed writer of the same file left is removed too.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    _remove_remnants(path)
    beside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield beside
        # safetensors writes for the owner alone; results are for everyone whom the umask allows.
        os.chmod(beside, 0o666 & ~_UMASK)
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)


def _remove_remnants(path: Path) -> None:
    """Delete half-written neighbours of `path` whose writers are no longer alive."""
    named = re.compile(re.escape(f".{path.name}.") + r"(\d+)\.tmp")
    for entry in os.scandir(path.parent):
        if (match := named.fullmatch(entry.name)) and not _is_alive(int(match[1])):
            Path(entry.path).unlink(missing_ok=True)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True


def write_text(path: Path | str, text: str) -> None:
    with replacing(path) as beside:
        beside.write_text(text, encoding="utf-8")


def write_rows(
    path: Path | str, kind: str, rows: Mapping | pd.DataFrame | Iterable[Mapping], provenance: Mapping
) -> None:
    """Write rows of `kind`, columns in the schema's order. Missing or unknown columns are an error."""
    schema = KINDS[kind]
    if isinstance(rows, pd.DataFrame):
        columns = {name: rows[name].tolist() if rows[name].dtype == object else rows[name] for name in rows}
    elif isinstance(rows, Mapping):
        columns = dict(rows)
    else:
        rows = list(rows)
        columns = {name: [row[name] for row in rows] for name in schema.names}
        extra = {name for row in rows for name in row} - set(schema.names)
        columns.update(dict.fromkeys(extra))
    if set(columns) != set(schema.names):
        wrong = sorted(set(columns) ^ set(schema.names))
        raise RowsError(f"{path}: rows of kind {kind} have missing or unknown columns: {', '.join(wrong)}")
    table = pa.table([pa.array(columns[f.name], f.type, from_pandas=True) for f in schema], schema=schema)
    note = {"kind": kind, **provenance, "rows": rows_hash(table)}
    table = table.replace_schema_metadata({METADATA_KEY: json.dumps(note, sort_keys=True).encode()})
    with replacing(path) as beside:
        pq.write_table(table, beside, compression="zstd")


def read_rows(path: Path | str, kind: str, columns: Sequence[str] | None = None) -> pd.DataFrame:
    """The rows of one file, with the hive parts of its path as columns in front; all columns but HEAVY ones, or those
    named."""
    columns = columns or [name for name in KINDS[kind].names if name not in HEAVY.get(kind, ())]
    table = _read_table(path, kind, columns)
    frame = table.replace_schema_metadata(None).to_pandas()
    for position, (name, value) in enumerate(hive_parts(path).items()):
        frame.insert(position, name, value)
    return frame


def read_many(paths: Iterable[Path | str], kind: str, columns: Sequence[str] | None = None) -> pd.DataFrame:
    """The rows of many files as one frame; an empty frame with the kind's columns if there are none."""
    frames = [read_rows(path, kind, columns) for path in paths]
    if not frames:
        return pd.DataFrame(columns=["backbone", "method", "task", "train", *KINDS[kind].names])
    return pd.concat(frames, ignore_index=True)


def read_provenance(path: Path | str) -> dict:
    """What made the file: kind, job, recipe and slice hashes, input hashes, versions, device, start and duration."""
    try:
        stored = pq.read_metadata(path).metadata or {}
    except (OSError, pa.ArrowInvalid) as error:
        raise RowsError(f"{path}: not a readable parquet file ({_first_line(error)})") from None
    if METADATA_KEY not in stored:
        raise RowsError(f"{path}: parquet without this project's provenance; it was written by something else")
    return json.loads(stored[METADATA_KEY])


def _read_table(path: Path | str, kind: str, columns: Sequence[str] | None = None) -> pa.Table:
    try:
        file = pq.ParquetFile(path)
        schema = file.schema_arrow
        table = file.read(columns) if schema.equals(KINDS[kind]) else file.schema_arrow.empty_table()
    except FileNotFoundError:
        raise RowsError(f"{path}: no such file; expected rows of kind {kind}") from None
    except (OSError, pa.ArrowInvalid) as error:
        raise RowsError(
            f"{path}: not a readable parquet file ({_first_line(error)}); delete it and run again"
        ) from None
    if not schema.equals(KINDS[kind]):
        found, expected = set(schema.names), set(KINDS[kind].names)
        wrong = ", ".join(sorted(found ^ expected)) or "column types or order"
        raise RowsError(
            f"{path}: not rows of kind {kind}, or of another version (they differ in {wrong}); run the study again"
        )
    return table


def hive_parts(path: Path | str) -> dict[str, str]:
    """{'task': 'digits', ...} from the key=value folders right above a file, or at the end of a folder's path.

    Folders further up are no part of it, whatever they are called: `run=3/results/...` adds no column.
    """
    parts = Path(path).parts
    if parts and "=" not in parts[-1]:
        parts = parts[:-1]
    pairs = [part.partition("=") for part in parts]
    first = max((place + 1 for place, (_, equals, _) in enumerate(pairs) if not equals), default=0)
    return {key: value for key, _, value in pairs[first:]}


def file_sha256(path: Path | str) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def rows_hash(table: pa.Table) -> str:
    """The sha256 of a table's values, whatever its metadata says and however its file is laid out."""
    together = hashlib.sha256()
    for name, column in zip(table.column_names, table.columns, strict=True):
        together.update(f"{name} {column.type} {len(column)}\n".encode())
        _add_values(together, column.combine_chunks())
    return together.hexdigest()


def _add_values(together, values: pa.Array) -> None:
    """Add an array's values to a hash: which are null, how long each is where that varies, and their bytes."""
    together.update(np.packbits(values.is_valid().to_numpy(zero_copy_only=False)).tobytes())
    if pa.types.is_list(values.type):
        together.update(pc.fill_null(pc.list_value_length(values), 0).to_numpy().tobytes())
        _add_values(together, values.flatten())
    elif pa.types.is_string(values.type) or pa.types.is_binary(values.type):
        raw = pc.fill_null(values.cast(pa.binary()), b"")
        together.update(pc.binary_length(raw).to_numpy(zero_copy_only=False).tobytes())
        together.update(b"".join(raw.to_pylist()))
    else:
        zero = False if pa.types.is_boolean(values.type) else 0
        together.update(pc.fill_null(values, zero).to_numpy(zero_copy_only=False).tobytes())


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__
