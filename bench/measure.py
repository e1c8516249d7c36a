"""Measuring in turns: ours, plain and today's form take turns on one machine, and each turn gives a ratio to either.

A ratio is how many times ours is ahead: faster, or smaller in memory. In: a case and the work. Out: one `Row` per
metric with medians and the least and greatest ratio of the pairs. Peak memory is taken in a fresh process per form.

    python -m bench --cases vpt_50 full --pairs 3
"""

from __future__ import annotations

import multiprocessing
import platform
import statistics
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import torch

from bench import modern, ours, plain
from bench.cases import Case, Work
from vptcore.jobs.device import peak_resident

FORMS = {"ours": ours, "plain": plain, "modern": modern}


@dataclass(frozen=True)
class Metric:
    """`more_is_better` says which way a ratio is taken."""

    id: str
    title: str
    more_is_better: bool


METRICS: dict[str, Metric] = {
    metric.id: metric
    for metric in (
        Metric("train_img_s", "train, img/s", True),
        Metric("eval_img_s", "eval, img/s", True),
        Metric("peak_mib", "peak memory, MiB", False),
        Metric("grid_s", "whole grid, s", False),
    )
}


@dataclass(frozen=True)
class Row:
    """Medians of ours and of the form it is `against` over the turns, and the turns' ratios; above 1 ours is ahead."""

    case: str
    metric: str
    against: str
    ours: float
    theirs: float
    ratio: float
    ratio_min: float
    ratio_max: float
    device: str


def measure(case: Case, work: Work, memory: ProcessPoolExecutor) -> Iterator[Row]:
    """The rows of one case, each as soon as it is there."""
    where = device_name(work)
    if case.is_grid:
        yield from rows_of(case.id, "grid_s", ("plain",), _grid_turns(case, work), where)
        return
    against = [name for name in work.against if name == "plain" or case.modern]
    if "plain" in against:
        peaks = [lambda n=n: memory.submit(peak_mib, n, case, work).result() for n in ("ours", "plain")]
        yield from rows_of(case.id, "peak_mib", ("plain",), in_turn(*peaks, turns=1), where)
    forms = {name: FORMS[name] for name in ("ours", *against)}
    models = {name: form.make(case, work) for name, form in forms.items()}
    images = {name: form.load(case, work, work.images) for name, form in forms.items()}
    for name, form in forms.items():  # in the shapes that are timed, so that nothing is compiled under the clock
        form.train(models[name], images[name], case, work)
    trainers = [lambda n=n, f=f: f.train(models[n], images[n], case, work) for n, f in forms.items()]
    yield from rows_of(case.id, "train_img_s", against, in_turn(*trainers, turns=work.pairs), where)
    for name, form in forms.items():
        form.evaluate(models[name], images[name], work)
    evaluators = [lambda n=n, f=f: f.evaluate(models[n], images[n], work) for n, f in forms.items()]
    yield from rows_of(case.id, "eval_img_s", against, in_turn(*evaluators, turns=work.pairs), where)


def _grid_turns(case: Case, work: Work) -> list[tuple[float, ...]]:
    model, images = plain.make(case, work), plain.load(case, work, work.images)
    plain.train(model, images, case, work)
    return in_turn(
        lambda: ours.grid_seconds(case, work),
        lambda: plain.grid_seconds(model, images, case, work),
        turns=(work.pairs + 1) // 3 or 1,
    )


def in_turn(*actions: Callable[[], float], turns: int) -> list[tuple[float, ...]]:
    """What every action gives, turn by turn. Who begins goes round, so that a drift of the machine favours none."""
    count, values = len(actions), []
    for turn in range(turns):
        order = [(turn + place) % count for place in range(count)]
        found = {at: actions[at]() for at in order}
        values.append(tuple(found[at] for at in range(count)))
    return values


def rows_of(
    case: str, metric: str, against: Sequence[str], turns: list[tuple[float, ...]], device: str
) -> Iterator[Row]:
    """A row for each form that ours, the first of every turn, is compared with."""
    for place, name in enumerate(against, 1):
        pairs = [(turn[0], turn[place]) for turn in turns]
        ratios = [a / b if METRICS[metric].more_is_better else b / a for a, b in pairs]
        medians = (statistics.median(values) for values in zip(*pairs, strict=True))
        yield Row(case, metric, name, *medians, statistics.median(ratios), min(ratios), max(ratios), device)


def fresh_processes() -> ProcessPoolExecutor:
    """One new process per task, forked from a server that has imported the libraries and computed nothing."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["timm", "vptcore.training.search"])
    return ProcessPoolExecutor(1, mp_context=context, max_tasks_per_child=1)


def peak_mib(form_name: str, case: Case, work: Work) -> float:
    """What one training epoch adds to this process's peak: resident memory on a CPU, allocated memory on a GPU.

    The images, the model and the optimizer count; the plain form's worker processes do not.
    """
    torch.set_num_threads(work.threads)
    form, before = FORMS[form_name], peak_resident()
    form.train(form.make(case, work), form.load(case, work, work.images), case, work)
    if work.device != "cpu":
        return torch.cuda.max_memory_allocated() / 2**20
    return (peak_resident() - before) / 2**20


def device_name(work: Work) -> str:
    if work.device != "cpu":
        return f"GPU {torch.cuda.get_device_name(work.device)}, torch {torch.__version__}"
    of = f"{work.threads} thread{'s' * (work.threads > 1)}"
    return f"CPU {_processor()}, {of}, torch {torch.__version__}"


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()
