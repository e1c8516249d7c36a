"""What a file says of the job that made it, and whether today's job would read the same.

In: a file's path, a job's slice, the files that it reads. Out: the note: rows have it in their metadata, other files in
their record in the manifest. Only metadata is read: a second for two thousand files.

    python -m pytest tests/vptstudy/graph/test_stale.py
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping

import pyarrow as pa
import pyarrow.parquet as pq

from vptcore.jobs import manifest
from vptcore.jobs.meaning import meaning
from vptcore.records import METADATA_KEY


def note_of(path: str) -> dict:
    """The note of the job that made a file; {} where none can be read."""
    try:
        if path.endswith(".parquet"):
            return json.loads((pq.read_metadata(path).metadata or {})[METADATA_KEY])
        root, name = manifest.split_path(path)
        first = f"{manifest.REPORT}/index.html" if name == manifest.REPORT else name
        return manifest.read_record(manifest.record_path(root, first))
    except (OSError, ValueError, KeyError, TypeError, pa.ArrowException):
        return {}


def is_todays(path: str, job: Mapping, reads: Iterable[str]) -> bool:
    """Whether a file says that it was made by a job of this meaning, from the rows that stand there."""
    note = note_of(path)
    return "job" in note and meaning(note["job"]) == meaning(job) and not other_input(note, reads)


def other_input(note: Mapping, reads: Iterable[str]) -> str:
    """The first input that is other rows, or another file of a person's, than the file was made from; '' for none."""
    then = _inputs(note)
    return next((path for path in reads if _is_other(path, then.get(manifest.known_as(path)))), "")


def _is_other(path: str, then: str | None) -> bool:
    if not then or not os.path.exists(path):
        return False
    is_result = manifest.split_path(path) is not None
    now = manifest.rows_identity(path) if is_result else manifest.identity(path)
    return now is not None and now != then


def _inputs(note: Mapping) -> dict[str, str]:
    """Input -> identity, by names inside the study, as a file's metadata or its record in the manifest has them."""
    names = {}
    for name, entry in note.get("inputs", {}).items():
        path, identity = (entry["path"], entry["sha256"]) if isinstance(entry, Mapping) else (name, entry)
        names[manifest.known_as(path)] = identity
    return names
