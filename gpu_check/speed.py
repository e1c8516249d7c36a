"""Images a second of the project's own steps on ViT-B/16 with random weights, against the bars set for an H100.

In: the device. Out: a line per case, with milliseconds a step, share of the peak, memory, and what compiling took. The
clock is `fit`'s own: it is read when the device has done an epoch, and compilation is not in it.

    python -m gpu_check --part speed
"""

from __future__ import annotations

import gc
import os
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from functools import cache, partial

import torch
from torch import nn

from bench import ours
from bench.cases import CASES, VIT_B, Case, Work, job_of, recipe_of, with_random_weights
from gpu_check.checks import lines
from gpu_check.plainly import Calls
from gpu_check.result import FACT, SKIPPED, Line, judge
from vptcore.data.tensors import ImageSet
from vptcore.jobs.device import held_by_others
from vptcore.models.backbones import BACKBONES
from vptcore.training import cards, compiling
from vptcore.training.batches import SCORE_BATCH
from vptcore.training.fit import fit, predict
from vptcore.training.flops import forward_flops, mfu, step_flops
from vptcore.training.prepared import Prepared
from vptcore.training.recipe import Recipe
from vptstudy.plan.images import Counts
from vptstudy.plan.memory import CONTEXT_GPU, need_of

BARS_OF = ("H100", "H200", "GH200")  # vptcore.training.cards: whole ones, not on PCIe
EPOCHS, STEPS = 4, 16
EPOCHS_OF_A_GRID, IMAGES_OF_A_GRID = 100, 800
CAPTURES, CAPTURE_SECONDS = 2 * 4, 0.5  # two sizes of batch, four weight decays (vptstudy.plan.assumed)
# A gap of so few microseconds is what a card takes between two kernels of a graph, and no wait for the host.
BUSY, SHORT_GAP = 0.97, 10.0
SWIN = replace(BACKBONES["swin_b_sup21k"], checkpoint="")


@dataclass(frozen=True)
class Timed:
    """A case of the benchmark at a batch. `bar` in images a second; `scored`: the bar of evaluation, with its model;
    `grid`: the most minutes of a grid of 40. `swin`: on a Swin-B, where the others are on the ViT of the work."""

    case: str
    batch: int
    bar: float = 0.0
    scored: float | None = None
    grid: float | None = None
    swin: bool = False


# Those with a bar first, should time run out.
TIMED = (
    Timed("vpt_50", 64, 4500, 9000, grid=11), Timed("full", 128, 3300), Timed("vpt_10", 64), Timed("vpt_200", 64),
    Timed("mixed_100", 64), Timed("lora", 64), Timed("vpt_10", 64, swin=True),
)  # fmt: skip


def run(device: str, ends: float, work: Work | None = None) -> Iterator[Line]:
    work = work or Work(VIT_B, device, steps=STEPS)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        # Empty, so that the first compilation is a cold one.
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = os.path.join(folder, "inductor")
        os.environ["TRITON_CACHE_DIR"] = os.path.join(folder, "triton")
        body = cache(lambda swin: with_random_weights(SWIN if swin else work.backbone, folder))

        def check(timed: Timed, name: str) -> Iterator[Line]:
            batch = work.batch if device == "cpu" else timed.batch
            return _case(timed, CASES[timed.case], Work(body(timed.swin), device, batch=batch, steps=work.steps))

        yield from lines("speed", {title_of(timed): partial(check, timed) for timed in TIMED}, ends)


def title_of(timed: Timed) -> str:
    return CASES[timed.case].title + (", Swin-B" if timed.swin else "")


def _case(timed: Timed, case: Case, work: Work) -> Iterator[Line]:
    model, images = ours.make(case, work), ours.load(case, work, work.images)
    recipe, on_card = replace(recipe_of(case, work), epochs=EPOCHS), work.device != "cpu"
    slower = _slower(case, work, images, recipe) if on_card else ""
    if on_card:
        gc.collect()
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    history = fit(model, images, recipe, seed=0, compile=ours.COMPILE)
    if bool(history.diverged):
        raise ValueError(f"{case.title}: the loss is not finite, so its timing would mean nothing")
    peak = torch.cuda.max_memory_allocated() / 2**30 if on_card else None
    rate, job = history.images_per_second, job_of(case, work)
    ms = 1000 * work.batch / rate
    numbers = {"ms_per_step": ms, "peak_gib": peak, "compile_seconds": history.compile_seconds}
    how = f"compiled: {history.compiled}, captured: {history.captured}{slower}"
    title = f"{title_of(timed)}, batch {work.batch}"
    yield judged(title, rate, timed.bar, step_flops(job, work.batch), work.device, numbers, how)
    if timed.grid is not None:
        yield _grid(timed, ms, history.compile_seconds, work.device)
    if timed.scored is not None:
        yield _scored(timed, case, work, model, how)
    if on_card:
        yield _planned(title, job, recipe, images, peak)
        yield _busy(title, model, images, recipe)
        yield _again(title, case, work, images, recipe, history.compile_seconds)


def _slower(case: Case, work: Work, images: ImageSet, recipe: Recipe) -> str:
    """What the same step reaches launched kernel by kernel, and captured without being compiled."""
    model, device = ours.make(case, work), torch.device(work.device)
    eager = fit(model, images, recipe, seed=0, prepared=Prepared(Calls(device))).images_per_second
    captured = fit(model, images, recipe, seed=0).images_per_second
    return f"; plain {eager:,.0f}, captured alone {captured:,.0f} img/s"


def _scored(timed: Timed, case: Case, work: Work, model: nn.Module, how: str) -> Line:
    count = 8 * SCORE_BATCH if work.device != "cpu" else work.images
    images = ours.load(case, work, count)
    predict(model, images)
    began = ours.now(work.device)
    predict(model, images)
    rate = count / (ours.now(work.device) - began)
    flops = forward_flops(job_of(case, work))
    return judged(f"evaluation, {case.title}", rate, timed.scored, flops, work.device, {}, how)


def _busy(title: str, model: nn.Module, images: ImageSet, recipe: Recipe) -> Line:
    """The share of its epochs in which the device does not wait for the host, as torch's profiler sees it."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profiler:
        history = fit(model, images, recipe, seed=0, compile=ours.COMPILE)
    spans = [(e.time_range.start, e.time_range.end) for e in profiler.events() if e.device_type.name == "CUDA"]
    if not spans:
        return Line("speed", f"{title}, busy", SKIPPED, "torch's profiler is shown no kernels here")
    trained = history.seconds * 1e6
    since, steps = max(end for _, end in spans) - trained, recipe.epochs * len(images) / recipe.batch
    share, kernels = (covered(spans, since, gap) / trained for gap in (SHORT_GAP, 0.0))
    count = sum(start >= since for start, _ in spans) / steps
    found = f"{share:.1%} of the time of its epochs, {kernels:.1%} in kernels, {count:.0f} a step"
    return judge_on_a_h100(card_of("cuda"), f"{title}, busy", share >= BUSY, found, f"{BUSY:.0%}")


def covered(spans: list[tuple[float, float]], since: float, gap: float = 0.0) -> float:
    """The length of what the spans cover after `since`, overlaps counted once, and gaps of at most `gap` as covered."""
    total, reached = 0.0, since
    for start, end in sorted(spans):
        if end > reached:
            total += end - (reached if start - reached <= gap else start)
            reached = end
    return total


def _again(title: str, case: Case, work: Work, images: ImageSet, recipe: Recipe, cold: float) -> Line:
    """What a second job of the kind waits before its first step: everything compiled is in the cache."""
    torch._dynamo.reset()
    compiling._compiled.cache_clear()
    warm = fit(ours.make(case, work), images, recipe, seed=0, compile=ours.COMPILE).compile_seconds
    return Line("speed", f"{title}, compile", FACT, f"{cold:.1f} s with an empty cache, {warm:.1f} s in the next job")


def _planned(title: str, job: dict, recipe: Recipe, images: ImageSet, peak: float) -> Line:
    """What `vptcore plan` says that a job of this step and its scoring need, beside what the step took."""
    counts = Counts(len(images), 0, SCORE_BATCH, images.images[0].numel())
    slice_ = job | {"recipe": asdict(recipe), "device": "cuda", "seeds": [0], "settings": {}}
    planned = (need_of("final", slice_, counts).gpu - CONTEXT_GPU) / 2**30
    found = f"{peak:.1f} GiB at most in training, {planned:.1f} planned with scoring"
    return judge("speed", f"{title}, memory", peak <= planned, found, "no more than planned")


def _grid(timed: Timed, ms: float, ready: float, device: str) -> Line:
    """40 configurations of 100 epochs of 800 images at this rate, with one compilation and four captures more."""
    steps = 40 * EPOCHS_OF_A_GRID * IMAGES_OF_A_GRID / timed.batch
    minutes = (ready + CAPTURES * CAPTURE_SECONDS + steps * ms / 1000) / 60
    name = f"a grid of 40, {CASES[timed.case].title}, extrapolated"
    return judge_on_a_h100(card_of(device), name, minutes <= timed.grid, f"{minutes:.1f} minutes", f"{timed.grid:g}")


def card_of(device: str) -> str:
    return torch.cuda.get_device_name() if device != "cpu" else "cpu"


def judge_on_a_h100(card: str, name: str, holds: bool, found: str, bar: str, **more) -> Line:
    """Bars are an H100's; on any other card, and on one that others use too, a timing is a fact."""
    if why := no_bar(card):
        return Line("speed", name, FACT, found, why, **more)
    return judge("speed", name, holds, found, f"{bar} on an H100", **more)


def no_bar(card: str) -> str:
    """Why its timings are held to no bar; nothing where they are."""
    known = cards.card_of(card)
    if known is None or known.name not in BARS_OF:
        return f"no bar for {card}"
    others = held_by_others(torch.device("cuda"))
    return f"no bar: other processes hold {others / 2**30:.1f} GiB" if others else ""


def judged(title: str, rate: float, bar: float, flops: float, device: str, numbers: dict, how: str) -> Line:
    """`bar` in images a second; without one the timing is a fact."""
    card = card_of(device)
    share = mfu(flops, rate, card)
    numbers = {"images_per_second": rate, "share_of_peak": share} | numbers
    numbers = {key: float(value) for key, value in numbers.items() if value is not None}
    found = f"{rate:,.0f} img/s" + (f", {share:.0%} of peak" if share is not None else "")
    found += f", {numbers['peak_gib']:.1f} GiB" if "peak_gib" in numbers else ""
    if not bar:
        return Line("speed", title, FACT, f"{found}; {how}", timing=numbers)
    return judge_on_a_h100(card, title, rate >= bar, f"{found}; {how}", f"{bar:,.0f}", timing=numbers)
