"""One process at a time: a lock that dies with its process, on any file system.

`flock` is the lock. A file system that has none (Lustre mounted without it says ENOSYS, NFS without its daemon ENOLCK)
gets a lease beside the file, `<path>.lease/` (`vptcore.jobs.lease`): small files, each created once, that say which
host and process holds the lock. A holder that died on this host is replaced at once, one of another host when its
heartbeat has stood still for three minutes.

In: a path to lock, which is created. Out: a `Lock`.

    python -m pytest tests/vptcore/jobs/test_locks.py
"""

from __future__ import annotations

import errno
import fcntl
import os
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from vptcore.jobs import lease

POLL_SECONDS = 0.5
KEPT = 20  # lease files: more takers than can pass between one's look and its try
NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL}
_watches: dict[Path, dict[int, lease.Watch]] = defaultdict(dict)


@dataclass(frozen=True)
class Lock:
    """A lock that is held. `file` is its descriptor: a child that inherits it holds an flock too."""

    file: int
    leased: lease.Lease | None = None

    def release(self) -> None:
        if self.leased is not None:
            self.leased.release()
        os.close(self.file)


def attempt(path: Path) -> Lock | None:
    """The lock of `path`, or None where another process has it."""
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    lock = None
    try:
        lock = _by_flock(file)
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise
        leased = _lease(path.with_name(f"{path.name}.lease"))
        lock = Lock(file, leased) if leased else None
    finally:
        if lock is None:
            os.close(file)
    return lock


def acquire(path: Path, on_wait: Callable[[], None] = lambda: None, poll: float = POLL_SECONDS) -> Lock:
    """The lock of `path`; waits while another process has it, after calling `on_wait` once."""
    lock = attempt(path)
    if lock is None:
        on_wait()
    while lock is None:
        time.sleep(poll)
        lock = attempt(path)
    return lock


@contextmanager
def held(path: Path, on_wait: Callable[[], None] = lambda: None, poll: float = POLL_SECONDS) -> Iterator[Lock]:
    lock = acquire(path, on_wait, poll)
    try:
        yield lock
    finally:
        lock.release()


def _by_flock(file: int) -> Lock | None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return None
    return Lock(file)


def _lease(folder: Path) -> lease.Lease | None:
    folder.mkdir(exist_ok=True)
    found, _ = lease.attempt(folder, lease.myself(), _watches[folder.absolute()])
    if found is None:
        return None
    if lease.last(folder)[0] != found.number:  # the number was free because it is long past
        (folder / f"lease.{found.number}").unlink()
        return None
    for number in range(found.number - 2 * KEPT, found.number - KEPT):
        with suppress(OSError):
            (folder / f"lease.{number}").unlink()
    found.beat(lambda: None)
    return found
