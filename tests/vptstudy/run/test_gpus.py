"""Pretended devices: every one busy, never two jobs on one, given back by whatever end a job takes."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from pathlib import Path

import pytest

from vptstudy.run import gpus


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    for name in ("VPTCORE_GPUS", "CUDA_VISIBLE_DEVICES", "SLURM_JOB_ID"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def quiet(_):
    pass


def job(number: int, log: str, dies: bool, all_busy) -> None:
    with gpus.handed_out(1, quiet, poll=0.005) as device:
        assert os.environ["CUDA_VISIBLE_DEVICES"] == device
        _note(log, f"in {device} {number}")
        all_busy.wait(60)  # passes when every device has its job
        _note(log, f"out {device} {number}")
        if dies:
            os.kill(os.getpid(), signal.SIGKILL)


def _note(log: str, line: str) -> None:
    with open(log, "a") as file:
        file.write(line + "\n")


@pytest.mark.parametrize("count", [1, 3, 8])
def test_all_devices_busy_and_never_two_jobs_on_one(count, place, monkeypatch):
    monkeypatch.setenv("VPTCORE_GPUS", ",".join(map(str, range(count))))
    log = str(place / "log")
    context = multiprocessing.get_context("fork")
    all_busy = context.Barrier(count)
    jobs = [context.Process(target=job, args=(i, log, i % 3 == 0, all_busy)) for i in range(3 * count)]
    for process in jobs:
        process.start()
    for process in jobs:
        process.join(60)
        assert process.exitcode in (0, -signal.SIGKILL)
    owners, served = {}, 0
    for line in Path(log).read_text().splitlines():
        way, device, number = line.split()
        if way == "in":
            assert device not in owners, "two jobs on one device"
            owners[device] = number
            served += 1
        else:
            assert owners.pop(device) == number
    assert served == 3 * count


def test_which_devices_there_are(monkeypatch):
    monkeypatch.setattr(gpus, "_listed_by_driver", lambda: 0)
    if not any(Path("/dev").glob("nvidia[0-9]")):
        assert gpus.devices() == []
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2, GPU-5ab3,2")
    assert gpus.devices() == ["2", "GPU-5ab3"]
    for none in ("", "-1", "NoDevFiles"):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", none)
        assert gpus.devices() == []
    monkeypatch.setenv("VPTCORE_GPUS", "0,3")
    assert gpus.devices() == ["0", "3"]


def test_what_the_driver_lists(place, monkeypatch):
    tool = place / "nvidia-smi"
    tool.write_text("#!/bin/sh\necho 'GPU 0: A (UUID: GPU-1)'\necho '  MIG 1g'\necho 'GPU 1: A (UUID: GPU-2)'\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{place}:/usr/bin:/bin")
    assert gpus._listed_by_driver() == 2
    monkeypatch.setenv("PATH", str(place / "nowhere"))
    assert gpus._listed_by_driver() == 0


def test_a_job_that_asks_for_none_or_has_what_slurm_gave_it_is_left_alone(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")
    with gpus.handed_out(0, quiet) as device:
        assert device is None
    monkeypatch.setenv("SLURM_JOB_ID", "9")
    with gpus.handed_out(1, quiet) as device:
        assert device is None
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "3"


def test_within_an_allocation_of_several_each_job_gets_one(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    monkeypatch.setenv("SLURM_JOB_ID", "9")
    with gpus.handed_out(1, quiet) as device:
        assert device == "0"
        assert gpus.lock_folder().name == "gpus-9"
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "0,1"


def test_waiting_is_said_once(place, monkeypatch):
    monkeypatch.setenv("VPTCORE_GPUS", "5")
    lines, log, context = [], place / "log", multiprocessing.get_context("fork")
    holder = context.Process(target=hold, args=(str(log), 0.3))
    holder.start()
    while not log.exists():
        time.sleep(0.01)
    with gpus.handed_out(1, lines.append, poll=0.01) as device:
        assert device == "5"
    holder.join(20)
    assert lines == ["waiting for a GPU: other jobs have 5"]


def hold(log: str, seconds: float) -> None:
    with gpus.handed_out(1, quiet):
        _note(log, "held")
        time.sleep(seconds)


def test_a_study_on_the_cpu_needs_none_unless_someone_names_them(monkeypatch):
    gpus.offer("auto")
    assert "VPTCORE_GPUS" not in os.environ
    monkeypatch.setenv("VPTCORE_GPUS", "1")
    gpus.offer("cpu")
    assert gpus.devices() == ["1"]
    monkeypatch.delenv("VPTCORE_GPUS")
    gpus.offer("cpu")
    assert os.environ.pop("VPTCORE_GPUS") == ""


def test_locks_that_lie_open_to_others_are_refused(place):
    gpus.run_folder().chmod(0o777)
    with pytest.raises(OSError, match="open to others"):
        gpus.run_folder()
