"""The training loop: the only one. Every method, probe and seed, and the demo backbone's pretraining, run through
`fit`.

In: a model that maps (B, ...) inputs to logits (..., B, C), an `ImageSet` on its device, a `Recipe`, a seed. Out: a
`History` with one record per epoch, and the model, trained in place. Logits may carry leading dimensions: a stack of G
heads returns (G, B, C), and each head's loss, metrics and divergence are its own.

Shapes: B batch, C classes, N images, G configurations trained side by side.

    python -m pytest tests/vptcore/training/test_fit.py
"""

from __future__ import annotations

import contextlib
import math
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vptcore.data.tensors import ImageSet
from vptcore.jobs import stopping
from vptcore.training.optimizers import make_optimizer
from vptcore.training.recipe import Recipe
from vptcore.training.step import forward_of

Augment = Callable[[Tensor, torch.Generator], Tensor]
OnEpoch = Callable[[dict, float], None]


@dataclass
class History:
    """What one call of `fit` saw. Losses and accuracies have the logits' leading shape: scalars for one model."""

    epochs: list[dict] = field(default_factory=list)
    diverged: Tensor | None = None
    seconds: float = 0.0
    images: int = 0

    @property
    def images_per_second(self) -> float:
        return self.images / self.seconds if self.seconds else math.nan


def cross_entropy_per_model(logits: Tensor, labels_B: Tensor, label_smoothing: float = 0.0) -> Tensor:
    """Mean cross-entropy over the batch, one value for each leading index of `logits` (..., B, C)."""
    lead, classes = logits.shape[:-1], logits.shape[-1]
    losses = F.cross_entropy(
        at_least_fp32(logits).reshape(-1, classes),
        labels_B.expand(lead).reshape(-1),
        reduction="none",
        label_smoothing=label_smoothing,
    )
    return losses.view(lead).mean(-1)


def at_least_fp32(x: Tensor) -> Tensor:
    """bf16 of an autocast region in full precision, where losses are taken; float64 stays as it is."""
    return x if x.dtype == torch.float64 else x.float()


def precision_context(device: torch.device):
    """bf16 autocast over fp32 master weights on a GPU, plain fp32 on a CPU."""
    if device.type == "cuda":
        return torch.autocast("cuda", dtype=torch.bfloat16)
    return contextlib.nullcontext()


@torch.no_grad()
def predict(model: nn.Module, images: ImageSet, batch: int = 512, *, compile: str = "never") -> Tensor:
    """Logits (..., N, C) of every image in order. The model's mode is restored afterwards.

    The last batch is filled up with its first images, whose logits are dropped: one shape, so one compiled graph.
    """
    was_training, forward = model.training, forward_of(model, images.device, compile)
    model.eval()
    parts = []
    with precision_context(images.device):
        for rows in padded(images.order(), batch):
            stopping.check()
            parts.append(at_least_fp32(forward(images.inputs(rows))))
    model.train(was_training)
    return torch.cat(parts, dim=-2)[..., : len(images), :]


def padded(order: Tensor, batch: int) -> list[Tensor]:
    """`order` in batches; the last is filled up from the start where there are several."""
    return [filled(rows, order, min(batch, len(order))) for rows in order.split(batch)]


def filled(rows: Tensor, order: Tensor, batch: int) -> Tensor:
    """`rows`, made up to `batch` from the start of `order`."""
    return rows if len(rows) == batch else torch.cat([rows, order[: batch - len(rows)]])


def scores(logits: Tensor, labels_N: Tensor) -> tuple[Tensor, Tensor]:
    """Mean loss and accuracy in [0, 1] over N, each of the logits' leading shape."""
    accuracy = (logits.argmax(-1) == labels_N).double().mean(-1)
    return cross_entropy_per_model(logits.double(), labels_N), accuracy


def fit(
    model: nn.Module,
    train: ImageSet,
    recipe: Recipe | Sequence[Recipe],
    *,
    seed: int,
    watch: ImageSet | None = None,
    augment: Augment | None = None,
    checkpoint: Path | None = None,
    checkpoint_seconds: float = 0.0,
    on_epoch: OnEpoch | None = None,
    compile: str = "never",
) -> History:
    """Train `model` on `train`.

    `recipe` is one recipe, or one for each configuration of a stack (equal but for lr and weight decay). `watch` is
    scored after every epoch (the loss curves of the paper's Figure 5); leave it out where only the last epoch counts.
    `checkpoint` names a file from which a killed run goes on, bit for bit on a CPU: it is written after an epoch when
    `checkpoint_seconds` have passed since the last time, and at the next step when the job is asked to end
    (`vptcore.jobs.stopping`). Removing it is the caller's, who knows when the result is safe. Batches are drawn without
    replacement in an order that depends on the seed alone, and the last, smaller batch is used (KMnP/vpt: drop_last
    False).

    A model whose loss is no longer finite is marked in `History.diverged`; training stops when all are.
    """
    forward = forward_of(model, train.device, compile)
    recipes = [recipe] if isinstance(recipe, Recipe) else list(recipe)
    first = recipes[0]
    optimizer = make_optimizer(model, recipe)
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    history = History()
    begun = _resume(checkpoint, model, optimizer, generator, history)
    saved = time.monotonic()
    for epoch in range(len(history.epochs), first.epochs):
        optimizer.set_lr([r.lr_at(epoch) for r in recipes])
        begun = begun or _Begun(torch.randperm(len(train), generator=generator))
        try:
            with stopping.saving():
                record = _epoch(model, forward, train, first, optimizer, generator, augment, begun)
                if watch is not None:
                    record["test_loss"], record["test_accuracy"] = scores(
                        predict(model, watch, compile=compile), watch.labels_N
                    )
        except torch.OutOfMemoryError:
            raise ValueError(_no_room(train.device, first.batch)) from None
        except stopping.Stopped as stopped:
            if checkpoint is None or not stopped.saves:
                raise
            _save(checkpoint, model, optimizer, generator, history, begun)
            raise stopping.Stopped(
                f"{stopped} in epoch {epoch + 1} of {first.epochs}: saved, goes on from there when called again"
            ) from None
        record = {"epoch": epoch + 1, "lr": first.lr_at(epoch), **record}
        history.epochs.append(record)
        history.seconds += begun.seconds
        history.images += len(train)
        begun = None
        finite = torch.isfinite(record["train_loss"])
        history.diverged = ~finite if history.diverged is None else history.diverged | ~finite
        if on_epoch is not None:
            on_epoch(record, history.images_per_second)
        if bool(history.diverged.all()):
            break
        if checkpoint is not None and time.monotonic() - saved >= checkpoint_seconds:
            _save(checkpoint, model, optimizer, generator, history)
            saved = time.monotonic()
    return history


def _no_room(device: torch.device, batch: int) -> str:
    free, total = torch.cuda.mem_get_info(device) if device.type == "cuda" else (0, 0)
    return (
        f"no room on {device} ({free / 2**30:.1f} of {total / 2**30:.1f} GiB free) for batch {batch}: choose "
        f"batch {max(1, batch // 2)} "
        "or less (the learning rate follows it), fewer prompts, or a device with more memory"
    )


@dataclass
class _Begun:
    """How far an epoch has come: its order of the images, the batches done, and their sums."""

    order: Tensor
    batches: int = 0
    loss_sum: Tensor | float = 0.0
    correct: Tensor | float = 0.0
    seconds: float = 0.0


def _epoch(model, forward, train, recipe, optimizer, generator, augment, begun: _Begun) -> dict[str, Tensor]:
    """One pass over `train`, or what is left of it: the mean loss and accuracy of its batches, seen while the model was
    changing.

    A compiled model sees one shape: its last batch is filled up with images whose logits are dropped before the loss.
    """
    model.train()
    began, order = time.perf_counter(), begun.order.to(train.device)
    shape = min(recipe.batch, len(order)) if forward is not model else 0
    try:
        for rows in order.split(recipe.batch)[begun.batches :]:
            stopping.check()
            taken = filled(rows, order, max(shape, len(rows)))
            inputs, labels_B = train.inputs(taken, generator), train.labels_N[rows]
            if augment is not None:
                inputs = augment(inputs, generator)
            with precision_context(train.device):
                logits = forward(inputs)[..., : len(rows), :]
            losses = cross_entropy_per_model(logits, labels_B, recipe.label_smoothing)
            optimizer.zero_grad(set_to_none=True)
            losses.sum().backward()
            optimizer.step()
            begun.loss_sum = begun.loss_sum + losses.detach().double() * len(rows)
            begun.correct = begun.correct + (logits.detach().argmax(-1) == labels_B).sum(-1).double()
            begun.batches += 1
    finally:
        begun.seconds += time.perf_counter() - began
    return {"train_loss": begun.loss_sum / len(train), "train_accuracy": begun.correct / len(train)}


def _save(path: Path, model, optimizer, generator, history: History, begun: _Begun | None = None) -> None:
    state = {
        "model": dict(model.state_dict()),
        "optimizer": optimizer.state_dict(),
        "shuffle_rng": generator.get_state(),
        "torch_rng": torch.get_rng_state(),
        "cuda_rng": torch.cuda.get_rng_state() if torch.cuda.is_available() else None,
        "epochs": history.epochs,
        "diverged": history.diverged,
        "seconds": history.seconds,
        "images": history.images,
        "begun": None if begun is None else vars(begun),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    torch.save(state, beside)
    os.replace(beside, path)


def _resume(path: Path | None, model, optimizer, generator, history: History) -> _Begun | None:
    """Load what `_save` wrote, if it is there. Returns the epoch that was begun, if one was."""
    if path is None or not path.exists():
        return None
    device = next(model.parameters()).device
    state = torch.load(path, map_location=device, weights_only=True)
    model.load_state_dict(state["model"])
    optimizer.load_state_dict(state["optimizer"])
    generator.set_state(state["shuffle_rng"].cpu())
    torch.set_rng_state(state["torch_rng"].cpu())
    if state["cuda_rng"] is not None and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["cuda_rng"].cpu())
    history.epochs, history.diverged = state["epochs"], state["diverged"]
    history.seconds, history.images = state["seconds"], state["images"]
    return _Begun(**state["begun"]) if state.get("begun") else None
