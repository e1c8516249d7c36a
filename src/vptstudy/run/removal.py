"""Remove a study's results: the demo's and the rehearsal's unless others are named, and never hours of work unasked.

In: the folder of results, names of studies, and whom to ask. Out: the names of those that were removed. A study is
whatever is in its folder; how much work that was is read from its rows' provenance.

    vptcore clean
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from vptcore.choices import ConfigError, choose_one
from vptcore.jobs import locks
from vptcore.records import RowsError, read_provenance
from vptstudy.run import launch

MADE_AGAIN = ("demo", "rehearsal")  # `make demo` and `make rehearsal` make them in minutes
MUCH = 3600.0  # seconds


def clean(results: Path, studies: Sequence[str], ask: Callable[[str], bool]) -> list[str]:
    """Remove the named studies, or the demo and the rehearsal where they are there.

    `ask` gets a question about each that holds more than an hour of work, and it stays unless the answer is true.
    ConfigError for a name that is no folder of results, and while a run is at work here.
    """
    there = sorted(path.name for path in results.iterdir() if path.is_dir()) if results.is_dir() else []
    if studies and not there:
        raise ConfigError(f"{results}: no study in it; --results names another folder")
    for name in studies:
        choose_one("study", name, there)
    wanted = studies or [name for name in MADE_AGAIN if name in there]
    lock = locks.attempt(launch.lock_file())
    if lock is None:
        raise ConfigError("a run is at work in this folder; wait for it, or stop it")
    try:
        removed = [name for name in wanted if _may_go(results / name, ask)]
        for name in removed:
            shutil.rmtree(results / name)
    finally:
        lock.release()
    return removed


def seconds_of(folder: Path) -> float:
    """How long the jobs took whose rows are in a folder, each counted once; files that cannot be read count nothing."""
    took: dict[tuple, float] = {}
    for path in folder.rglob("rows.parquet"):
        with contextlib.suppress(RowsError, OSError, ValueError):
            note = read_provenance(path)
            took[note.get("job_hash"), note.get("started")] = float(note.get("duration", note.get("seconds", 0)))
    return sum(took.values())


def _may_go(folder: Path, ask: Callable[[str], bool]) -> bool:
    seconds = seconds_of(folder)
    return seconds <= MUCH or ask(f"{folder} holds {seconds / 3600:,.1f} hours of work. Remove it?")
