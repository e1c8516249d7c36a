"""What is fetched is the same every time: a pinned hash, or the first one seen, kept in a lock file.

In: a name for the download and the file that came. Out: the file, or a ValueError of one line where its SHA-256 is not
the one pinned or recorded. `downloads.lock.json` is in the folder that the study runs in; put it under version
control, and what a colleague fetches is what you fetched.

    python -m pytest tests/vptcore/test_downloads.py
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from vptcore.jobs import lease
from vptcore.records import file_sha256, write_text

LOCK = Path("downloads.lock.json")


def held(name: str, path: Path, *, pinned: str = "", lock: Path = LOCK) -> Path:
    """`path`, if its bytes are those of `pinned`, or of the first time that `name` was seen.

    A first time is recorded and said on stderr: what came then is trusted, since there is nothing to check it against.
    """
    found = file_sha256(path)
    known, where = (
        (pinned, "pinned in the code") if pinned else (_recorded(name, "sha256", found, lock), f"recorded in {lock}")
    )
    if found != known:
        raise ValueError(
            f"{name}: {path} has SHA-256 {found[:16]}…, but {known[:16]}… is {where}; it changed where it comes from, "
            f"or on its way. Delete the file and fetch it again"
            + ("" if pinned else f"; if the change is wanted, take {name!r} out of {lock}")
        )
    return path


def revision(name: str, newest: str, *, lock: Path = LOCK) -> str:
    """The revision that `name` was first fetched at; `newest` the first time, which is recorded."""
    return _recorded(name, "revision", newest, lock)


def _recorded(name: str, key: str, found: str, lock: Path) -> str:
    """The lock file's entry, made from `found` where there is none."""
    known = read_lock(lock).get(name, {})
    return known[key] if key in known else _record(name, key, found, lock)


def _record(name: str, key: str, found: str, lock: Path) -> str:
    with _alone(lock):
        entries = read_lock(lock)
        entry = entries.setdefault(name, {})
        if key not in entry:
            entry[key] = found
            write_text(lock, json.dumps(entries, indent=1, sort_keys=True) + "\n")
            print(f"{name}: first use; {key} {found[:16]}… is recorded in {lock} and held from now on", file=sys.stderr)
        return entry[key]


def read_lock(lock: Path = LOCK) -> dict[str, dict[str, str]]:
    """The lock file's entries. One that cannot be read is an error: passing over it would trust anything anew."""
    try:
        entries = json.loads(lock.read_text(encoding="utf-8"))
        if not all(isinstance(entry, dict) for entry in entries.values()):
            raise ValueError
    except FileNotFoundError:
        return {}
    except (ValueError, AttributeError):
        raise ValueError(
            f"{lock}: not a readable lock file; restore it, or delete it to trust what comes next"
        ) from None
    return entries


@contextmanager
def _alone(lock: Path) -> Iterator[None]:
    """One process at a time, on any file system, looks and records."""
    owner = lease.take(lock.with_name(f".{lock.name}.lease.tmp"), lambda _: None, poll=0.1)
    owner.beat(lambda: None)
    try:
        yield
    finally:
        owner.release()
