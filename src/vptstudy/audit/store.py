"""A study's files, each read once: sizes, hashes, rows as arrays, provenance, and the manifest's records.

In: a study's folder and a file's name inside it. Out: plain values; what cannot be read raises `Unusable` with one
line. Shared by the threads of an audit.

    python -m pytest tests/workflow/test_audit.py
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from vptcore.jobs import manifest
from vptcore.records import KINDS, METADATA_KEY, file_sha256
from vptstudy.audit.findings import Unusable

# Of larger files the size and a sample of blocks are checked against the manifest; `--deep` reads all.
BIG = 256 * 2**20
LARGE = frozenset({"predictions", "explain"})


class Store:
    """`root` is the study's folder, `base` the folder that relative paths of inputs from outside start in."""

    def __init__(self, root: Path, base: Path, *, deep: bool = False):
        self.root, self.base, self.deep = root, base, deep
        self.records, self.broken_records = _read_manifest(root)
        self._hashes: dict[str, str | None] = {}
        self._rows: dict[str, dict[str, np.ndarray] | Unusable] = {}
        self._notes: dict[str, dict] = {}
        self._locks: dict[str, threading.Lock] = {}
        self._lock = threading.Lock()

    def path(self, name: str) -> Path:
        """A result by its name inside the study; other inputs by their path."""
        return self.root / name if manifest.split_path(name) else self.base / name

    def exists(self, name: str) -> bool:
        return self.path(name).is_file()

    def entry(self, name: str) -> dict | None:
        """Size, hash and time of a file as its job wrote them down."""
        record = self.records.get(name)
        return record["outputs"][name] if record else None

    def is_untouched(self, name: str) -> bool:
        """Whether its size and its sample of blocks are the manifest's, whatever its time is."""
        entry = self.entry(name)
        return entry is not None and manifest.holds(entry, self.path(name))

    def is_trusted(self, name: str) -> bool:
        """Whether a big file is taken at its record's word."""
        return not self.deep and os.stat(self.path(name)).st_size > BIG and self.is_untouched(name)

    def identity(self, name: str) -> str | None:
        """What a file holds as an input of a job (`manifest.identity`); None if it is not there."""
        return manifest.rows_identity(self.path(name)) or self.sha256(name)

    def sha256(self, name: str) -> str | None:
        """The hash of a file as it is there; None if it is not."""
        with self._lock_of(name):
            if name not in self._hashes:
                path = self.path(name)
                if not path.is_file():
                    self._hashes[name] = None
                elif self.is_trusted(name):
                    self._hashes[name] = self.entry(name)["sha256"]
                else:
                    self._hashes[name] = file_sha256(path)
            return self._hashes[name]

    def rows(self, name: str, kind: str) -> dict[str, np.ndarray]:
        """Column -> values of a rows file. Raises Unusable."""
        with self._lock_of(name):
            found = self._rows.get(name)
            if found is None:
                try:
                    found = self._read_rows(name, kind)
                except Unusable as error:
                    found = error
                self._rows[name] = found
        if isinstance(found, Unusable):
            raise found
        return found

    def rows_if(self, name: str, kind: str) -> dict[str, np.ndarray] | None:
        """`rows`, or None where they are not there or cannot be read, which is reported with that file."""
        try:
            return self.rows(name, kind) if self.exists(name) else None
        except Unusable:
            return None

    def forget(self, names: Iterable[str]) -> None:
        """Let go of the rows of large kinds, which one job or two look at."""
        for name in names:
            if name.partition("/")[0] in LARGE:
                self._rows.pop(name, None)

    def note(self, name: str, kind: str) -> dict:
        """The provenance in a rows file's metadata. Raises Unusable."""
        if name not in self._notes:
            self.rows(name, kind)
        return self._notes[name]

    def _read_rows(self, name: str, kind: str) -> dict[str, np.ndarray]:
        data = self._bytes(name)
        if not data:
            raise Unusable("readable", "the file is empty")
        try:
            table = pq.ParquetFile(pa.py_buffer(data)).read(use_threads=False)  # an audit looks at two jobs at once
            note = json.loads((table.schema.metadata or {}).get(METADATA_KEY, b"null"))
            columns = {column: table.column(column) for column in table.schema.names}
            arrays = {column: _array(values) for column, values in columns.items()}
        except (pa.ArrowException, OSError, ValueError, KeyError, MemoryError) as error:
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise Unusable("readable", f"not a readable parquet file ({reason[:120]})") from None
        if not table.schema.remove_metadata().equals(KINDS[kind]):
            wrong = ", ".join(sorted(set(table.schema.names) ^ set(KINDS[kind].names))) or "column types or order"
            raise Unusable("schema", f"not rows of kind {kind}; they differ in {wrong}")
        if not isinstance(note, dict):
            raise Unusable("schema", "no provenance in its metadata; it was written by something else")
        self._notes[name] = note
        return arrays

    def _bytes(self, name: str) -> bytes:
        try:
            data = self.path(name).read_bytes()
        except OSError as error:
            raise Unusable("readable", f"cannot be read ({error.strerror})") from None
        self._hashes[name] = hashlib.sha256(data).hexdigest()
        return data

    def _lock_of(self, name: str) -> threading.Lock:
        with self._lock:
            return self._locks.setdefault(name, threading.Lock())


def _array(values: pa.ChunkedArray) -> np.ndarray:
    """A column as numpy: lists as one object array of arrays, integers with gaps as floats with NaN."""
    return values.combine_chunks().to_numpy(zero_copy_only=False)


def _read_manifest(root: Path) -> tuple[dict[str, dict], dict[str, str]]:
    """Output -> the record that holds it; and unusable records -> what is wrong with them."""
    records: dict[str, dict] = {}
    broken: dict[str, str] = {}
    folder = root / manifest.FOLDER
    for path in sorted(folder.rglob("*.json")) if folder.is_dir() else ():
        try:
            record = manifest.read_record(path)
            records.update(dict.fromkeys(record["outputs"], record))
        except (ValueError, OSError, KeyError) as error:
            broken[path.relative_to(folder).as_posix().removesuffix(".json")] = str(error).rpartition(": ")[2]
    return records, broken
