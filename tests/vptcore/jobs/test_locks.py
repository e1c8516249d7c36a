"""Locks with flock, and where the file system refuses it as Lustre and NFS do: one holder, whatever ends it."""

from __future__ import annotations

import errno
import fcntl
import json
import multiprocessing
import os
import signal
from dataclasses import asdict
from pathlib import Path

import pytest

from vptcore.jobs import lease, locks
from vptcore.jobs.lease import Owner

CONTEXT = multiprocessing.get_context("fork")


def refusing(number: int):
    def flock(*_):
        raise OSError(number, os.strerror(number))

    return flock


@pytest.fixture(params=[None, errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP], ids=["flock", "lustre", "nfs", "other"])
def path(request, tmp_path, monkeypatch) -> Path:
    if request.param:
        monkeypatch.setattr(fcntl, "flock", refusing(request.param))
    return tmp_path / "lock"


@pytest.fixture
def no_flock(tmp_path, monkeypatch) -> Path:
    monkeypatch.setattr(fcntl, "flock", refusing(errno.ENOSYS))
    return tmp_path / "lock"


def count(path: Path, times: int) -> None:
    """Add to a number in a file, which loses some where two do it at once."""
    for _ in range(times):
        with locks.held(path, poll=0.001):
            number = path.with_name("number")
            number.write_text(str(int(number.read_text()) + 1))


def test_four_processes_lose_no_count(path):
    path.with_name("number").write_text("0")
    running = [CONTEXT.Process(target=count, args=(path, 25)) for _ in range(4)]
    for process in running:
        process.start()
    for process in running:
        process.join(60)
        assert process.exitcode == 0
    assert path.with_name("number").read_text() == "100"


def test_a_second_attempt_gets_none_until_the_first_is_released(path):
    first = locks.attempt(path)
    assert first is not None
    assert locks.attempt(path) is None
    first.release()
    second = locks.attempt(path)
    assert second is not None
    second.release()


def hold_and_die(path: Path, held) -> None:
    locks.attempt(path)
    held.set()
    signal.pause()


def test_a_killed_holder_is_replaced_at_once_and_waiting_is_said_once(path):
    held, said = CONTEXT.Event(), []
    holder = CONTEXT.Process(target=hold_and_die, args=(path, held))
    holder.start()
    assert held.wait(30)
    assert locks.attempt(path) is None

    def kill():
        said.append("waiting")
        os.kill(holder.pid, signal.SIGKILL)
        holder.join()

    locks.acquire(path, kill, poll=0.01).release()
    assert said == ["waiting"]


def test_the_file_says_host_and_process(no_flock):
    with locks.held(no_flock):
        note = json.loads((no_flock.with_name("lock.lease") / "lease.1").read_text())
        assert note["pid"] == os.getpid()
        assert note["host"]


def test_a_holder_on_another_host_is_replaced_when_its_heartbeat_stops(no_flock, monkeypatch):
    monkeypatch.setitem(lease.attempt.__kwdefaults__, "clock", lambda: now[0])
    folder, now = no_flock.with_name("lock.lease"), [0.0]
    folder.mkdir()
    mark = folder / "lease.1"
    mark.write_text(json.dumps(asdict(Owner("t", "elsewhere", "another boot", 1, "9"))))
    for now[0], beats in ((1, False), (lease.STALE_SECONDS, True), (2 * lease.STALE_SECONDS - 1, False)):
        if beats:
            os.utime(mark, (now[0], now[0]))
        assert locks.attempt(no_flock) is None
    now[0] = 2 * lease.STALE_SECONDS
    taken = locks.attempt(no_flock)
    assert taken is not None
    taken.release()


def test_the_chain_stays_short(no_flock):
    for _ in range(150):
        locks.attempt(no_flock).release()
    assert len(list(no_flock.with_name("lock.lease").iterdir())) <= 2 * locks.KEPT + 2


def test_a_number_of_long_ago_is_no_lock(no_flock, monkeypatch):
    """A taker that slept since it looked finds its number free again, and must not take it for the lock."""
    for _ in range(60):
        locks.attempt(no_flock).release()
    holder = locks.attempt(no_flock)
    real, calls = lease.last, []

    def slept(folder):
        calls.append(folder)
        return (2, None) if len(calls) == 1 else real(folder)

    monkeypatch.setattr(lease, "last", slept)
    assert locks.attempt(no_flock) is None
    assert len(calls) == 2
    holder.release()


def test_other_errors_are_raised_and_leave_nothing_open(tmp_path, monkeypatch):
    monkeypatch.setattr(fcntl, "flock", refusing(errno.EIO))
    before = os.listdir("/proc/self/fd")
    with pytest.raises(OSError, match="Input/output"):
        locks.attempt(tmp_path / "lock")
    assert os.listdir("/proc/self/fd") == before
