"""Images a second of the project's own steps on ViT-B/16 with random weights, against the bars set for an H100.

In: the device. Out: a line per case, with milliseconds a step, share of the peak, memory, and what compiling took. The
clock is `fit`'s own: it is read when the device has done an epoch, and compilation is not in it.

    python -m gpu_check --part speed
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import nn

from bench import ours
from bench.cases import CASES, VIT_B, Case, Work, job_of, recipe_of, with_random_weights
from gpu_check.result import FACT, SKIPPED, Line, judge
from vptcore.data.tensors import ImageSet
from vptcore.training import compiling
from vptcore.training.batches import SCORE_BATCH
from vptcore.training.fit import fit, predict
from vptcore.training.flops import forward_flops, mfu, step_flops
from vptcore.training.recipe import Recipe

BARS_OF = ("H100", "H200")
EPOCHS, STEPS = 4, 16
EPOCHS_OF_A_GRID, IMAGES_OF_A_GRID = 100, 800
CAPTURES, CAPTURE_SECONDS = 2 * 4, 0.5  # two sizes of batch, four weight decays (vptstudy.plan.assumed)


@dataclass(frozen=True)
class Timed:
    """A case of the benchmark at a batch. `bar` in images a second; `scored`: the bar of evaluation, with its model;
    `grid`: the most minutes of a grid of 40."""

    case: str
    batch: int
    bar: float
    scored: float | None = None
    grid: float | None = None


TIMED = (Timed("vpt_50", 64, 4500, 9000, grid=11), Timed("full", 128, 3300))


def run(device: str, ends: float, work: Work | None = None) -> Iterator[Line]:
    work = work or Work(VIT_B, device, steps=STEPS)
    with tempfile.TemporaryDirectory() as folder:
        # Empty, so that the first compilation is a cold one.
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = os.path.join(folder, "inductor")
        os.environ["TRITON_CACHE_DIR"] = os.path.join(folder, "triton")
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
    ms = 1000 * work.batch / rate
    numbers = {"ms_per_step": ms, "peak_gib": peak, "compile_seconds": history.compile_seconds}
    how = f"compiled: {history.compiled}, captured: {history.captured}"
    title = f"{case.title}, batch {work.batch}"
    yield judged(title, rate, timed.bar, step_flops(job, work.batch), work.device, numbers, how)
    if work.device != "cpu":
        yield _busy(title, model, images, recipe)
        yield _again(title, case, work, images, recipe, history.compile_seconds)
    if timed.grid is not None:
        yield _grid(timed, ms, history.compile_seconds, work.device)
    if timed.scored is not None:
        count = 8 * SCORE_BATCH if work.device != "cpu" else work.images
        images = ours.load(case, work, count)
        predict(model, images)
        began = ours.now(work.device)
        predict(model, images)
        rate = count / (ours.now(work.device) - began)
        yield judged(f"evaluation, {case.title}", rate, timed.scored, forward_flops(job), work.device, {}, how)


def _busy(title: str, model: nn.Module, images: ImageSet, recipe: Recipe) -> Line:
    """The device's own seconds of kernels in an epoch over the epoch's, as torch's profiler counts them."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profiler:
        history = fit(model, images, recipe, seed=0, compile=ours.COMPILE)
    spans = [(e.time_range.start, e.time_range.end) for e in profiler.events() if e.device_type.name == "CUDA"]
    trained = history.seconds * 1e6
    last = max((end for _, end in spans), default=0.0)
    share = covered(spans, last - trained) / trained
    return Line("speed", f"{title}, busy", FACT, f"{share:.1%} of the time of its epochs", "97 % is aimed at")


def covered(spans: list[tuple[float, float]], since: float) -> float:
    """The length of what the spans cover after `since`, overlaps counted once."""
    total, reached = 0.0, since
    for start, end in sorted(spans):
        if end > reached:
            total += end - max(start, reached)
            reached = end
    return total


def _again(title: str, case: Case, work: Work, images: ImageSet, recipe: Recipe, cold: float) -> Line:
    """What a second job of the kind waits before its first step: everything compiled is in the cache."""
    torch._dynamo.reset()
    compiling._compiled.cache_clear()
    warm = fit(ours.make(case, work), images, recipe, seed=0, compile=ours.COMPILE).compile_seconds
    return Line("speed", f"{title}, compile", FACT, f"{cold:.1f} s with an empty cache, {warm:.1f} s in the next job")


def _grid(timed: Timed, ms: float, ready: float, device: str) -> Line:
    """40 configurations of 100 epochs of 800 images at this rate, with one compilation and four captures more."""
    steps = 40 * EPOCHS_OF_A_GRID * IMAGES_OF_A_GRID / timed.batch
    minutes = (ready + CAPTURES * CAPTURE_SECONDS + steps * ms / 1000) / 60
    found, name = f"{minutes:.1f} minutes", f"a grid of 40, {CASES[timed.case].title}, extrapolated"
    card = torch.cuda.get_device_name() if device != "cpu" else "cpu"
    if not any(known in card for known in BARS_OF):
        return Line("speed", name, FACT, found, f"no bar for {card}")
    return judge("speed", name, minutes <= timed.grid, found, f"{timed.grid:g} on an H100")


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
