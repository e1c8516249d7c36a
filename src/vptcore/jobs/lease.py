"""A lease on a work folder: of several copies of one job, one works and the others wait for its result.

Copies arise when Snakemake is killed and started again while its Slurm jobs run on: it submits them a second time.

The lease is a chain of small files, `lease.1`, `lease.2`, ..., each created whole and only once (a hard link fails
where the name is taken, on NFS too). The last one says who owns the folder, or that it was released; whoever takes over
a released folder, or one whose owner died, creates the next. No file is ever changed or removed while the folder
stands, so two that try at the same moment cannot both succeed, and an owner that was believed dead sees that it was
replaced.

An owner is dead if its process is gone (asked on the same host), if Slurm says its job is over, or if its heartbeat,
the time stamp of its file, stood still for `STALE_SECONDS` of the watcher's own clock. In: a folder. Out: a `Lease`.

    python -m pytest tests/vptcore/jobs/test_lease.py
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import re
import subprocess
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path

BEAT_SECONDS = 10
STALE_SECONDS = 180
POLL_SECONDS = 2
SLURM_SECONDS = 20  # between questions to Slurm's controller
# What `squeue -o %T` says of a job that may still come back to its work.
SLURM_LIVING = {
    "PENDING", "CONFIGURING", "RUNNING", "SUSPENDED", "STOPPED", "COMPLETING", "REQUEUED", "REQUEUE_HOLD", "RESIZING",
    "SIGNALING", "STAGE_OUT",
}  # fmt: skip


@dataclass(frozen=True)
class Owner:
    """Who holds a folder. `space` and `born` keep process ids of other containers, boots and ages apart."""

    token: str
    host: str
    space: str
    pid: int
    born: str
    job: str = ""

    @property
    def name(self) -> str:
        return f"Slurm job {self.job} on {self.host}" if self.job else f"process {self.pid} on {self.host}"


def myself() -> Owner:
    pid, environment = os.getpid(), os.environ
    return Owner(
        uuid.uuid4().hex,
        environment.get("SLURMD_NODENAME") or platform.node(),
        _process_space(),
        pid,
        _born(pid),
        environment.get("SLURM_JOB_ID", ""),
    )


def _process_space() -> str:
    """The machine, its boot and its pid namespace: where a process id means something. Empty if unknown."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8").strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return ""


def _born(pid: int) -> str:
    """When a process started, in its machine's ticks; empty if it is gone or a zombie."""
    try:
        state, *rest = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rsplit(")", 1)[1].split()
        return "" if state == "Z" else rest[18]
    except OSError:
        return ""


def slurm_state(job: str) -> str | None:
    """What Slurm says of a job: its state, '' for a job that it no longer knows, None where it cannot be asked."""
    try:
        asked = subprocess.run(
            ["squeue", "--noheader", "--states=all", "--jobs", job, "--format=%T"],
            capture_output=True, text=True, timeout=30, check=False,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return None
    if asked.returncode != 0:
        return "" if "Invalid job id" in asked.stderr else None
    return asked.stdout.strip().split("\n")[-1]


def is_alive(owner: Owner, me: Owner, state_of: Callable[[str], str | None] = slurm_state) -> bool | None:
    """Whether `owner` is at work; None where only its heartbeat can tell."""
    if owner.space and owner.space == me.space:
        return _born(owner.pid) == owner.born
    if owner.job and owner.job == me.job:  # this job was put back into the queue: the owner is its earlier life
        return False
    if owner.job and (state := state_of(owner.job)) is not None:
        return state in SLURM_LIVING
    return None


@dataclass
class Watch:
    """What a waiting copy remembers of the owner it waits for."""

    beat: int
    since: float
    asked_slurm: float = -1e9
    slurm: str | None = None


@dataclass
class Lease:
    """The right to work in `folder`, until `release`. `waited` says whether another owner had it meanwhile."""

    folder: Path
    number: int
    owner: Owner
    waited: bool = False
    _stop: threading.Event = field(default_factory=threading.Event)

    def is_mine(self) -> bool:
        """False once someone took this owner for dead and went on in its place."""
        return not _file(self.folder, self.number + 1).exists() and _file(self.folder, self.number).exists()

    def beat(self, on_lost: Callable[[], None], seconds: float = BEAT_SECONDS) -> None:
        """Keep the heartbeat going from a thread; `on_lost` is called once if the lease is taken away."""

        def run() -> None:
            while not self._stop.wait(seconds):
                with contextlib.suppress(OSError):  # a file system that is away; a file that is gone is seen below
                    os.utime(_file(self.folder, self.number))
                if not self.is_mine() and not self._stop.is_set():
                    on_lost()
                    return

        threading.Thread(target=run, daemon=True, name="heartbeat").start()

    def end_beat(self) -> None:
        self._stop.set()

    def release(self) -> None:
        """Let the next one in. Nothing happens where the lease, or the folder, is no longer this owner's."""
        self.end_beat()
        if self.folder.is_dir() and self.is_mine():
            _create(_file(self.folder, self.number + 1), json.dumps({"released": self.owner.token}))


def take(
    folder: Path,
    say: Callable[[str], None],
    *,
    me: Owner | None = None,
    alive: Callable[[Owner, Owner], bool | None] | None = None,
    poll: float = POLL_SECONDS,
    stale: float = STALE_SECONDS,
    clock: Callable[[], float] = time.monotonic,
) -> Lease:
    """The lease of `folder`, which is made if need be; waits while a living owner is at work, and says so once."""
    me, waited, watches = me or myself(), False, {}
    while True:
        folder.mkdir(parents=True, exist_ok=True)
        announce(folder, me)  # before looking: an owner that finishes now finds it
        lease, owner = attempt(folder, me, watches, alive=alive, stale=stale, clock=clock)
        if lease is not None:
            (folder / f"waiting.{me.token}").unlink(missing_ok=True)
            if owner is not None:
                say(f"taking over from {owner.name}, which ended before its work was done")
            return replace(lease, waited=waited)
        if owner is None:
            continue
        if not waited:
            say(f"another copy of this job is at work ({owner.name}): waiting for its result, doing nothing twice")
            waited = True
        time.sleep(poll)


def attempt(
    folder: Path,
    me: Owner,
    watches: dict[int, Watch],
    *,
    alive: Callable[[Owner, Owner], bool | None] | None = None,
    stale: float = STALE_SECONDS,
    clock: Callable[[], float] = time.monotonic,
) -> tuple[Lease | None, Owner | None]:
    """One try, without waiting: the lease, and the dead owner before it if there was one.

    (None, the owner at work) where there is one, and (None, None) where another was quicker or took the folder away.
    `watches` is what earlier tries saw of heartbeats; give the same mapping every time.
    """
    number, owner = last(folder)
    if owner is not None and not _is_dead(folder, number, owner, me, alive, watches, stale, clock):
        return None, owner
    try:
        won = _create(_file(folder, number + 1), json.dumps(asdict(me)))
    except FileNotFoundError:
        return None, None
    return (Lease(folder, number + 1, me), owner) if won else (None, None)


def announce(folder: Path, me: Owner) -> None:
    """Let the owner know that someone waits for its result."""
    try:
        (folder / f"waiting.{me.token}").touch()
    except FileNotFoundError:
        return


def is_waited_for(folder: Path) -> bool:
    return any(folder.glob("waiting.*"))


def last(folder: Path) -> tuple[int, Owner | None]:
    """The number of the last lease file and its owner, None if it is released; (0, None) where there is none."""
    numbers = [int(found[1]) for p in _names(folder) if (found := re.fullmatch(r"lease\.(\d+)", p))]
    if not numbers:
        return 0, None
    number = max(numbers)
    try:
        note = json.loads(_file(folder, number).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return 0, None
    except ValueError:  # only where links are unknown and the writer died, or is, in the middle
        return number, Owner("unreadable", "an unknown host", "", 0, "")
    if "released" in note:
        return number, None
    return number, Owner(**{f.name: note[f.name] for f in fields(Owner)})


def _names(folder: Path) -> list[str]:
    try:
        return os.listdir(folder)
    except FileNotFoundError:
        return []


def _is_dead(folder, number, owner, me, alive, watches: dict[int, Watch], stale: float, clock) -> bool:
    try:
        beat = _file(folder, number).stat().st_mtime_ns
    except FileNotFoundError:
        return False
    now = clock()
    watch = watches.setdefault(number, Watch(beat, now))
    if beat != watch.beat:
        watch.beat, watch.since = beat, now

    def state_of(job: str) -> str | None:
        if now - watch.asked_slurm >= SLURM_SECONDS:
            watch.asked_slurm, watch.slurm = now, slurm_state(job)
        return watch.slurm

    told = alive(owner, me) if alive else is_alive(owner, me, state_of)
    return not told if told is not None else now - watch.since >= stale


def _file(folder: Path, number: int) -> Path:
    return folder / f"lease.{number}"


def _create(path: Path, text: str) -> bool:
    """Create `path` with `text` in one step; False if it is there. Raises FileNotFoundError without its folder."""
    beside = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    beside.write_text(text, encoding="utf-8")
    try:
        os.link(beside, path)
    except FileExistsError:
        return False
    except FileNotFoundError:
        raise
    except OSError:  # a file system without hard links
        return _create_plainly(path, text)
    finally:
        beside.unlink(missing_ok=True)
    return True


def _create_plainly(path: Path, text: str) -> bool:
    try:
        with open(path, "x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        return False
    return True
