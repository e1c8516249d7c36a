"""Whether the device computes what a plain step on the CPU in fp32 computes.

In: the device. Out: for each method, captured, compiled and in bf16 as jobs run, the furthest of 20 losses from the
CPU's, of the logits in evaluation, and how far the gradients of all images are. Inside an epoch a batch is full, at its
end it is smaller.

    python -m gpu_check --part correct
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from unittest.mock import patch

import torch

from gpu_check import models
from gpu_check.result import SKIPPED, Line, judge
from vptcore.data.tensors import ImageSet, draw_epoch, upload
from vptcore.jobs.device import compiler
from vptcore.training import step as step_module
from vptcore.training.fit import predict
from vptcore.training.optimizers import make_optimizer
from vptcore.training.step import TrainStep

STEPS = 20
SIZES = models.Sizes()


@dataclass(frozen=True)
class Form:
    """How the step runs on the device, and how far from the CPU it may be: losses relative, logits to their largest,
    gradients by the length of their difference."""

    name: str
    half: bool
    compile: str
    losses: float
    logits: float
    gradients: float


# fp32 adds in another order on each device, and twenty steps carry it on: a CPU's losses are within 2e-5 of float64.
# bf16 keeps 8 bits of a product's inputs: under a CPU's autocast to bf16 losses are within 1e-2, logits 7e-3.
FORMS = (
    Form("fp32, captured", False, "never", 1e-4, 1e-5, 1e-4),
    Form("fp32, compiled and captured", False, "auto", 1e-4, 1e-5, 1e-4),
    Form("bf16, compiled and captured", True, "auto", 3e-2, 3e-2, 6e-2),
)
CPU = Form("plain", False, "never", 0.0, 0.0, 0.0)


@dataclass(frozen=True)
class Seen:
    losses: list[float]
    logits: torch.Tensor
    compiled: str
    captured: str
    gradients: torch.Tensor


def run(device: str, ends: float, sizes: models.Sizes = SIZES) -> Iterator[Line]:
    torch.set_num_threads(os.cpu_count() or 1)
    for method in models.METHODS:
        plain = _steps(method, CPU, "cpu", sizes)
        for form in FORMS:
            name = f"{method}, {form.name}"
            if time.monotonic() > ends:
                yield Line("correct", name, SKIPPED, "no time left")
            elif form.compile != "never" and "cannot be compiled" in compiler():
                yield Line("correct", name, SKIPPED, compiler())
            else:
                yield compared(name, form, plain, _steps(method, form, device, sizes), device)


def compared(name: str, form: Form, plain: Seen, got: Seen, device: str) -> Line:
    expected, losses_S = torch.tensor(plain.losses), torch.tensor(got.losses)
    losses = float(((losses_S - expected) / expected).abs().max())  # of NaN, NaN
    logits = float((got.logits - plain.logits).abs().max() / plain.logits.abs().max())
    gradients = float((got.gradients - plain.gradients).norm() / plain.gradients.norm())
    ran = device == "cpu" or (got.captured == "yes" and (form.compile == "never" or got.compiled.startswith("yes")))
    how = "" if ran else f"; compiled: {got.compiled}, captured: {got.captured}"
    return judge(
        "correct", name,  # NaN is none of these
        ran and losses <= form.losses and logits <= form.logits and gradients <= form.gradients,
        f"{STEPS} losses within {losses:.1e}, logits {logits:.1e}, gradients {gradients:.1e}{how}",
        f"{form.losses:g}, {form.logits:g}, {form.gradients:g} of the CPU's",
    )  # fmt: skip


def _steps(method: str, form: Form, device: str, sizes: models.Sizes) -> Seen:
    """20 losses and, of the first weights, the logits. The same draws on every device."""
    model, train = models.model(method, sizes).to(device), models.images(sizes, device)
    recipe = models.recipe(method, sizes.batch)
    with _precision(form.half):
        logits = predict(model, train, half=form.half).float().cpu()
        gradients = _gradients(model, train)
        optimizer = make_optimizer(model, recipe)
        step = TrainStep(model, train, recipe, optimizer, compile=form.compile)
        optimizer.set_lr([recipe.lr_at(0)])
        generator, losses = torch.Generator().manual_seed(3), []
        model.train()
        while len(losses) < STEPS:
            draws = upload(draw_epoch(train, recipe.batch, [], generator), train.device)
            for draws_KB in draws.split(recipe.batch, dim=1):
                step.sums.zero_()
                step(draws_KB)
                losses.append(float(step.sums[0]) / draws_KB.shape[1])
    return Seen(losses[:STEPS], logits, step.compiled, step.captured, gradients)


def _gradients(model: torch.nn.Module, train: ImageSet) -> torch.Tensor:
    """Of the mean loss of all images, every trained parameter's in one vector."""
    with step_module.precision_context(train):
        logits = model(train.inputs(train.order()))
    step_module.cross_entropy_per_model(logits, train.labels_N).backward()
    parts = [p.grad.flatten().float().cpu() for p in model.parameters() if p.grad is not None]
    model.zero_grad(set_to_none=True)
    return torch.cat(parts)


@contextmanager
def _precision(half: bool) -> Iterator[None]:
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
