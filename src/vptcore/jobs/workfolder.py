"""The work folder of a job: finished configurations and seeds, and its results until they are in their places.

It is no output of the rule, so that Snakemake leaves it alone when a job was killed; what another job, other inputs or
an older version left there is thrown away. One process works in it at a time (`vptcore.jobs.lease`). A second copy of
the job waits, and then puts the first one's results into place without doing the work again. Snakemake removes a job's
outputs as it starts, also those that another copy has just written; so the results stay behind, as hard links, in a
folder `<work>.finished` for as long as copies may come: for those that waited, and under Slurm for those that were
already in the queue. A job that was asked for later does its work anew.

    python -m pytest tests/vptcore/jobs/test_workfolder.py
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from vptcore.jobs import lease, stopping
from vptcore.jobs.meaning import meaning
from vptcore.records import digest, replacing, write_text

Outputs = Mapping[str, object]
LOST = "another copy of this job took this one for dead and went on in its place"


class WorkFolder:
    """An open work folder. `folder` holds what is finished; `summary` is the job's line if there is nothing to do."""

    def __init__(self, outputs: Outputs, made_by: str, held: lease.Lease):
        self.folder, self._held, self._made_by = held.folder, held, made_by
        self._outputs = {name: path for name, path in outputs.items() if name != "work"}
        self.staged = {name: self._stage(path) for name, path in self._outputs.items()}
        self.summary: str | None = None

    def _stage(self, path):
        if isinstance(path, str | Path):
            return str(self.folder / "results" / digest(str(path)))
        return [self._stage(p) for p in path]

    def publish(self, summary: str) -> str:
        """Move what was written to `staged` into place, if this process still owns the folder. Returns `summary`."""
        if not self._held.is_mine():
            raise stopping.Stopped(LOST, saves=False)
        # Before the first result is placed: a process that dies while placing them is finished by the next one.
        write_text(self.folder / "finished", json.dumps({"made_by": self._made_by, "summary": summary}))
        return self._publish(summary)

    def _publish(self, summary: str) -> str:
        self._place(self.folder)
        self._held.end_beat()
        finished = _finished(self.folder)
        shutil.rmtree(finished, ignore_errors=True)
        os.rename(self.folder, finished)
        # What stays behind for other copies is the results alone, not every seed's tuned state.
        for path in finished.iterdir():
            if path.name not in ("results", "finished") and not path.name.startswith("waiting."):
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        if not lease.is_waited_for(finished) and not os.environ.get("SLURM_JOB_ID"):
            shutil.rmtree(finished)
        return summary

    def restore(self) -> None:
        """Put results that are there already into place.

        Those of a process that died while it did so, and those of another copy, if this job was asked for before.
        """
        mark = self.folder / "finished"
        if mark.is_file() and (note := json.loads(mark.read_text(encoding="utf-8")))["made_by"] == self._made_by:
            self.summary = self._publish(note["summary"])
            return
        finished = _finished(self.folder)
        try:
            note = json.loads((finished / "finished").read_text(encoding="utf-8"))
            since = (finished / "finished").stat().st_mtime
        except (OSError, ValueError):
            return
        if note["made_by"] == self._made_by and (self._held.waited or _asked_for() < since):
            self._place(finished)
            self.summary = f"{note['summary']} (by another copy of this job)"

    def _place(self, source: Path) -> None:
        for path in _flat(self._outputs.values()):
            with replacing(path) as beside:
                _link(source / "results" / digest(str(path)), beside)
                os.utime(beside)  # a link has the time of writing, and Snakemake wants outputs younger than inputs


@contextmanager
def open_work(outputs: Outputs, note: Mapping, say: Callable[[str], None] = print) -> Iterator[WorkFolder]:
    """The folder `outputs["work"]`, emptied unless this very job (same slice, same input bytes) left it.

    Waits while a living copy of the job works in it.
    """
    made_by = digest({"job": meaning(note["job"]), "inputs": {k: v["sha256"] for k, v in note["inputs"].items()}})
    held = lease.take(Path(outputs["work"]), say)
    held.beat(lambda: stopping.ask(LOST, saves=False))
    try:
        work = WorkFolder(outputs, made_by, held)
        work.restore()
        if work.summary is None:
            _keep_only(work.folder, made_by)
        yield work
        if work.summary is not None:
            shutil.rmtree(work.folder, ignore_errors=True)
    finally:
        held.release()


def _keep_only(folder: Path, made_by: str) -> None:
    """Throw away what was not made by this very job, but for the lease."""
    mark = folder / "made_by"
    if not mark.is_file() or mark.read_text(encoding="utf-8") != made_by:
        for path in folder.iterdir():
            if not path.name.startswith(("lease.", ".lease.", "waiting.")):
                shutil.rmtree(path) if path.is_dir() else path.unlink()
    (folder / "results").mkdir(exist_ok=True)
    write_text(mark, made_by)


def tidy(root: str | Path) -> None:
    """Remove the results that were kept for copies of jobs; for the end of a run, when none is left."""
    for finished in Path(root, "work").rglob("*.finished"):
        shutil.rmtree(finished, ignore_errors=True)


def _finished(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.finished")


def _asked_for() -> float:
    """When this job was handed to Slurm, in seconds of the epoch; infinity where there is no Slurm to ask."""
    job = os.environ.get("SLURM_JOB_ID")
    if not job:
        return float("inf")
    try:
        asked = subprocess.run(
            ["squeue", "--noheader", "--jobs", job, "--format=%V"],
            capture_output=True, text=True, timeout=30, check=True,
        )  # fmt: skip
        return time.mktime(time.strptime(asked.stdout.split()[0], "%Y-%m-%dT%H:%M:%S"))
    except (OSError, ValueError, IndexError, subprocess.SubprocessError):
        return float("inf")


def _flat(paths) -> Iterator[str]:
    for path in paths:
        if isinstance(path, str | Path):
            yield str(path)
        else:
            yield from _flat(path)


def _link(source: Path, target: Path) -> None:
    target.unlink(missing_ok=True)
    try:
        os.link(source, target)
    except OSError:  # a file system without hard links
        shutil.copyfile(source, target)
