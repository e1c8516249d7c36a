"""The training loop: the only one. Every method, probe and seed, and the demo backbone's pretraining, run through
`fit`.

In: a model that maps (B, ...) inputs to logits (..., B, C), an `ImageSet` on its device, a `Recipe`, a seed. Out: a
`History` with one record per epoch, and the model, trained in place. Logits may carry leading dimensions: a stack of G
heads returns (G, B, C), and each head's loss, metrics and divergence are its own.

Shapes: B batch, C classes, N images, G configurations trained side by side.

    python -m pytest tests/vptcore/training/test_fit.py
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from vptcore.data.tensors import ImageSet, draw_epoch, upload
from vptcore.jobs import stopping
from vptcore.jobs.device import no_room
from vptcore.models.heads import at_least_fp32
from vptcore.training.batches import FEW_IMAGES, SCORE_BATCH
from vptcore.training.compiling import plainly
from vptcore.training.prepared import Prepared
from vptcore.training.recipe import Recipe
from vptcore.training.resume import Begun, resume, save
from vptcore.training.step import Augment, TrainStep, cross_entropy_per_model, precision_context

OnEpoch = Callable[[dict, float], None]


@dataclass
class History:
    """What one call of `fit` saw. Losses and accuracies have the logits' leading shape: scalars for one model.

    `seconds` is training alone: the clock is read when the device has done an epoch's last step, and what came before
    the first, compilation and capture, is in `compile_seconds`. `compiled` and `captured` are `yes`, or `no` and why.
    """

    epochs: list[dict] = field(default_factory=list)
    diverged: Tensor | None = None
    seconds: float = 0.0
    images: int = 0
    compile_seconds: float = 0.0
    compiled: str = "no"
    captured: str = "no"

    @property
    def images_per_second(self) -> float:
        return self.images / self.seconds if self.seconds else math.nan


@torch.no_grad()
def predict(
    model: nn.Module, images: ImageSet, batch: int = SCORE_BATCH, *, half: bool = True, passes: int = 1
) -> Tensor:
    """Logits (..., N, C) of every image in order. The model's mode is restored afterwards.

    The last batch is filled up with its first images, whose logits are dropped: one shape, so one compiled graph. Sets
    of few images go through the plain blocks, unless `passes` says that they are scored so often. Without `half` a GPU
    too computes in fp32.
    """
    was_training = model.training
    model.eval()
    parts = []
    with precision_context(images, half=half), plainly(model, passes * len(images) < FEW_IMAGES):
        for rows in padded(images.order(), batch):
            stopping.check()
            parts.append(at_least_fp32(_scored(model, images, rows)))
    model.train(was_training)
    return torch.cat(parts, dim=-2)[..., : len(images), :]


def _scored(model: nn.Module, images: ImageSet, rows: Tensor) -> Tensor:
    try:
        return model(images.inputs(rows))
    except torch.OutOfMemoryError:
        raise ValueError(no_room(images.device, f"to score {len(rows)} images at a time", "fewer prompts")) from None


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
    prepared: Prepared | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> History:
    """Train `model` on `train`.

    `recipe` is one recipe, or one for each configuration of a stack (equal but for lr and weight decay). `watch` is
    scored after every epoch (the loss curves of the paper's Figure 5); leave it out where only the last epoch counts.
    `checkpoint` names a file from which a killed run goes on, bit for bit on a CPU: it is written after an epoch when
    `checkpoint_seconds` have passed since the last time, and at the next step when the job is asked to end
    (`vptcore.jobs.stopping`). Removing it is the caller's, who knows when the result is safe. Batches are drawn without
    replacement in an order that depends on the seed alone, and the last, smaller batch is used (KMnP/vpt: drop_last
    False). `prepared` keeps the optimizer and the captured step for the next run of this model on this set. `say` hears
    what was expected and did not come, as a compilation that failed.

    A model whose loss is no longer finite is marked in `History.diverged`; training stops when all are.
    """
    try:
        run, begun = _begin(
            model, train, recipe, seed, augment, watch, checkpoint, compile, prepared or Prepared(), say
        )
        history, saved = run.history, time.monotonic()
        for epoch in range(len(history.epochs), run.first.epochs):
            begun = begun or Begun(draw_epoch(train, run.first.batch, run.shifts, run.generator))
            record = _seen(run, epoch, begun)
            _note(history, {"epoch": epoch + 1, "lr": run.first.lr_at(epoch), **record}, begun, len(train))
            begun = None
            if on_epoch is not None:
                on_epoch(history.epochs[-1], history.images_per_second)
            if bool(history.diverged.all()):
                break
            if checkpoint is not None and time.monotonic() - saved >= checkpoint_seconds:
                run.save()
                saved = time.monotonic()
    except torch.OutOfMemoryError:
        batch = _first(recipe).batch
        smaller = f"batch {max(1, batch // 2)} or less (the learning rate follows it), fewer prompts"
        raise ValueError(no_room(train.device, f"for batch {batch}", smaller)) from None
    return history


def _first(recipe: Recipe | Sequence[Recipe]) -> Recipe:
    return recipe if isinstance(recipe, Recipe) else recipe[0]


@dataclass(frozen=True)
class _Run:
    """What one call of `fit` has from its first epoch to its last."""

    recipes: Sequence[Recipe]
    step: TrainStep
    generator: torch.Generator
    history: History
    watch: ImageSet | None
    checkpoint: Path | None

    @property
    def first(self) -> Recipe:
        return self.recipes[0]

    @property
    def shifts(self) -> list[int]:
        """The largest shift of every random cut of an image."""
        cuts = (self.step.train, self.step.augment)
        return [cut.shift for cut in cuts if cut is not None and cut.shift is not None]

    def save(self, begun: Begun | None = None) -> None:
        save(self.checkpoint, self.step.model, self.step.optimizer, self.generator, self.history, begun)


def _begin(
    model, train, recipe, seed: int, augment, watch, checkpoint: Path | None, compile: str, prepared: Prepared, say
) -> tuple[_Run, Begun | None]:  # fmt: skip
    """The run, as its checkpoint left it where there is one, and the epoch that was begun then."""
    is_one = isinstance(recipe, Recipe)
    optimizer = prepared.optimizer(model, train, recipe, resumed=checkpoint is not None and checkpoint.exists())
    torch.manual_seed(seed)
    generator, history = torch.Generator().manual_seed(seed), History()
    begun = resume(checkpoint, model, optimizer, generator, history)
    lead = () if is_one else (len(recipe),)
    make = partial(TrainStep, model, train, _first(recipe), optimizer, augment, lead=lead, compile=compile, say=say)
    step = prepared.step(recipe, optimizer, augment, compile, make)
    history.compile_seconds += step.seconds
    history.compiled, history.captured = step.compiled, step.captured
    return _Run([recipe] if is_one else recipe, step, generator, history, watch, checkpoint), begun


def _seen(run: _Run, epoch: int, begun: Begun) -> dict[str, Tensor]:
    """An epoch, or what is left of it, and what `watch` shows after it. Told to end, it saves where it is."""
    run.step.optimizer.set_lr([recipe.lr_at(epoch) for recipe in run.recipes])
    try:
        with stopping.saving():
            record = _epoch(run.step, begun)
            if run.watch is not None:
                logits = predict(run.step.model, run.watch, passes=run.first.epochs)
                record["test_loss"], record["test_accuracy"] = scores(logits, run.watch.labels_N)
    except stopping.Stopped as stopped:
        if run.checkpoint is None or not stopped.saves:
            raise
        run.save(begun)
        raise stopping.Stopped(
            f"{stopped} in epoch {epoch + 1} of {run.first.epochs}: saved; run it again and it continues there"
        ) from None
    return record


def _note(history: History, record: dict, begun: Begun, images: int) -> None:
    history.epochs.append(record)
    history.seconds += begun.seconds
    history.images += images
    finite = torch.isfinite(record["train_loss"])
    history.diverged = ~finite if history.diverged is None else history.diverged | ~finite


def _epoch(step: TrainStep, begun: Begun) -> dict[str, Tensor]:
    """One pass over the images, or what is left of it: the mean loss and accuracy of its batches, seen while the model
    was changing.

    The device is waited for once, when the sums are read; the clock is read after that.
    """
    step.model.train()
    began, count = time.perf_counter(), begun.draws.shape[1]
    draws_KN = upload(begun.draws, step.train.device)
    step.sums.zero_() if begun.sums is None else step.sums.copy_(begun.sums)
    try:
        for draws_KB in draws_KN.split(step.cuts, dim=1)[begun.batches :]:
            stopping.check()
            step(draws_KB)
            begun.batches += 1
    finally:
        begun.sums = step.sums.cpu()
        begun.seconds += time.perf_counter() - began
    loss, accuracy = begun.sums / count
    return {"train_loss": loss, "train_accuracy": accuracy}
