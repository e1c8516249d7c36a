"""What a person's images are, as short texts that change with them. What cannot be read is part of it, no error.

In: the path of a folder, or of a file, and the images elsewhere that a file there names. Out: `signature`, a hash for a
job's slice, so that a preparation runs again when images were added, removed or replaced: of images it takes names,
sizes and times, of a single file a sample of its bytes. And `content`, which changes with any byte and with no time:
where signatures differ, it decides.

    python -m pytest tests/vptcore/data/test_signature.py
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path

from vptcore.data.walk import tree
from vptcore.jobs.manifest import blocks_hash
from vptcore.records import digest, file_sha256

# So many files are looked at by one thread, and so many threads at once: a network's disk answers each after a while.
SHARE, THREADS = 2_000, 16


def signature(path: Path | str | None, named: Iterable[str] = ()) -> str:
    """A hash of what is at `path`, a folder, or a file and the images `named` from its folder; empty for nothing."""
    return "" if path is None else _signature(str(path), tuple(named))


# One look a run: Snakemake asks for a job's slice several times.
@lru_cache(maxsize=256)
def _signature(path: str, named: tuple[str, ...]) -> str:
    if os.path.isfile(path):
        return _hashed([_sample(path), *_each(_stated, os.path.dirname(path), named)])
    if not os.path.isdir(path):
        return ""
    found = tree(path)
    unreadable = (f"{name} {why}" for name, why in found.unreadable)
    return _hashed([*_each(_stated, path, _all_of(found.files, named)), *unreadable])


def content(path: Path | str, named: Iterable[str] = ()) -> str | None:
    """A hash of the same files' names and bytes, which are read whole, once in a process; None for nothing."""
    return _content(str(path), tuple(named))


@lru_cache(maxsize=64)
def _content(path: str, named: tuple[str, ...]) -> str | None:
    if os.path.isfile(path):
        return digest([_sample(path), *_each(_read, os.path.dirname(path), named)])
    if not os.path.isdir(path):
        return None
    return digest(_each(_read, path, _all_of(tree(path).files, named)))


def _all_of(files: Iterable[str], named: Iterable[str]) -> list[str]:
    return list(dict.fromkeys((*files, *named)))


def _sample(path: str) -> str:
    try:
        return blocks_hash(path)
    except OSError as error:
        return str(error.strerror)


def _each(look: Callable[[str, str], object], folder: str, names: Iterable[str]) -> list:
    """What a look at each file gives, in the order given."""
    names = list(names)
    shares = [names[start : start + SHARE] for start in range(0, len(names), SHARE)]
    with ThreadPoolExecutor(THREADS) as pool:
        return [
            seen for part in pool.map(lambda share: [look(folder, name) for name in share], shares) for seen in part
        ]


def _stated(folder: str, name: str) -> str:
    try:
        found = os.stat(os.path.join(folder, name))
    except OSError as error:  # a link to nothing: the preparation names it
        return f"{name} {error.strerror}"
    return f"{name} {found.st_size} {found.st_mtime_ns}"


def _read(folder: str, name: str) -> list[str]:
    try:
        return [name, file_sha256(os.path.join(folder, name))]
    except OSError as error:
        return [name, str(error.strerror)]


def _hashed(lines: list[str]) -> str:
    return hashlib.sha256("\n".join(lines).encode("utf-8", "surrogateescape")).hexdigest()[:16]
