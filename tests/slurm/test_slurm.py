"""The study on a real Slurm of two nodes with two pretended GPUs each: rows, and Slurm's own records of the jobs."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pandas as pd
import pytest

from tests.slurm.conftest import METHODS, Run, until
from vptcore.records import read_provenance, read_rows

pytestmark = pytest.mark.slurm
TIMES = ["seconds", "compile_seconds", "images_per_second"]


def jobs_of(cluster, folder: Path, rule: str, method: str = "") -> list[dict]:
    """Slurm's records of a study's jobs of one rule, and of one method."""
    mine = [job for job in cluster.jobs() if job["WorkDir"] == str(folder)]
    return [j for j in mine if j["where"].startswith(f"rule_{rule}_") and (not method or f"_{method}_" in j["where"])]


def states(records: list[dict]) -> list[str]:
    return [record["JobState"] for record in records]


def same_rows(a: Run, b: Run, *methods: str) -> None:
    for method in methods or METHODS:
        for kind in ("search", "final", "curves", "predictions"):
            one, other = (
                read_rows(run.rows(method, kind), kind).drop(columns=TIMES, errors="ignore") for run in (a, b)
            )
            pd.testing.assert_frame_equal(one, other)


def test_jobs_land_on_both_nodes_and_hold_the_gpu_they_asked_for(cluster, clean):
    trained = [*jobs_of(cluster, clean.folder, "search"), *jobs_of(cluster, clean.folder, "final")]
    assert len(trained) == 2 * len(METHODS)
    assert states(trained) == ["COMPLETED"] * len(trained)
    assert {job["NodeList"] for job in trained} == {"node1", "node2"}
    assert all("gres:gpu:1" in job["TresPerJob"] for job in trained), trained[0]["TresPerJob"]
    for kind in ("search", "final"):
        for method in METHODS:
            (job,) = jobs_of(cluster, clean.folder, kind, method)
            note = read_provenance(clean.rows(method, kind))
            assert note["slurm_job"] == job["JobId"]
            assert note["node"] == job["NodeList"]
            assert note["gpu"] in ("0", "1")


def test_jobs_without_a_gpu_ask_for_none_and_light_ones_are_no_jobs(cluster, clean):
    (prepare,) = jobs_of(cluster, clean.folder, "prepare")
    assert prepare["Partition"] == "cpu"
    assert "gpu" not in prepare.get("TresPerJob", "")
    assert not jobs_of(cluster, clean.folder, "split")


def test_rows_equal_those_of_a_run_without_slurm(clean, tmp_path_factory):
    local = Run(tmp_path_factory.mktemp("local"))
    local.finish(local=True)
    same_rows(clean, local)


def test_what_goes_wrong_is_made_good_and_the_rows_are_the_same(cluster, clean, tmp_path_factory):
    """Five finals at once: one over its time, one over its memory, one fails once, one is cancelled, one node dies."""
    run = clean.without_finals(tmp_path_factory.mktemp("faults") / "study")
    faults = {
        "method=vpt": {"sleep": 2},
        "method=full": {"megabytes": 1500},
        "method=mixed": {"fails_once": str(run.folder / "failed")},
        "method=linear": {"sleep": 0.6},
        "method=mlp": {"sleep": 0.6},
    }
    asked = ["slurm_partition=gpu", "gpu=1", "mem_mb=attempt*1800", "runtime=attempt"]
    process = run.start("--set-resources", *(f"final:{one}" for one in asked), faults=faults)
    try:
        (cancelled,) = until(lambda: working(cluster, run, "linear"))
        cluster_call("scancel", cancelled["JobId"])
        # Before the node dies: a job that it takes with it before it has failed is put back, and fails no more.
        until(lambda: "FAILED" in states(by_time(cluster, run, "mixed")))
        (moved,) = until(lambda: working(cluster, run, "mlp"))
        cluster.kill_node(moved["NodeList"])
        until(lambda: cluster.states()[moved["NodeList"]].startswith("down"))
        hurry(cluster, run)
        until(lambda: is_elsewhere(cluster, run, moved))
        cluster.start_node(moved["NodeList"])
        assert process.wait(timeout=480) == 0, (run.folder / "snakemake.log").read_text()[-3000:]
    finally:
        process.kill()
    same_rows(run, clean)

    # On a busy machine the second attempt may come to its limit too, and the third ends it.
    *late, last = by_time(cluster, run, "vpt")
    assert late
    assert states([*late, last]) == ["TIMEOUT"] * len(late) + ["COMPLETED"]
    assert [r["TimeLimit"] for r in (*late, last)] == [f"00:0{n}:00" for n in range(1, len(late) + 2)]

    *small, large = by_time(cluster, run, "full")
    assert small
    assert set(states(small)) <= {"FAILED", "OUT_OF_MEMORY"}
    assert large["JobState"] == "COMPLETED"
    assert [megabytes(r) for r in (*small, large)] == [n * megabytes(small[0]) for n in range(1, len(small) + 2)]

    assert states(by_time(cluster, run, "mixed"))[-2:] == ["FAILED", "COMPLETED"]
    assert states(by_time(cluster, run, "linear"))[:1] == ["CANCELLED"]
    assert states(by_time(cluster, run, "linear"))[-1] == "COMPLETED"

    last = by_time(cluster, run, "mlp")[-1]
    assert last["JobState"] == "COMPLETED"
    assert last["NodeList"] != moved["NodeList"]
    assert int(last["Restarts"]) >= 1 or last["JobId"] != moved["JobId"]
    assert read_provenance(run.rows("mlp"))["node"] == last["NodeList"]


def test_snakemake_killed_and_started_again_while_its_jobs_run_does_no_work_twice(cluster, clean, tmp_path_factory):
    run = clean.without_finals(tmp_path_factory.mktemp("killed") / "study")
    faults = {"method=vpt": {"sleep": 0.8}, "method=full": {"sleep": 0.8}}
    first = run.start(faults=faults)
    until(lambda: working(cluster, run, "vpt") and working(cluster, run, "full"))
    os.kill(first.pid, signal.SIGKILL)
    first.wait()
    assert run.start("--unlock").wait(timeout=120) == 0
    run.finish(faults=faults)
    same_rows(run, clean)
    for method in ("vpt", "full"):
        records = by_time(cluster, run, method)
        assert states(records) == ["COMPLETED", "COMPLETED"], "Snakemake asked twice"
        note = read_provenance(run.rows(method))
        assert note["slurm_job"] == records[0]["JobId"], "the first one's work is the result"
        assert len(read_rows(run.rows(method), "final")) == 2


def working(cluster, run: Run, method: str) -> list[dict]:
    """The cell's job, if it has come to its training."""
    folder = run.rows(method).parent.relative_to(run.folder / "results/small/final")
    begun = list((run.folder / "results/small/work/final" / folder).glob("lease.*"))
    return [j for j in by_time(cluster, run, method) if j["JobState"] == "RUNNING"] if begun else []


def by_time(cluster, run: Run, method: str) -> list[dict]:
    return jobs_of(cluster, run.folder, "final", method)


def is_elsewhere(cluster, run: Run, moved: dict) -> bool:
    """Whether a job of the cell runs, or ran, on another node than the one that died."""
    last = by_time(cluster, run, "mlp")[-1]
    return last["JobState"] in ("RUNNING", "COMPLETED") and last["NodeList"] != moved["NodeList"]


def hurry(cluster, run: Run) -> None:
    """Slurm lets a job that it put back wait for two minutes; the test does not."""
    for job in cluster.jobs():
        if job["WorkDir"] == str(run.folder) and job["JobState"] == "PENDING" and int(job["Restarts"]):
            cluster_call("scontrol", "update", f"JobId={job['JobId']}", "StartTime=now")


def megabytes(record: dict) -> int:
    text = record["MinMemoryNode"]
    return int(float(text[:-1]) * {"M": 1, "G": 1024}[text[-1]])


def cluster_call(*command: str) -> None:
    import subprocess

    subprocess.run(command, check=True, capture_output=True)
