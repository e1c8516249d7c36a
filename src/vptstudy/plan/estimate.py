"""What every job behind a target costs, and sums of it by target, stage, phase and method.

In: a study, targets and a `Speed`. Out: a `Plan`. What is done already, by its files, is counted apart.

    python -m pytest tests/vptstudy/plan/test_estimate.py
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Collection, Hashable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

from vptstudy.graph.jobs import Graph, Job
from vptstudy.plan import assumed, schedule
from vptstudy.plan.devices import DEVICES
from vptstudy.plan.images import bytes_each, counts_of, pool_images, test_images
from vptstudy.plan.limits import GPU_STAGES, need_of, slice_of, work_of
from vptstudy.plan.seconds import Speed, key_of
from vptstudy.plan.workload import beyond, dimensions_of, logits_bytes, tuned_bytes
from vptstudy.study import MAX_POOL, Study

STAGES = (
    "fetch", "prepare", "split", "features", "reference", "fid", "search", "final", "explain", "table", "figure",
    "report", "examples", "merge",
)  # fmt: skip
# Light jobs, which compute nothing: seconds each. Downloads are not counted, they depend on the line.
LIGHT = {
    "fetch": 0.0,
    "split": 2.0,
    "reference": 600.0,
    "table": 4.0,
    "figure": 6.0,
    "report": 15.0,
    "examples": 5.0,
    "merge": 15.0,
}
PREDICTION_BYTES, ROW_BYTES = 14, 40_000


@dataclass(frozen=True)
class Cost:
    """One job: seconds by phase, on a GPU or not, the bytes that it leaves on disk, and what is compiled after it."""

    phases: Mapping[str, float]
    on_gpu: bool
    disk: float
    compiles: frozenset[Hashable] = frozenset()

    @property
    def seconds(self) -> float:
        return sum(self.phases.values())

    @property
    def gpu_seconds(self) -> float:
        return self.seconds if self.on_gpu else 0.0


class Plan:
    """The jobs behind some targets of a study and their costs at one speed. `whole`: as if nothing were done yet."""

    def __init__(self, study: Study, targets: Iterable[str], speed: Speed, *, whole: bool = False):
        self.study, self.speed, self.graph = study, speed, Graph(study)
        self.targets = list(targets)
        self.jobs = {job.key: job for job in self.graph.behind(self.targets)}
        self.done = set() if whole else {id for id, job in self.jobs.items() if all(map(os.path.exists, job.files))}
        self.costs = self._costs()
        self.left = {id: job for id, job in self.jobs.items() if id not in self.done}

    def _costs(self) -> dict[tuple[str, ...], Cost]:
        """Every job's. What several jobs compile alike, the first of them pays for, those that are done before all."""
        compiled: set[Hashable] = set()
        costs = {}
        for id in sorted(self.jobs, key=lambda id: id not in self.done):
            costs[id] = cost_of(self.study, self.jobs[id], self.speed, compiled)
            compiled |= costs[id].compiles
        return costs

    @cached_property
    def gpu_seconds(self) -> float:
        return sum(self.costs[id].gpu_seconds for id in self.left)

    @cached_property
    def cpu_seconds(self) -> float:
        return sum(self.costs[id].seconds - self.costs[id].gpu_seconds for id in self.left)

    @cached_property
    def beyond(self) -> float:
        """Seconds of one further rate for every search that is left, under `edges: extend`."""
        searches = {id: job for id, job in self.left.items() if stage_of(job) == "search"}
        return sum(self.costs[id].seconds * beyond(job.slice) for id, job in searches.items())

    @property
    def disk(self) -> float:
        return sum(self.costs[id].disk for id in self.left)

    @cached_property
    def tasks(self) -> dict[tuple[str, ...], schedule.Step]:
        def step(job: Job) -> schedule.Step:
            waits_for = [need.key for need in self.graph.needs(job) if need.key in self.left]
            return schedule.Step(self.costs[job.key].seconds, waits_for, self.costs[job.key].on_gpu)

        return {id: step(job) for id, job in self.left.items()}

    def wall_seconds(self, gpus: int) -> float:
        return schedule.makespan(self.tasks, gpus)

    @cached_property
    def chain(self) -> list[Job]:
        return [self.jobs[id] for id in schedule.longest_chain(self.tasks)]

    @property
    def chain_seconds(self) -> float:
        return sum(self.costs[job.key].seconds for job in self.chain)

    def by_stage(self) -> list[dict]:
        """Jobs, how many are done, and what is left, stage by stage."""
        rows = []
        for stage in STAGES:
            ids = [id for id, job in self.jobs.items() if stage_of(job) == stage]
            if ids:
                left = [self.costs[id] for id in ids if id not in self.done]
                rows.append({"stage": stage, "jobs": len(ids), "done": len(ids) - len(left), **_sums(left)})
        return rows

    def by_target(self) -> list[dict]:
        """Each table and figure among the targets' jobs: what it costs alone, and what it adds to those above it.

        The last row is whatever no table or figure reads; so the increments' sum is the plan's.
        """
        seen: set[tuple[str, ...]] = set()
        rows = []
        for target, job in self.graph.targets.items():
            if job.key not in self.jobs or target == "report":
                continue
            mine = [need.key for need in self.graph.behind([target]) if need.key in self.left]
            more = [i for i in mine if i not in seen]
            seen |= set(mine)
            alone, added = _sums([self.costs[i] for i in mine]), _sums([self.costs[i] for i in more])
            rows.append({"target": target, "jobs": len(mine), "jobs_more": len(more), "alone": alone, "more": added})
        rest = [i for i in self.left if i not in seen]
        sums = _sums([self.costs[i] for i in rest])
        if rest:
            rows.append({"target": "others", "jobs": len(rest), "jobs_more": len(rest), "alone": sums, "more": sums})
        return rows

    def by_phase(self) -> dict[str, float]:
        """GPU seconds of what is left, by stage and phase, the largest first."""
        return self._largest(lambda job, cost: {f"{stage_of(job)}: {name}": s for name, s in cost.phases.items()})

    @cached_property
    def gpu_bytes(self) -> dict[tuple[str, ...], float]:
        """What each job that is left needs of a GPU's memory."""
        jobs = {id: job for id, job in self.left.items() if self.costs[id].on_gpu and job.kind in GPU_STAGES}
        return {id: need_of(self.study, job.kind, job.subject).gpu for id, job in jobs.items()}

    @property
    def assumptions(self) -> list[str]:
        """What the costs of what is left rest on beside the rates, a line each; empty where nothing is left."""
        on_gpu = self.speed.device.is_gpu
        phases = {name for id in self.left for name, seconds in self.costs[id].phases.items() if seconds}
        compiled = {form for id in self.left for form in self.costs[id].compiles}
        return assumed.lines(phases, on_gpu=on_gpu, forms=len(compiled)) if self.left else []

    def by_method(self) -> dict[str, float]:
        return self._largest(lambda job, cost: {job.of["method"]: cost.seconds} if "method" in job.of else {})

    def by_train(self) -> dict[str, float]:
        return self._largest(lambda job, cost: {job.of["train"]: cost.seconds} if "method" in job.of else {})

    def _largest(self, parts) -> dict[str, float]:
        total: defaultdict[str, float] = defaultdict(float)
        for id, job in self.left.items():
            if self.costs[id].on_gpu:
                for name, seconds in parts(job, self.costs[id]).items():
                    total[name] += seconds
        return dict(sorted(total.items(), key=lambda item: -item[1]))


def _sums(costs: Iterable[Cost]) -> dict[str, float]:
    costs = list(costs)
    gpu = sum(cost.gpu_seconds for cost in costs)
    return {
        "gpu_seconds": gpu,
        "cpu_seconds": sum(cost.seconds for cost in costs) - gpu,
        "disk": sum(cost.disk for cost in costs),
    }


def stage_of(job: Job) -> str:
    """A job's row of the plan: its stage, and merge for one that puts shards together."""
    return "merge" if "shards" in job.inputs else job.kind


def cost_of(study: Study, job: Job, speed: Speed, compiled: Collection[Hashable] = ()) -> Cost:
    """A job's seconds by phase at this speed, and its bytes on disk. What is `compiled` before is only loaded."""
    stage = stage_of(job)
    on_gpu = job.gpu and speed.device.is_gpu
    if stage in LIGHT:
        return Cost({"other": LIGHT[stage]}, on_gpu, 0.0 if stage == "fetch" else ROW_BYTES)
    mine = speed if job.gpu else Speed(DEVICES["cpu"])
    if stage not in ("search", "final"):
        return Cost(mine.seconds_by_phase(work_of(study, stage, job.subject)), on_gpu, disk_of(study, job))
    row = slice_of(study, stage, job.subject)
    work = work_of(study, stage, job.subject, row).share(job.share)
    phases = mine.seconds_by_phase(work, key_of(row), compiled)
    return Cost(phases, on_gpu, _models_and_rows(study, job, row), work.steps | work.scorings)


def _models_and_rows(study: Study, job: Job, row: Mapping) -> float:
    """Bytes of a search's or final's rows, and of the tuned models that a later stage reads."""
    models = sum(path.endswith(".safetensors") for path in job.files) * tuned_bytes(row)
    seeds = len(study.seeds) if job.kind == "final" else 0
    if job.kind == "search":
        val = counts_of(study, job.of["task"], job.of["train"]).val
        models += logits_bytes(row, val) * job.share
    return ROW_BYTES * len(job.files) + models + seeds * test_images(study, job.of["task"]) * PREDICTION_BYTES


def disk_of(study: Study, job: Job) -> float:
    """Bytes that stay of the other stages: arrays, features, maps."""
    task = job.of["task"]
    if job.stage == "prepare":
        images = min(MAX_POOL, pool_images(study, task)) + test_images(study, task)
        return images * (bytes_each(study, task) + 80)
    if job.stage == "features":
        counts = counts_of(study, task, study.base_fid_train(task))
        return 8.0 * (counts.train + counts.val) * dimensions_of(job.slice)
    return 10 * ROW_BYTES
