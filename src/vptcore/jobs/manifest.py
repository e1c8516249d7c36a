"""The manifest: as a job ends, the size and sha256 of every file it wrote, in one small JSON file of its own.

In: a job's slice, the files it read and the files it made. Out: `<study>/manifest/<first output>.json`, written whole
or not at all. There is no central file: jobs end at the same time on different machines. The old record goes before a
job starts, so that what a killed job left is never taken for what its record says.

    python -m pytest tests/workflow/test_audit.py
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import time
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path

import vptcore
from vptcore.records import KINDS, digest, file_sha256, write_text

FOLDER = "manifest"
# The folders of a study that hold results: files, or folders named key=value.
REPORT = "report"
FLAT = frozenset({"tables", "figures", "reference", REPORT})
STAGES = frozenset({*KINDS, "data", "models", "features"}) | FLAT
SHARDS = "shards"
# What Snakemake keeps the time of a folder by.
MARK = ".snakemake_timestamp"
# Says how fast a job works, never what it makes.
NOT_MEANING = ("workers",)
# A larger folder of images is known by its files' names, sizes and times alone.
CONTENT_BYTES = 8 * 2**30


def split_path(path: Path | str) -> tuple[Path, str] | None:
    """A result's study folder and its name inside it; None for a file that is no study's result."""
    path = Path(path)
    if path.name == REPORT:
        return path.parent, REPORT
    for position in range(len(path.parts) - 2, -1, -1):
        part, after = path.parts[position : position + 2]
        if part in FLAT or (part in STAGES and "=" in after):
            # The parts of a grid or of the seeds lie under a folder of their own, shards/search/…; and the report
            # holds copies of tables and figures.
            position -= position > 0 and path.parts[position - 1] in (SHARDS, REPORT)
            return Path(*path.parts[:position]), "/".join(path.parts[position:])
        if "=" not in part:
            return None
    return None


def record_path(root: Path | str, first_output: str) -> Path:
    return Path(root) / FOLDER / f"{first_output}.json"


class Record:
    """What a job has to say for the manifest: started before its function runs, `finish`ed after."""

    def __init__(self, job: Mapping, reads: Iterable[str], makes: Iterable[str]):
        self.job = {key: value for key, value in job.items() if key not in NOT_MEANING}
        self.makes = [(Path(path), found) for path in makes if (found := split_path(path))]
        self.started = time.time()
        self.inputs, self.source = {}, None
        if self.makes:
            self.record.unlink(missing_ok=True)
            self.inputs = {_name(path): _sha256(path) for path in reads}
            self.source = folder_state(job["path"]) if os.path.isdir(job.get("path") or "") else None

    @property
    def record(self) -> Path:
        (_, (root, first)) = self.makes[0]
        return record_path(root, f"{REPORT}/index.html" if first == REPORT else first)

    def finish(self) -> None:
        """Hash what was made and write the record; nothing for a job that makes no result of a study."""
        if not self.makes:
            return
        note = {
            "job": self.job,
            "job_hash": digest(self.job),
            "inputs": self.inputs,
            "outputs": dict(sorted(state for path, (_, name) in self.makes for state in _states(path, name))),
            "version": vptcore.__version__,
            "code": code_hash(),
            "python": platform.python_version(),
            "ended": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "seconds": round(time.time() - self.started, 3),
            **({"source": self.source} if self.source else {}),
        }
        write_text(self.record, json.dumps(note | {"self": digest(note)}, sort_keys=True) + "\n")


def read_record(path: Path | str) -> dict:
    """One record. Raises ValueError (one line) if it is not what `Record.finish` wrote, to the last digit."""
    try:
        note = json.loads(Path(path).read_text(encoding="utf-8"))
        mark = note.pop("self")
    except (ValueError, KeyError, AttributeError, TypeError):
        raise ValueError(f"{path}: not a readable record") from None
    if mark != digest(note):
        raise ValueError(f"{path}: the record has been changed since it was written")
    return note


def folder_state(folder: Path | str, *, content: bool = True) -> dict:
    """What a task's folder of images holds: `listing` changes with any name, size or time, `content` with any byte.

    A folder is no input of Snakemake's, so that a changed image in it is for the audit to find.
    """
    files = sorted(path for path in Path(folder).rglob("*") if path.is_file() and not path.name.startswith("."))
    states = [(path.relative_to(folder).as_posix(), path.stat()) for path in files]
    listing = digest([[name, state.st_size, state.st_mtime_ns] for name, state in states])
    size = sum(state.st_size for _, state in states)
    hashes = None
    if content and size <= CONTENT_BYTES:
        hashes = digest([[name, file_sha256(path)] for path, (name, _) in zip(files, states, strict=True)])
    return {"files": len(files), "bytes": size, "listing": listing, "content": hashes}


def _name(path: Path | str) -> str:
    """A study's result by its name inside the study, so that a study may be moved; any other file by its path."""
    found = split_path(path)
    return found[1] if found else str(path)


def _states(path: Path, name: str):
    """A file's state, or those of all files of a folder."""
    if not path.is_dir():
        yield name, _state(path)
        return
    files = (file for file in sorted(path.rglob("*")) if file.is_file() and file.name != MARK)
    yield from ((f"{name}/{file.relative_to(path).as_posix()}", _state(file)) for file in files)


def _state(path: Path) -> dict:
    state = os.stat(path)
    return {"bytes": state.st_size, "sha256": file_sha256(path), "mtime_ns": state.st_mtime_ns}


def _sha256(path: Path | str) -> str | None:
    """The hash of an input: from the record of the job that made it where size and time are still the same."""
    if not os.path.isfile(path):
        return None
    found = split_path(path)
    known = _recorded(*found, os.stat(path)) if found else None
    return known or file_sha256(path)


def _recorded(root: Path, name: str, state: os.stat_result) -> str | None:
    try:
        entry = read_record(record_path(root, name))["outputs"][name]
    except (OSError, ValueError, KeyError):
        return None
    same = (entry["bytes"], entry["mtime_ns"]) == (state.st_size, state.st_mtime_ns)
    return entry["sha256"] if same else None


@cache
def code_hash() -> str:
    """Twelve digits that change with any Python file of this package."""
    folder = Path(vptcore.__file__).parent
    together = hashlib.sha256()
    for path in sorted(folder.rglob("*.py")):
        together.update(path.relative_to(folder).as_posix().encode())
        together.update(path.read_bytes())
    return together.hexdigest()[:12]
