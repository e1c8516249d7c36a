"""What finished jobs say of the cost model: predicted against measured time, and a device's rates corrected by them.

In: the folder of a study's results. Every file of searches and finals says in its metadata which job made it, on what
device, and how long it took; its rows have the seconds of training alone. Out: `Measured` jobs, and a `Speed`.

    vptcore plan --check results/demo
"""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from vptcore.models.methods_table import METHODS, in_order
from vptcore.records import RowsError, read_provenance, read_rows
from vptstudy.plan.devices import Device, device_of, is_known
from vptstudy.plan.images import Counts
from vptstudy.plan.seconds import Speed, key_of
from vptstudy.plan.workload import Trainings, Workload, final_work, search_work

STAGES = ("search", "final")


@dataclass(frozen=True)
class Measured:
    """One finished job. `trained` is the seconds of its training epochs, `ready` of compiling and capturing before
    them, `seconds` of all of it but its start."""

    stage: str
    job: Mapping
    work: Workload
    device: str
    trained: float
    seconds: float
    ready: float = 0.0

    @property
    def regime(self) -> str:
        return "head" if METHODS[self.job["method"]].probe else "train"

    @property
    def rate(self) -> float:
        return next(phase.images for phase in self.work.phases if phase.name == "train") / self.trained


def measured_jobs(root: Path | str) -> list[Measured]:
    """Every search and final below a results folder that can be read. Raises RowsError where there is none."""
    found = [job for stage in STAGES for job in _of_stage(Path(root), stage)]
    if not found:
        raise RowsError(f"{root}: no finished searches or finals here; name a study's results, such as results/demo")
    return found


def _of_stage(root: Path, stage: str) -> Iterable[Measured]:
    for path in sorted((root / stage).glob("**/rows.parquet")):
        try:
            note, rows = read_provenance(path), read_rows(path, stage)
        except RowsError:  # the job that reads it will say so
            continue
        job, first = {"curve_seeds": 0, "curve_images": 0, **note["job"], "parts": ["train"]}, rows.iloc[0]
        test = 0 if stage == "search" else int(first["test_images"])
        val = int(first["val_images"]) if stage == "search" else 0
        # A final's train images are those of all its parts.
        counts = Counts(int(first["train_images"]), val, test, 0)
        trained, seconds = float(rows["seconds"].sum()), float(note.get("duration", note.get("seconds", 0.0)))
        # A diverged run stops early, and a resumed job took longer than its file says: neither measures a rate.
        if seconds >= trained > 0 and not rows["diverged"].any():
            ready = float(rows["compile_seconds"].fillna(0).sum())
            work = _search_work(job, counts, rows) if stage == "search" else final_work(job, counts)
            yield Measured(stage, job, work, str(first["device"]), trained, seconds, ready)


def _search_work(job: Mapping, counts: Counts, rows: pd.DataFrame) -> Workload:
    """By what was trained: rates bought beyond an edge too, and of a race what went on."""
    full = int((rows["epochs"] == job["recipe"]["epochs"]).sum())
    return search_work(job, counts, Trainings(len(rows) - full, full))


def calibrated(device: Device, jobs: Iterable[Measured]) -> Speed:
    """The device's rates as these jobs measured them: medians by regime, and each model's own training rate."""
    mine = [job for job in jobs if is_known(job.device) and device_of(job.device).name == device.name]
    plain, scale = Speed(device), {}
    rates: defaultdict[tuple, list[float]] = defaultdict(list)
    ratios: defaultdict[str, list[float]] = defaultdict(list)
    for job in mine:
        ratios[job.regime].append(_training(job, plain) / job.trained)
        if job.regime == "train":
            rates[key_of(job.job)].append(job.rate)
    scale = {regime: statistics.median(found) for regime, found in ratios.items()}
    if scored := [ratio for job in mine if (ratio := _scoring_ratio(job, plain)) is not None]:
        scale["score"] = min(10.0, max(0.1, statistics.median(scored)))
    return Speed(device, scale, {key: statistics.median(found) for key, found in rates.items()})


def _training(job: Measured, speed: Speed) -> float:
    return _parts(job, speed)["train"]


def _scoring_ratio(job: Measured, speed: Speed) -> float | None:
    """Predicted over measured seconds of scoring: what is left of a job when its other parts are taken away."""
    parts = _parts(job, speed)
    scoring = sum(speed.phase_seconds(phase) for phase in job.work.phases if phase.regime == "score")
    rest = sum(parts.get(name, 0.0) for name in ("build", "read", "other"))
    left = job.seconds - job.trained - job.ready - rest
    return scoring / left if scoring > 0.2 * job.seconds and left > 0 else None


def predicted(job: Measured, speed: Speed) -> float:
    """Seconds of a job but for its start, which its file does not time."""
    return sum(seconds for name, seconds in _parts(job, speed).items() if name != "start")


def _parts(job: Measured, speed: Speed) -> dict[str, float]:
    """A finished job's seconds by phase, as of one that found everything compiled: its file does not say."""
    return speed.seconds_by_phase(job.work, key_of(job.job), job.work.steps | job.work.scorings)


def comparison(jobs: Iterable[Measured], before: Speed, after: Speed) -> list[dict]:
    """Per stage and method: jobs, measured seconds, predicted ones by both speeds, and the worst single job's ratio."""
    groups: defaultdict[tuple[str, str], list[Measured]] = defaultdict(list)
    for job in jobs:
        groups[job.stage, job.job["method"]].append(job)
    order = in_order(method for _, method in groups)
    rows = []
    for (stage, method), mine in sorted(groups.items(), key=lambda g: (g[0][0] != "search", order.index(g[0][1]))):
        seconds = sum(job.seconds for job in mine)
        ratios = [predicted(job, after) / job.seconds for job in mine]
        rows.append({
            "stage": stage, "method": method, "jobs": len(mine), "measured": seconds,
            "before": sum(predicted(job, before) for job in mine), "after": sum(predicted(job, after) for job in mine),
            "least": min(ratios), "most": max(ratios),
        })  # fmt: skip
    return rows
