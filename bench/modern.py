"""The form that a user of today would write: a strong baseline, and what is left of the gain beside it.

timm's blocks with PyTorch's fused attention, each compiled by torch.compile, peft's LoRA inside them where the case has
it; prompts are tokens that go through every block, and every token goes through the last. Images lie in host memory,
decoded and normalised before the clock starts, and no worker processes stand between. A plain loop with a fused
optimizer over two groups; on a GPU bf16 autocast and TF32.

    python -m pytest tests/test_bench.py
"""

from __future__ import annotations

import contextlib

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from bench.cases import Case, Work, job_of, random_images, recipe_of
from bench.clock import now
from bench.plain import PlainTuned
from vptcore.models.methods import build, spec_of
from vptcore.training.recipe import Recipe
from vptcore.training.stage import normalise_of


def make(case: Case, work: Work, *, compiled: bool = True) -> PlainTuned:
    """The parameters of our own model; each block compiled once for all, PyTorch's recipe for repeated blocks."""
    model = PlainTuned(build(spec_of(job_of(case, work)), seed=0), "fused").to(work.device)
    if compiled:
        for block in model.vit.blocks:
            block.compile(dynamic=False)
    return model


def load(case: Case, work: Work, count: int) -> TensorDataset:
    images_NHWC, labels_N = random_images(work, count)
    inputs_NCHW = normalise_of(job_of(case, work))(torch.from_numpy(images_NHWC))
    return TensorDataset(inputs_NCHW.contiguous(), torch.from_numpy(labels_N))


def make_optimizer(model: PlainTuned, recipe: Recipe) -> torch.optim.Optimizer:
    groups: dict[bool, list] = {False: [], True: []}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            groups[name == "head.bias" if recipe.optimizer == "sgd" else "bias" in name].append(parameter)
    settings = [
        {"params": parameters, "weight_decay": 0.0 if spared else recipe.weight_decay}
        for spared, parameters in groups.items() if parameters
    ]  # fmt: skip
    if recipe.optimizer == "sgd":
        return torch.optim.SGD(settings, lr=recipe.lr_at(0), momentum=recipe.momentum, fused=True)
    return torch.optim.AdamW(settings, lr=recipe.lr_at(0), betas=(0.9, 0.999), eps=1e-6, fused=True)


def _half(work: Work):
    return torch.autocast("cuda", torch.bfloat16) if work.device != "cpu" else contextlib.nullcontext()


def _loader(images: TensorDataset, work: Work, *, shuffle: bool) -> DataLoader:
    return DataLoader(images, work.batch, shuffle=shuffle, pin_memory=work.device != "cpu")


def train(model: PlainTuned, images: TensorDataset, case: Case, work: Work) -> float:
    """Images per second of one epoch."""
    optimizer = make_optimizer(model, recipe_of(case, work))
    model.train()
    total, started = torch.zeros((), device=work.device), now(work.device)
    for inputs_BCHW, labels_B in _loader(images, work, shuffle=True):
        with _half(work):
            logits_BC = model(inputs_BCHW.to(work.device, non_blocking=True))
        loss = F.cross_entropy(logits_BC.float(), labels_B.to(work.device, non_blocking=True))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        total += loss.detach()
    seconds = now(work.device) - started
    if not bool(torch.isfinite(total)):
        raise ValueError(f"{case.id}: today's form's loss is not finite; its timing would mean nothing")
    return len(images) / seconds


@torch.no_grad()
def evaluate(model: PlainTuned, images: TensorDataset, work: Work) -> float:
    """Images per second of one pass."""
    model.eval()
    logits: list[Tensor] = []
    started = now(work.device)
    for inputs_BCHW, _ in _loader(images, work, shuffle=False):
        with _half(work):
            logits.append(model(inputs_BCHW.to(work.device, non_blocking=True)).float())
    torch.cat(logits).cpu()
    return len(images) / (now(work.device) - started)
