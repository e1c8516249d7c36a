"""What a folder of images holds, as one short text that changes with it: names, sizes and times, not bytes.

In: the path of a person's data. Out: a hash for a job's slice, so that a preparation runs again when images were added,
removed or replaced; what cannot be read is part of it, and no error. Reading it must cost a dry run next to nothing:
beyond `STATED` files only names count.

    python -m pytest tests/vptcore/data/test_signature.py
"""

from __future__ import annotations

import hashlib
import os
import zlib
from functools import lru_cache
from pathlib import Path

from vptcore.data.walk import tree

STATED = 10_000  # files whose size and time are looked at: 0.03 s


def signature(path: Path | str | None) -> str:
    """A hash of what is at `path`; empty where nothing is."""
    return "" if path is None else _signature(str(path))


# One look a run: Snakemake asks for a job's slice several times.
@lru_cache(maxsize=256)
def _signature(path: str) -> str:
    if os.path.isfile(path):
        return _hashed([_stated(path, path)])
    if not os.path.isdir(path):
        return ""
    found = tree(path)
    lines = [_stated(name, f"{path}/{name}") for name in found.files[:STATED]]
    unseen = sum(zlib.crc32(name.encode("utf-8", "surrogateescape")) for name in found.files[STATED:])
    return _hashed([*lines, *(f"{name} {why}" for name, why in found.unreadable), str(unseen)])


def _stated(name: str, path: str) -> str:
    try:
        found = os.stat(path)
    except OSError as error:  # a link to nothing: the preparation names it
        return f"{name} {error.strerror}"
    return f"{name} {found.st_size} {found.st_mtime_ns}"


def _hashed(lines: list[str]) -> str:
    return hashlib.sha256("\n".join(lines).encode("utf-8", "surrogateescape")).hexdigest()[:16]
