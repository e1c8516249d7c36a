"""Copies of one job: one works, the others put its results into place; nothing is lost, doubled or torn."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path

import pytest

from vptcore.jobs import lease, stopping, workfolder
from vptcore.jobs.workfolder import open_work, tidy

NOTE = {"job": {"task": "a"}, "inputs": {"images": {"sha256": "1"}}}


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Waiting copies look often, and copies within this one process are alive as long as their heartbeat goes on."""
    monkeypatch.setattr(lease, "POLL_SECONDS", 0.01)
    monkeypatch.setattr(lease.take, "__kwdefaults__", lease.take.__kwdefaults__ | {"poll": 0.01})
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)


class Copy(threading.Thread):
    """One copy of a job that writes two files; `done` lists what it had to do itself."""

    def __init__(self, folder: Path, note=NOTE, hold: threading.Event | None = None, fails=False):
        super().__init__()
        self.outputs = {"rows": f"{folder}/out/rows", "models": [f"{folder}/out/m1"], "work": f"{folder}/work/cell"}
        self.note, self.hold, self.fails = note, hold, fails
        self.started, self.done, self.lines, self.result = threading.Event(), [], [], None

    def run(self):
        try:
            with open_work(self.outputs, self.note, self.lines.append) as place:
                self.started.set()
                self.result = place.summary or self._work(place)
        except RuntimeError:
            self.result = "failed"

    def _work(self, place) -> str:
        for step in ("one", "two"):
            kept = place.folder / f"{step}.json"
            if not kept.exists():
                self.done.append(step)
                kept.write_text(json.dumps(step))
            if self.hold:
                self.hold.wait(20)
            if self.fails:
                raise RuntimeError
        Path(place.staged["rows"]).write_text("rows")
        Path(place.staged["models"][0]).write_text("model")
        return place.publish("2 steps")


def first_holds_second_waits(first: Copy, second: Copy, hold: threading.Event) -> None:
    """Start both, let the first go on only when the second has said that it waits, and wait for both to end."""
    first.start()
    first.started.wait(20)
    second.start()
    while not second.lines:
        pass
    hold.set()
    for copy in (first, second):
        copy.join(20)


def texts(folder: Path) -> dict[str, str]:
    return {p.name: p.read_text() for p in (folder / "out").iterdir()} if (folder / "out").exists() else {}


EVERYTHING = {"rows": "rows", "m1": "model"}


def test_alone_it_leaves_results_and_nothing_else(tmp_path):
    copy = Copy(tmp_path)
    copy.run()
    assert copy.result == "2 steps"
    assert texts(tmp_path) == EVERYTHING
    assert not any(p.is_file() for p in (tmp_path / "work").rglob("*"))


def test_a_second_copy_waits_for_the_first_ones_result(tmp_path):
    hold = threading.Event()
    first, second = Copy(tmp_path, hold=hold), Copy(tmp_path)
    first_holds_second_waits(first, second, hold)
    assert (first.done, second.done) == (["one", "two"], [])
    assert second.result == "2 steps (by another copy of this job)"
    assert second.lines[0].startswith("another copy of this job is at work")
    assert texts(tmp_path) == EVERYTHING


def test_outputs_that_snakemake_removed_for_the_second_copy_are_put_back(tmp_path, monkeypatch):
    """Under Slurm a copy that was in the queue starts when the first is long done, and its outputs are swept away."""
    monkeypatch.setenv("SLURM_JOB_ID", "8")
    first, second, later = Copy(tmp_path), Copy(tmp_path), Copy(tmp_path)
    first.run()
    for name in EVERYTHING:
        (tmp_path / "out" / name).unlink()
    monkeypatch.setattr(workfolder, "_asked_for", lambda: 0.0)
    second.run()
    assert second.done == []
    assert texts(tmp_path) == EVERYTHING
    monkeypatch.setattr(workfolder, "_asked_for", lambda: float("inf"))
    later.run()
    assert later.done == ["one", "two"], "a job that was asked for afterwards does its work"


def test_a_copy_of_another_job_does_its_own_work(tmp_path, monkeypatch):
    monkeypatch.setenv("SLURM_JOB_ID", "8")
    monkeypatch.setattr(workfolder, "_asked_for", lambda: 0.0)
    Copy(tmp_path).run()
    other = Copy(tmp_path, note={"job": {"task": "b"}, "inputs": {}})
    other.run()
    assert other.done == ["one", "two"]


def test_a_waiting_copy_goes_on_where_a_failed_one_was(tmp_path):
    hold = threading.Event()
    first, second = Copy(tmp_path, hold=hold, fails=True), Copy(tmp_path)
    first_holds_second_waits(first, second, hold)
    assert (first.done, first.result) == (["one"], "failed")
    assert (second.done, second.result) == (["two"], "2 steps")


@pytest.mark.parametrize("point", ["before placing", "between files"])
def test_killed_while_results_are_put_into_place(tmp_path, monkeypatch, point):
    class Killed(BaseException):
        pass

    placed, plain = [], workfolder._link

    def die(source, target):
        placed.append(target)
        if len(placed) > (point == "between files"):
            raise Killed
        plain(source, target)

    monkeypatch.setattr(workfolder, "_link", die)
    with pytest.raises(Killed):
        Copy(tmp_path).run()
    monkeypatch.setattr(workfolder, "_link", plain)
    again = Copy(tmp_path)
    again.run()
    assert again.done == []
    assert texts(tmp_path) == EVERYTHING


def test_one_that_was_taken_over_writes_nothing(tmp_path):
    outputs = Copy(tmp_path).outputs
    with open_work(outputs, NOTE) as place:
        Path(place.staged["rows"]).write_text("old")
        Path(place.staged["models"][0]).write_text("old")
        lease.take(Path(outputs["work"]), print, alive=lambda *_: False)
        with pytest.raises(stopping.Stopped, match="another copy of this job took this one for dead"):
            place.publish("never")
    assert texts(tmp_path) == {}


def test_tidy_removes_what_was_kept_for_copies_and_no_work(tmp_path, monkeypatch):
    monkeypatch.setenv("SLURM_JOB_ID", "8")
    Copy(tmp_path).run()
    other = tmp_path / "work/other"
    other.mkdir()
    (other / "one.json").write_text("1")
    assert (tmp_path / "work/cell.finished").is_dir()
    tidy(tmp_path)
    assert sorted(os.listdir(tmp_path / "work")) == ["other"]
    assert texts(tmp_path) == EVERYTHING


def test_results_cost_no_second_place_on_the_disk(tmp_path, monkeypatch):
    monkeypatch.setenv("SLURM_JOB_ID", "8")
    Copy(tmp_path).run()
    assert (tmp_path / "out/m1").stat().st_nlink == 2
