"""Whether the device computes what a plain step on the CPU in float64 computes.

In: the device. Out: for each case, as jobs run it, how far 20 losses, the logits in evaluation and the gradients of a
batch are from the CPU's, and losses and logits from those of the device's own plain step, launched kernel by kernel.
Images are drawn anew at every call. Whatever memory of the GPU holds nothing is full of NaN before each step and each
pass, so that nothing can live on what an earlier one left. Inside an epoch a batch is full, at its end it is smaller.

    python -m gpu_check --part correct
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import cache, partial
from unittest.mock import patch

import torch

from gpu_check import drawn, models
from gpu_check.checks import Check, lines
from gpu_check.memory import spoil
from gpu_check.plainly import Calls
from gpu_check.result import FACT, SKIPPED, Line, judge
from vptcore.data.tensors import ImageSet, draw_epoch, upload
from vptcore.jobs.toolchain import CANNOT, compiler
from vptcore.training import step as step_module
from vptcore.training.batches import FEW_IMAGES
from vptcore.training.compiling import compile_blocks
from vptcore.training.fit import predict
from vptcore.training.fresh import placed
from vptcore.training.optimizers import make_optimizer
from vptcore.training.step import CudaGraphs, TrainStep

STEPS = 20
SIZES = models.Sizes(batch=4, images=10)  # twenty steps in float64 take a CPU most of this part's time


@dataclass(frozen=True)
class Form:
    """How the step runs on the device, and how far it may be: losses relative, logits to their largest, gradients by
    the length of their difference, all of the CPU's; `eager`, losses and logits of the device's own plain
    step, over whose twenty steps a rounding of its own grows as it does against the CPU's."""

    name: str
    half: bool
    compile: str
    losses: float
    logits: float
    gradients: float
    eager: tuple[float, float]
    graphs: Callable[[torch.device], CudaGraphs] | None = None


# fp32 adds in another order on each device, and twenty steps carry it on. bf16 keeps 8 bits of a product's inputs.
FORMS = (
    Form("fp32, captured", False, "never", 1e-4, 1e-5, 1e-5, (1e-5, 1e-5)),
    Form("bf16, compiled and captured", True, "auto", 3e-2, 2e-2, 6e-2, (3e-2, 5e-3)),
    Form("fp32, compiled and captured", False, "auto", 1e-4, 1e-5, 1e-5, (1e-4, 1e-5)),
)
EAGER = {half: Form("plain", half, "never", 0.0, 0.0, 0.0, (0.0, 0.0), Calls) for half in (False, True)}


@dataclass(frozen=True)
class Seen:
    losses: list[float]
    logits: torch.Tensor
    compiled: str
    captured: str
    gradients: torch.Tensor


def run(device: str, ends: float, sizes: models.Sizes = SIZES, seed: int | None = None) -> Iterator[Line]:
    torch.set_num_threads(os.cpu_count() or 1)
    seed = secrets.randbelow(2**31) if seed is None else seed
    yield Line("correct", "images", FACT, f"drawn under {seed}")
    yield from lines("correct", drawn.checks(device) | _checks(device, sizes, seed), ends)


def _checks(device: str, sizes: models.Sizes, seed: int) -> dict[str, Check]:
    """Every case in a form before the next form: what compiles takes longest, and time may not be left for it. What
    the forms of a case are compared with is computed once."""
    exact = cache(lambda case: _steps(case, EAGER[False], "cpu", sizes, seed, exact=True))
    eager = cache(lambda case, half: _steps(case, EAGER[half], device, sizes, seed))

    def check(case: models.Case, form: Form, name: str) -> Line:
        if form.compile != "never" and CANNOT in compiler():
            return Line("correct", name, SKIPPED, compiler())
        got = _steps(case, form, device, sizes, seed)
        return compared(name, form, exact(case), eager(case, form.half), got, device)

    return {f"{case.name}, {form.name}": partial(check, case, form) for form in FORMS for case in models.CASES}


def compared(name: str, form: Form, plain: Seen, eager: Seen, got: Seen, device: str) -> Line:
    losses, logits = _losses_off(got, plain), _logits_off(got, plain)
    gradients = float((got.gradients - plain.gradients).norm() / plain.gradients.norm())
    from_eager = _losses_off(got, eager), _logits_off(got, eager)
    ran = device == "cpu" or (got.captured == "yes" and (form.compile == "never" or got.compiled.startswith("yes")))
    how = "" if ran else f"; compiled: {got.compiled}, captured: {got.captured}"
    return judge(
        "correct", name,  # NaN is none of these
        ran and losses <= form.losses and logits <= form.logits and gradients <= form.gradients
        and all(off <= bar for off, bar in zip(from_eager, form.eager, strict=True)),
        f"{STEPS} losses within {losses:.1e}, logits {logits:.1e}, gradients {gradients:.1e}, "
        f"of the plain step's {from_eager[0]:.1e}, {from_eager[1]:.1e}{how}",
        f"{form.losses:g}, {form.logits:g}, {form.gradients:g} of the CPU's, {form.eager[0]:g}, {form.eager[1]:g}",
    )  # fmt: skip


def _losses_off(got: Seen, other: Seen) -> float:
    expected, losses_S = torch.tensor(other.losses), torch.tensor(got.losses)
    return float(((losses_S - expected) / expected).abs().max())  # of NaN, NaN


def _logits_off(got: Seen, other: Seen) -> float:
    return float((got.logits - other.logits).abs().max() / other.logits.abs().max())


def _steps(
    case: models.Case, form: Form, device: str, sizes: models.Sizes, seed: int = 0, *, exact: bool = False
) -> Seen:  # fmt: skip
    """20 losses and, of the first weights, logits and gradients. Draws are the same everywhere. `exact`: in float64."""
    model, train = models.model(case, sizes).to(device), models.images(sizes, device, seed=seed)
    if form.half:
        model = placed(model, train.device)  # what is frozen in bf16, as jobs have it
    if exact:
        model, train = model.double(), _in_float64(train)
    recipe = models.recipe(case, sizes.batch)
    with precision(form.half):
        if form.compile != "never" and device != "cpu":
            compile_blocks(model)
        spoil(device)
        logits = predict(model, train, sizes.batch, half=form.half, passes=FEW_IMAGES).double().cpu()
        spoil(device)
        gradients = _gradients(model, train, sizes.batch)
        optimizer = make_optimizer(model, recipe)
        graphs = form.graphs(train.device) if form.graphs is not None and device != "cpu" else None
        step = TrainStep(model, train, recipe, optimizer, compile=form.compile, graphs=graphs)
        optimizer.set_lr([recipe.lr_at(0)])
        losses = _losses(step, train, recipe.batch)
    return Seen(losses, logits, step.compiled, step.captured, gradients)


def _losses(step: TrainStep, train: ImageSet, batch: int) -> list[float]:
    generator, losses = torch.Generator().manual_seed(3), []
    step.model.train()
    while len(losses) < STEPS:
        draws = upload(draw_epoch(train, batch, [], generator), train.device)
        for draws_KB in draws.split(batch, dim=1):
            spoil(train.device.type)
            step.sums.zero_()
            step(draws_KB)
            losses.append(float(step.sums[0]) / draws_KB.shape[1])
    return losses[:STEPS]


def _gradients(model: torch.nn.Module, train: ImageSet, batch: int) -> torch.Tensor:
    """Of the mean loss of the first images, every trained parameter's in one vector."""
    rows_B = train.order()[:batch]
    model.train()
    with step_module.precision_context(train):
        logits = model(train.inputs(rows_B))
    step_module.cross_entropy_per_model(logits, train.labels_N[rows_B]).backward()
    parts = [p.grad.flatten().double().cpu() for p in model.parameters() if p.grad is not None]
    model.zero_grad(set_to_none=True)
    return torch.cat(parts)


def _in_float64(train: ImageSet) -> ImageSet:
    return ImageSet(train.normalise(train.images, torch.float64), train.labels_N)


@contextmanager
def precision(half: bool) -> Iterator[None]:
    """Inside, and without `half`, a GPU's step is fp32 throughout: no autocast, no TF32."""
    switches = (torch.backends.cuda.matmul, torch.backends.cudnn)
    before = [switch.allow_tf32 for switch in switches]
    for switch in switches:
        switch.allow_tf32 = switch.allow_tf32 and half
    kept = nullcontext() if half else patch.object(step_module, "precision_context", lambda *_, **__: nullcontext())
    try:
        with kept:
            yield
    finally:
        for switch, was in zip(switches, before, strict=True):
            switch.allow_tf32 = was
