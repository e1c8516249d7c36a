"""What a person's images are, as one short text that changes with them. What cannot be read is part of it, no error.

In: the path of a folder, or of a file and the images that it names. Out: a hash for a job's slice, so that a
preparation runs again when images were added, removed or replaced. Of images it takes names, sizes and times, of a
single file a sample of its bytes: that file may be moved, copied and touched.

    python -m pytest tests/vptcore/data/test_signature.py
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path

from vptcore.data.walk import tree
from vptcore.jobs.manifest import blocks_hash

# So many files are looked at by one thread, and so many threads at once: a network's disk answers each after a while.
SHARE, THREADS = 2_000, 16


def signature(path: Path | str | None, named: Iterable[str] = ()) -> str:
    """A hash of what is at `path`, a folder, or a file and the images `named` from its folder; empty for nothing."""
    return "" if path is None else _signature(str(path), tuple(named))


# One look a run: Snakemake asks for a job's slice several times.
@lru_cache(maxsize=256)
def _signature(path: str, named: tuple[str, ...]) -> str:
    if os.path.isfile(path):
        return _hashed([_content(path), *_states(os.path.dirname(path), named)])
    if not os.path.isdir(path):
        return ""
    found = tree(path)
    return _hashed([*_states(path, found.files), *(f"{name} {why}" for name, why in found.unreadable)])


def _content(path: str) -> str:
    try:
        return blocks_hash(path)
    except OSError as error:
        return str(error.strerror)


def _states(folder: str, names: Iterable[str]) -> list[str]:
    """What the system says of each file, in the order given."""
    names = list(names)
    shares = [names[start : start + SHARE] for start in range(0, len(names), SHARE)]
    with ThreadPoolExecutor(THREADS) as pool:
        return [line for lines in pool.map(lambda share: [_stated(folder, n) for n in share], shares) for line in lines]


def _stated(folder: str, name: str) -> str:
    try:
        found = os.stat(os.path.join(folder, name))
    except OSError as error:  # a link to nothing: the preparation names it
        return f"{name} {error.strerror}"
    return f"{name} {found.st_size} {found.st_mtime_ns}"


def _hashed(lines: list[str]) -> str:
    return hashlib.sha256("\n".join(lines).encode("utf-8", "surrogateescape")).hexdigest()[:16]
