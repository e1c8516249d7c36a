"""What a folder of images holds, as one short text that changes with it: names, sizes and times, not bytes.

In: the path of a person's data. Out: a hash for a job's slice, so that a preparation runs again when images were added,
removed or replaced. Reading it must cost a dry run next to nothing: beyond `STATED` files only names count. Imports
neither torch nor numpy.

    python -m pytest tests/vptcore/data/test_signature.py
"""

from __future__ import annotations

import hashlib
import os
import zlib
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

STATED = 10_000  # files whose size and time are looked at: 0.03 s


def signature(path: Path | str | None) -> str:
    """A hash of what lies at `path`; empty where nothing does."""
    return "" if path is None else _signature(str(path))


# One look a run: Snakemake asks for a job's slice several times.
@lru_cache(maxsize=256)
def _signature(path: str) -> str:
    if os.path.isfile(path):
        return _hashed([_stated(path, os.stat(path))])
    if not os.path.isdir(path):
        return ""
    lines, unseen = [], 0
    for name, entry in _files(path, ""):
        if len(lines) < STATED:
            lines.append(_stated(name, entry.stat()))
        else:
            unseen += zlib.crc32(name.encode("utf-8", "surrogateescape"))  # a sum: no order to keep
    return _hashed([*lines, str(unseen)])


def _files(folder: str, above: str) -> Iterator[tuple[str, os.DirEntry]]:
    """All files below a folder in a fixed order, with their names from there; what starts with a dot is no image."""
    with os.scandir(folder) as found:
        entries = {entry.name: entry for entry in found if not entry.name.startswith(".")}
    for name in sorted(entries):
        if entries[name].is_dir():
            yield from _files(entries[name].path, f"{above}{name}/")
        else:
            yield above + name, entries[name]


def _stated(name: str, found: os.stat_result) -> str:
    return f"{name} {found.st_size} {found.st_mtime_ns}"


def _hashed(lines: list[str]) -> str:
    return hashlib.sha256("\n".join(lines).encode("utf-8", "surrogateescape")).hexdigest()[:16]
