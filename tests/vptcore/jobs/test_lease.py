"""One owner at a time: the chain of lease files under every interleaving, real processes that race and are killed, and
what counts as dead."""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from vptcore.jobs import lease
from vptcore.jobs.lease import Lease, Owner, is_alive, last, myself, take

ME = Owner("a", "node1", "boot pid", 10, "5", "17")


def quiet(_):
    pass


def owner(token: str) -> Owner:
    return Owner(token, "host", "", 1, "", "")


class Interrupt(Exception):
    """Raised by a watcher's clock in place of waiting."""


def try_once(folder: Path, me: Owner, dead: set[str]) -> Lease | None:
    """One look at the lease: taken, or None where a living owner has it."""

    def alive(other, _):
        if other.token not in dead:
            raise Interrupt
        return False

    try:
        return take(folder, quiet, me=me, alive=alive)
    except Interrupt:
        return None


class Contenders(RuleBasedStateMachine):
    """Five copies of a job come, look, read the chain at any moment, die, are released and finish, in any order."""

    def __init__(self):
        super().__init__()
        import tempfile

        self.box = tempfile.TemporaryDirectory()
        self.folder = Path(self.box.name) / "work"
        self.held: dict[str, Lease] = {}
        self.dead: set[str] = set()
        self.seen: dict[str, int] = {}  # what a slow contender read of the chain before it acts
        self.count = 0

    def teardown(self):
        self.box.cleanup()

    @rule()
    def come(self):
        self.count += 1
        name = f"copy{self.count}"
        found = try_once(self.folder, owner(name), self.dead)
        if found:
            self.held[name] = found

    @rule()
    def look_and_be_slow(self):
        """Decide on what the chain says now; act later."""
        number, holder = last(self.folder)
        if holder is None or holder.token in self.dead:
            self.count += 1
            self.seen[f"slow{self.count}"] = number

    @precondition(lambda self: self.seen)
    @rule(data=st.data())
    def act_on_what_was_seen(self, data):
        name = data.draw(st.sampled_from(sorted(self.seen)))
        number = self.seen.pop(name)
        self.folder.mkdir(exist_ok=True)
        text = json.dumps(vars(owner(name)))
        if lease._create(self.folder / f"lease.{number + 1}", text):
            self.held[name] = Lease(self.folder, number + 1, owner(name))

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def die(self, data):
        self.dead.add(data.draw(st.sampled_from(sorted(self.held))))

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def release(self, data):
        name = data.draw(st.sampled_from(sorted(self.held)))
        if name not in self.dead:
            self.held.pop(name).release()

    @invariant()
    def at_most_one_living_owner(self):
        living = [name for name, held in self.held.items() if name not in self.dead and held.is_mine()]
        assert len(living) <= 1
        holder = last(self.folder)[1]
        if living:
            assert holder.token == living[0]

    @invariant()
    def no_one_who_lives_is_put_out(self):
        assert all(held.is_mine() for name, held in self.held.items() if name not in self.dead)


TestContenders = Contenders.TestCase
TestContenders.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)


def work_and_die(folder: str, log: str, seed: int) -> None:
    """Take the lease, note start and end of the work, sometimes die in between; a few times over."""
    luck = random.Random(seed)
    for _ in range(4):
        held = take(Path(folder), quiet, poll=0.002)
        note(log, f"in {os.getpid()}")
        time.sleep(luck.random() * 0.01)
        if luck.random() < 0.3:
            os.kill(os.getpid(), signal.SIGKILL)
        note(log, f"out {os.getpid()}")
        held.release()


def note(log: str, line: str) -> None:
    with open(log, "a") as file:  # one short write to a file opened for appending is not torn
        file.write(line + "\n")


def test_racing_processes_that_are_killed_never_work_at_the_same_time(tmp_path):
    log = tmp_path / "log"
    context = multiprocessing.get_context("fork")
    racers = [context.Process(target=work_and_die, args=(str(tmp_path / "work"), str(log), i)) for i in range(6)]
    for racer in racers:
        racer.start()
    for racer in racers:
        racer.join(60)
        assert racer.exitcode in (0, -signal.SIGKILL)
    killed = {str(racer.pid) for racer in racers if racer.exitcode}
    assert killed
    assert len(killed) < len(racers), "some finish: a dead owner holds nobody up"
    inside = None
    for line in log.read_text().splitlines():
        word, pid = line.split()
        if word == "in":
            assert inside is None or inside in killed, "the one before had left, or was killed"
            inside = pid
        else:
            assert inside == pid
            inside = None


def test_a_second_copy_waits_says_so_once_and_goes_on_after_the_first(tmp_path):
    first, lines = take(tmp_path / "work", quiet), []

    def look(*_):
        look.count += 1
        if look.count == 3:
            first.release()
        return True

    look.count = 0
    second = take(tmp_path / "work", lines.append, me=owner("second"), alive=look, poll=0)
    assert second.waited
    assert not first.waited
    assert [line.split(" (")[0] for line in lines] == ["another copy of this job is at work"]
    assert str(os.getpid()) in lines[0]


def test_an_owner_whose_heartbeat_stands_still_is_dead_and_one_that_beats_is_not(tmp_path):
    take(tmp_path / "work", quiet, me=owner("far"))
    file, now, lines = tmp_path / "work/lease.1", [0.0], []

    def clock():
        now[0] += 30
        if now[0] < 900:  # it beats for a quarter of an hour, then never again
            os.utime(file, ns=(int(now[0]), int(now[0])))
        return now[0]

    found = take(
        tmp_path / "work", lines.append, me=owner("near"), alive=lambda *_: None, poll=0, stale=180, clock=clock
    )
    assert found.number == 2
    assert 900 + 150 <= now[0] <= 900 + 240
    assert lines[-1].startswith("taking over from process 1 on host")


def test_an_owner_taken_for_dead_sees_that_it_lost_and_releases_nothing(tmp_path):
    slow = take(tmp_path / "work", quiet, me=owner("slow"))
    lost = []
    new = take(tmp_path / "work", quiet, me=owner("new"), alive=lambda *_: False)
    slow.beat(lambda: lost.append(True), seconds=0.01)
    until(lambda: lost)
    assert not slow.is_mine()
    slow.release()
    assert new.is_mine()
    assert last(tmp_path / "work")[1].token == "new"


def test_the_heartbeat_moves_the_time_stamp(tmp_path):
    held = take(tmp_path / "work", quiet)
    os.utime(tmp_path / "work/lease.1", (0, 0))
    held.beat(lambda: None, seconds=0.01)
    until(lambda: (tmp_path / "work/lease.1").stat().st_mtime > 1)
    held.release()


def until(condition) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)


@pytest.mark.parametrize(
    ("other", "slurm", "expected"),
    [
        (replace(ME, space="another boot", job="17"), "RUNNING", False),  # the earlier life of this very job
        (replace(ME, space="x", job="18"), "RUNNING", True),
        (replace(ME, space="x", job="18"), "PENDING", True),
        (replace(ME, space="x", job="18"), "COMPLETING", True),
        (replace(ME, space="x", job="18"), "CANCELLED", False),
        (replace(ME, space="x", job="18"), "NODE_FAIL", False),
        (replace(ME, space="x", job="18"), "", False),  # Slurm has forgotten it
        (replace(ME, space="x", job="18"), None, None),  # Slurm does not answer
        (replace(ME, space="x", job=""), "RUNNING", None),
    ],
)
def test_who_is_alive_elsewhere(other, slurm, expected):
    assert is_alive(other, ME, lambda job: slurm) is expected


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="no /proc here")
def test_who_is_alive_on_this_machine():
    me = myself()
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    other = replace(me, pid=child.pid, born=lease._born(child.pid))
    assert is_alive(other, me) is True
    assert is_alive(replace(other, born="1"), me) is False, "another process has its number now"
    child.kill()
    until(lambda: lease._born(child.pid) == "")  # a zombie that nobody waited for
    assert is_alive(other, me) is False
    child.wait()
    assert is_alive(other, me) is False


def test_the_question_to_slurm(tmp_path, monkeypatch):
    def answer(script: str) -> str | None:
        (tmp_path / "squeue").write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / "squeue").chmod(0o755)
        return lease.slurm_state("7")

    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert answer("echo RUNNING") == "RUNNING"
    assert answer("true") == ""
    assert answer("echo 'slurm_load_jobs error: Invalid job id specified' >&2; exit 1") == ""
    assert answer("echo 'Unable to contact slurm controller' >&2; exit 1") is None
    monkeypatch.setenv("PATH", str(tmp_path / "nowhere"))
    assert lease.slurm_state("7") is None


def test_a_file_system_without_hard_links(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    held = take(tmp_path / "work", quiet, me=owner("a"))
    assert try_once(tmp_path / "work", owner("b"), set()) is None
    assert try_once(tmp_path / "work", owner("c"), {"a"}).number == 2
    assert not held.is_mine()
    (tmp_path / "torn").mkdir()
    (tmp_path / "torn/lease.1").write_text('{"tok')  # its writer died in the middle
    assert last(tmp_path / "torn")[1].name == "process 0 on an unknown host"
