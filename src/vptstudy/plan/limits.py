"""The limits that a job asks its cluster for: memory, minutes, a GPU.

In: a study, a stage and the cell or task of a job. Out: `mem_mb`, `runtime` (minutes) and `gpu` as Snakemake's
resources. Estimates with room above them, and more with each attempt. They read the config alone, never rows, so that
they are the same in every process of a run.

    python -m pytest tests/vptstudy/plan/test_limits.py
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from vptstudy import slices
from vptstudy.plan import memory as needs
from vptstudy.plan.devices import DEVICES, device_of
from vptstudy.plan.images import bytes_each, counts_of, pool_images, test_images
from vptstudy.plan.seconds import Speed
from vptstudy.plan.workload import (
    Workload,
    beyond,
    dimensions_of,
    explain_work,
    features_work,
    fid_work,
    final_work,
    prepare_work,
    search_work,
)
from vptstudy.study import MAX_POOL, Cell, Study

GPU_STAGES = ("search", "final", "explain", "features")
STAGES = (*GPU_STAGES, "fid", "prepare")
SLOWEST = "A100"
# Times the estimate, plus minutes for a slow file system; and the least that is asked for.
ROOM, EXTRA_MINUTES, LEAST_MINUTES = 3.0, 10, 20
MEMORY_ROOM, LEAST_MB, MB_STEP = 1.25, 1500, 500


def resources(study: Study, stage: str, of: Cell | str, attempt: int = 1, share: float = 1.0) -> dict[str, int]:
    """Limits of a job: `of` is its cell, or for features, fid and prepare its task; `share` is a shard's part of it."""
    return {
        "mem_mb": memory(study, stage, of, attempt),
        "runtime": runtime(study, stage, of, attempt, share),
        "gpu": int(stage in GPU_STAGES),
    }


def runtime(study: Study, stage: str, of: Cell | str, attempt: int = 1, share: float = 1.0) -> int:
    """Minutes: three times the estimate on the device that the config plans for, and as much again an attempt."""
    work = work_of(study, stage, of).share(share)
    if stage == "search":  # as if every rate that it may buy were bought
        job = slice_of(study, stage, of)
        work = work.share(1 + 2 * job.get("extend", 0) * beyond(job))
    estimate = Speed(limit_device(study, stage)).seconds(work) / 60
    return attempt * max(LEAST_MINUTES, math.ceil(EXTRA_MINUTES + ROOM * estimate))


def memory(study: Study, stage: str, of: Cell | str, attempt: int = 1) -> int:
    """Megabytes on the host. A shard needs as much as the whole."""
    wanted = max(LEAST_MB, MEMORY_ROOM * need_of(study, stage, of).host / 1e6)
    return attempt * MB_STEP * math.ceil(wanted / MB_STEP)


def limit_device(study: Study, stage: str):
    """The device that time limits are made for: the CPU where jobs run there, else a GPU that few are slower than."""
    on_cpu = study.config["device"] == "cpu" or stage not in GPU_STAGES
    return DEVICES["cpu"] if on_cpu else device_of(study.config.get("plan", {}).get("device", SLOWEST))


def slice_of(study: Study, stage: str, cell: Cell) -> dict:
    """The slice of a search or a final."""
    return slices.search(study, cell) if stage == "search" else slices.final(study, cell)


def work_of(study: Study, stage: str, of: Cell | str, job: Mapping | None = None) -> Workload:
    """`job` is the slice of a search or a final, where the caller has it already."""
    match stage:
        case "search" | "final":
            work = search_work if stage == "search" else final_work
            return work(job or slice_of(study, stage, of), counts_of(study, of.task, of.train))
        case "explain":
            job = slices.explain(study, of.backbone, of.task, of.train)
            return explain_work(job, counts_of(study, of.task, of.train))
        case "features":
            return features_work(slices.features(study, of), counts_of(study, of, study.base_fid_train(of)))
        case "fid":
            counts = counts_of(study, of, study.base_fid_train(of))
            return fid_work(slices.fid(study, of), dimensions_of(slices.features(study, of)), counts)
        case "prepare":
            images = min(MAX_POOL, pool_images(study, of)) + test_images(study, of)
            return prepare_work(images, bytes_each(study, of))
    raise ValueError(f"stage {stage!r}: choose one of {', '.join(STAGES)}")


def need_of(study: Study, stage: str, of: Cell | str) -> needs.Need:
    match stage:
        case "search" | "final":
            return needs.need_of(stage, slice_of(study, stage, of), counts_of(study, of.task, of.train))
        case "explain":
            job = slices.explain(study, of.backbone, of.task, of.train)
            return needs.explain_need(job, counts_of(study, of.task, of.train))
        case "features":
            return needs.features_need(slices.features(study, of), counts_of(study, of, study.base_fid_train(of)))
        case "fid":
            return needs.fid_need(counts_of(study, of, study.base_fid_train(of)))
        case "prepare":
            return needs.Need(2e9)  # streams; a photograph is decoded at its full size
    raise ValueError(f"stage {stage!r}: choose one of {', '.join(STAGES)}")
