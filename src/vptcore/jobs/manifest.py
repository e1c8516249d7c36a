"""The manifest: as a job ends, the size and sha256 of every file it wrote, in one small JSON file of its own.

In: a job's slice, the files it read and the files it made. Out: `<study>/manifest/<first output>.json`, written whole
or not at all. There is no central file: jobs end at the same time on different machines. A record is believed only of a
file that still has its size and its sample of blocks, whatever the times say: Snakemake touches what a job made, and
copies lose times.

    python -m pytest tests/vptcore/jobs/test_manifest.py
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

import vptcore
from vptcore.jobs.meaning import meaning
from vptcore.records import KINDS, METADATA_KEY, digest, file_sha256, write_text

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
# Of a file so many blocks of so many bytes are looked at, from the first to the last; smaller files are read whole.
BLOCKS, BLOCK_BYTES = 64, 64 * 1024


def split_path(path: Path | str) -> tuple[Path, str] | None:
    """A result's study folder and its name inside it; None for a file that is no study's result."""
    path = Path(path)
    if path.name == REPORT:
        return path.parent, REPORT
    for position in range(len(path.parts) - 2, -1, -1):
        part, after = path.parts[position : position + 2]
        if part in FLAT or (part in STAGES and "=" in after):
            # The parts of a grid or of the seeds are in a folder of their own, shards/search/…; and the report
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
        self.inputs = _identities(reads) if self.makes else {}

    @property
    def record(self) -> Path:
        return _record_of(self.makes)

    def is_made(self) -> bool:
        """Whether this very job made the files that are there."""
        return _is_made(self.record, self.job, self.inputs, self.makes) if self.makes else False

    def finish(self, source: Mapping | None = None) -> None:
        """Hash what was made and write the record; nothing for a job that makes no result of a study.

        `source` is what the images were that the job decoded (`data.whereabouts.seen`).
        """
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
            **({"source": source} if source else {}),
        }
        write_text(self.record, json.dumps(note | {"self": digest(note)}, sort_keys=True) + "\n")


def is_made(job: Mapping, reads: Iterable[str], makes: Iterable[str]) -> bool:
    """Whether a job with this slice and these inputs made the files that are there, as its record says."""
    results = [(Path(path), found) for path in makes if (found := split_path(path))]
    return bool(results) and _is_made(_record_of(results), dict(job), _identities(reads), results)


Results = Sequence[tuple[Path, tuple[Path, str]]]


def _record_of(makes: Results) -> Path:
    (_, (root, first)) = makes[0]
    return record_path(root, f"{REPORT}/index.html" if first == REPORT else first)


def _is_made(record: Path, job: Mapping, inputs: Mapping, makes: Results) -> bool:
    try:
        note = read_record(record)
    except (OSError, ValueError):
        return False
    return (
        meaning(note["job"]) == meaning(job)
        and note["inputs"] == inputs
        and all(_all_hold(note["outputs"], path, name) for path, (_, name) in makes)
    )


def _all_hold(outputs: Mapping, path: Path, name: str) -> bool:
    """A file, or all files of a folder, as a record has them."""
    if not path.is_dir():
        return name in outputs and holds(outputs[name], path)
    inside = {key: entry for key, entry in outputs.items() if key.startswith(f"{name}/")}
    return bool(inside) and all(holds(entry, path / key.removeprefix(f"{name}/")) for key, entry in inside.items())


def _identities(paths: Iterable[str]) -> dict[str, str | None]:
    """What each file holds. A hidden file is a mark of something done, and holds nothing."""
    named = {known_as(path): path for path in paths if not os.path.basename(path).startswith(".")}
    return {name: identity(path) if os.path.isfile(path) else None for name, path in named.items()}


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


def known_as(path: Path | str) -> str:
    """A study's result by its name inside the study, any other file by its own: both may be moved."""
    found = split_path(path)
    return found[1] if found else Path(path).name


def _states(path: Path, name: str):
    """A file's state, or those of all files of a folder."""
    if not path.is_dir():
        yield name, _state(path)
        return
    files = (file for file in sorted(path.rglob("*")) if file.is_file() and file.name != MARK)
    yield from ((f"{name}/{file.relative_to(path).as_posix()}", _state(file)) for file in files)


def _state(path: Path) -> dict:
    state = {"bytes": os.stat(path).st_size, "sha256": file_sha256(path), "blocks": blocks_hash(path)}
    rows = rows_identity(path)
    return state | ({"rows": rows} if rows else {})


def blocks_hash(path: Path | str) -> str:
    """A hash of a file's size and of blocks spread over it: 4 MB are read of a file of any size.

    Another file of the same size differs in it; a few bytes changed in place may not, and are for the audit to find.
    """
    size = os.stat(path).st_size
    last = max(0, size - BLOCK_BYTES)
    together = hashlib.sha256(str(size).encode())
    with open(path, "rb") as file:
        for number in range(BLOCKS if size > BLOCKS * BLOCK_BYTES else 1):
            file.seek(number * last // (BLOCKS - 1))
            together.update(file.read(BLOCK_BYTES if size > BLOCKS * BLOCK_BYTES else -1))
    return together.hexdigest()[:32]


def holds(entry: Mapping, path: Path | str) -> bool:
    """Whether a file is the one that a record speaks of, by its size and blocks."""
    try:
        return entry["bytes"] == os.stat(path).st_size and entry.get("blocks") == blocks_hash(path)
    except OSError:
        return False


def identity(path: Path | str) -> str:
    """What a file holds, as a hash: rows by their values, an array or model as its record says, all else by its bytes.

    A file is looked at once in a process while its size and time stay the same.
    """
    state = os.stat(path)
    return _identity(str(path), state.st_size, state.st_mtime_ns)


@cache
def _identity(path: str, size: int, mtime_ns: int) -> str:
    return rows_identity(path) or recorded(path) or file_sha256(path)


def rows_identity(path: Path | str) -> str | None:
    """The identity of a rows file, from its metadata: its values and what stands in for a benchmark's own images."""
    if Path(path).suffix != ".parquet":
        return None
    try:
        note = json.loads((pq.read_metadata(path).metadata or {})[METADATA_KEY])
        said = json.dumps([note["rows"], note.get("substitutes") or []])
        return hashlib.sha256(said.encode()).hexdigest()
    except (OSError, ValueError, KeyError, TypeError, pa.ArrowException):
        return None


def recorded(path: Path | str) -> str | None:
    """The sha256 of a result from the record of the job that made it; None where the file is not that one any more."""
    if not (found := split_path(path)):
        return None
    root, name = found
    for record in (record_path(root, name), *_siblings(root, name)):
        try:
            entry = read_record(record)["outputs"][name]
        except (OSError, ValueError, KeyError):
            continue
        return entry["sha256"] if holds(entry, path) else None
    return None


# Whose record speaks of a file that is not the first of its job: that of the rows of its cell.
_WRITTEN_WITH = {"curves": ("final",), "predictions": ("final",), "models": ("final", "search")}


def _siblings(root: Path, name: str) -> Iterator[Path]:
    kind, _, rest = name.partition("/")
    folder = rest.rpartition("/")[0]
    yield from (record_path(root, f"{first}/{folder}/rows.parquet") for first in _WRITTEN_WITH.get(kind, ()))


@cache
def code_hash() -> str:
    """Twelve digits that change with any Python file of this package."""
    folder = Path(vptcore.__file__).parent
    together = hashlib.sha256()
    for path in sorted(folder.rglob("*.py")):
        together.update(path.relative_to(folder).as_posix().encode())
        together.update(path.read_bytes())
    return together.hexdigest()[:12]
