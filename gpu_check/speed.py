"""Images a second of the project's own steps on ViT-B/16 with random weights, against the bars set for an H100.

In: the device. Out: a line per case, with milliseconds a step, share of the peak, memory, and what compiling took. The
clock is `fit`'s own: it is read when the device has done an epoch, and compilation is not in it.

    python -m gpu_check --part speed
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch

from bench import ours
from bench.cases import CASES, VIT_B, Case, Work, job_of, recipe_of, with_random_weights
from gpu_check.result import FACT, SKIPPED, Line, judge
from vptcore.training.fit import SCORE_BATCH, fit, predict
from vptcore.training.flops import forward_flops, mfu, step_flops

BARS_OF = ("H100", "H200")
EPOCHS, STEPS = 4, 16


@dataclass(frozen=True)
class Timed:
    """A case of the benchmark at a batch. `bar` in images a second; `scored`: the bar of evaluation, with its model."""

    case: str
    batch: int
    bar: float
    scored: float | None = None


TIMED = (Timed("vpt_50", 64, 4500, 9000), Timed("full", 128, 3300))


def run(device: str, ends: float, work: Work | None = None) -> Iterator[Line]:
    work = work or Work(VIT_B, device, steps=STEPS)
    with tempfile.TemporaryDirectory() as folder:
        backbone = with_random_weights(work.backbone, folder)
        for timed in TIMED:
            if time.monotonic() > ends:
                yield Line("speed", CASES[timed.case].title, SKIPPED, "no time left")
                continue
            at = Work(backbone, device, batch=work.batch if device == "cpu" else timed.batch, steps=work.steps)
            yield from _case(timed, CASES[timed.case], at)


def _case(timed: Timed, case: Case, work: Work) -> Iterator[Line]:
    model, images = ours.make(case, work), ours.load(case, work, work.images)
    recipe = replace(recipe_of(case, work), epochs=EPOCHS)
    if work.device != "cpu":
        torch.cuda.reset_peak_memory_stats()
    history = fit(model, images, recipe, seed=0, compile=ours.COMPILE)
    if bool(history.diverged):
        raise ValueError(f"{case.title}: the loss is not finite, so its timing would mean nothing")
    peak = torch.cuda.max_memory_allocated() / 2**30 if work.device != "cpu" else None
    rate, job = history.images_per_second, job_of(case, work)
    numbers = {"ms_per_step": 1000 * work.batch / rate, "peak_gib": peak, "compile_seconds": history.compile_seconds}
    how = f"compiled: {history.compiled}, captured: {history.captured}"
    title = f"{case.title}, batch {work.batch}"
    yield judged(title, rate, timed.bar, step_flops(job, work.batch), work.device, numbers, how)
    if timed.scored is not None:
        count = 8 * SCORE_BATCH if work.device != "cpu" else work.images
        images = ours.load(case, work, count)
        predict(model, images)
        began = ours.now(work.device)
        predict(model, images)
        rate = count / (ours.now(work.device) - began)
        yield judged(f"evaluation, {case.title}", rate, timed.scored, forward_flops(job), work.device, {}, how)


def judged(title: str, rate: float, bar: float, flops: float, device: str, numbers: dict, how: str) -> Line:
    """Bars are an H100's; on any other card a timing is a fact."""
    name = torch.cuda.get_device_name() if device != "cpu" else "cpu"
    share = mfu(flops, rate, name)
    numbers = {"images_per_second": rate, "share_of_peak": share} | numbers
    numbers = {key: float(value) for key, value in numbers.items() if value is not None}
    found = f"{rate:,.0f} img/s" + (f", {share:.0%} of peak" if share is not None else "")
    found += f", {numbers['peak_gib']:.1f} GiB" if "peak_gib" in numbers else ""
    if not any(known in name for known in BARS_OF):
        return Line("speed", title, FACT, f"{found}; {how}", f"no bar for {name}", timing=numbers)
    return judge("speed", title, rate >= bar, f"{found}; {how}", f"{bar:,.0f} on an H100", timing=numbers)
