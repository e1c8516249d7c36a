"""What an advice would run, without running it: the jobs of each rung, and what they ask of a machine.

In: a `Setting`. Out: lines. Which rates are tried follows from results; how many jobs a rung has does not, but for the
rates beyond the end of a grid.

    vptcore advise photos/leaves --profile slurm --dry-run
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

from vptstudy import plan
from vptstudy.advise import rungs
from vptstudy.advise.folds import FOLDS, in_folds
from vptstudy.advise.rungs import ARMS, LENGTHS, RATES, Arm, Budget, Setting
from vptstudy.config.resolve import load_study
from vptstudy.graph import flow
from vptstudy.graph.jobs import Graph, Job
from vptstudy.plan.limits import GPU_STAGES, STAGES
from vptstudy.study import Study

# One job a method; which of them are the finalists, and at which rate, is what the rungs find out.
BEST = {arm: RATES[arm.method][:1] for arm in ARMS if arm.length in (0, LENGTHS[0])}
FINALISTS = {arm: BEST[arm] for arm in list(BEST)[:2]} | {Arm("linear"): RATES["linear"][:1]}


def lines(setting: Setting, sharing: bool = False) -> Iterator[str]:
    """The rungs, their sum, and the most that a job of each stage asks for. `sharing`: as in `rungs.study`."""
    found = _rungs(setting, sharing)
    beyond = sum(job.stage == "search" for _, job in found["rates"]) // 2
    for number, (title, jobs) in enumerate(found.items(), start=1):
        further = f", and up to {beyond} more search beyond an end of the grid" if title == "rates" else ""
        yield f"[{number}/{len(found)}] {title}: {_counted(jobs)}{further}"
    every = [pair for jobs in found.values() for pair in jobs]
    yield f"{len(every)} jobs, or up to {len(every) + beyond}. The largest of each kind asks for:"
    yield from (f"  {line}" for line in _limits(every))


Jobs = list[tuple[Study, Job]]


def _rungs(setting: Setting, sharing: bool) -> dict[str, Jobs]:
    """{title: its jobs}. Images are decoded once; a rung finds what an earlier one has prepared and split."""
    listing = setting.look.listing
    folds = FOLDS if in_folds(frozenset(listing.splits), listing.total) else 1
    parted = replace(setting, splits=tuple(f"{setting.root}/folds/{k}.csv" for k in range(1, folds + 1)) * (folds > 1))
    budget = Budget(rungs.SHORT, rungs.batch_for(listing.total), "train", rungs.seeds_for(folds))
    rates = [_jobs(one, _searches, known=("prepare", "split")) for one in
             rungs.rates(parted, budget, {arm: RATES[arm.method][:2] for arm in ARMS})]  # fmt: skip
    return {
        "look": _jobs(rungs.images(setting), _index),
        "first answer": _jobs(rungs.probe(parted, budget), _searches, known=("prepare",)),
        # Two rates of every arm, then the neighbours of the better one.
        "rates": 2 * [pair for one in rates for pair in one],
        "methods": _jobs(rungs.schedules(parted, budget, BEST), _searches,
                         known=("prepare", "split")),
        # The finalists' one rate is what their full schedules had.
        "answer": [pair for pair in _jobs(rungs.study(parted, budget, FINALISTS, sharing), lambda study: ["all"],
                                          known=("prepare", "split")) if not _is_done(*pair)],
    }  # fmt: skip


def _index(study: Study) -> list[str]:
    return [flow.task_files(study, task, "train")["index"] for task in study.used("task")]


def _searches(study: Study) -> list[str]:
    return [study.path("search", cell) for cell in study.searches]


def _jobs(config: Mapping, wanted: Callable[[Study], list[str]], known: tuple[str, ...] = ()) -> Jobs:
    study = load_study(config)
    return [(study, job) for job in Graph(study).behind(wanted(study)) if job.stage not in known]


def _is_done(study: Study, job: Job) -> bool:
    return job.stage == "search" and job.subject.method != "linear"


def _counted(jobs: Jobs) -> str:
    counts = Counter(job.stage for _, job in jobs)
    return ", ".join(f"{count} {stage}" for stage, count in counts.items())


def _limits(jobs: Jobs) -> Iterator[str]:
    """Of each stage that asks for memory and time, the most; as the rules ask at the first attempt."""
    for stage in STAGES:
        asked = [plan.resources(study, stage, job.subject) for study, job in jobs if job.kind == stage]
        if asked:
            memory, minutes = (max(one[key] for one in asked) for key in ("mem_mb", "runtime"))
            gpu = ", a GPU" if stage in GPU_STAGES and jobs[0][0].config["device"] != "cpu" else ""
            yield f"{stage}: {memory / 1000:.1f} GB of memory, {minutes} minutes{gpu}"
