"""A recipe: everything that decides how one model is trained, and the grid of recipes that a search tries.

In: the `methods:` part of a study's config and the protocol's switches. Out: frozen `Recipe` values, their
learning-rate schedule, and a stable hash that names them in file metadata.

    python -m pytest tests/vptcore/training/test_recipe.py
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace

from vptcore.records import digest
from vptcore.training.protocol import AUTHORS_BATCH, Protocol

OPTIMIZERS = ("sgd", "adamw")


@dataclass(frozen=True)
class Recipe:
    """How one configuration is trained.

    `lr` is the grid's value; the optimizer gets `scaled_lr`, which is lr x batch / 256 under `scale_lr`
    (KMnP/vpt tune_vtab.py:100): by the batch asked for, also where a set has fewer images. `warmup` counts epochs;
    under `zero_first_epoch` the first of them runs at learning rate 0, as the authors' scheduler does
    (src/solver/lr_scheduler.py:57-64). `adamw`: the authors' own class, or torch's (`optimizers`). `layer_decay`: a
    block learns at that fraction of the rate of the block after it (BEiT, Bao et al., ICLR 2022); 1 is the same
    rate everywhere.
    """

    optimizer: str
    lr: float
    weight_decay: float
    batch: int
    epochs: int
    warmup: int
    momentum: float = 0.9
    label_smoothing: float = 0.0
    scale_lr: bool = True
    zero_first_epoch: bool = True
    decay_norms: bool = True
    adamw: str = "authors"
    augment: str = "none"
    layer_decay: float = 1.0

    def __post_init__(self) -> None:
        if self.optimizer not in OPTIMIZERS:
            raise ValueError(f"optimizer {self.optimizer!r}: choose one of {', '.join(OPTIMIZERS)}")
        if not 0 <= self.warmup <= self.epochs:
            raise ValueError(f"warmup {self.warmup} epochs do not fit into {self.epochs} epochs")

    @property
    def scaled_lr(self) -> float:
        return self.lr * self.batch / 256 if self.scale_lr else self.lr

    def lr_factor(self, epoch: int) -> float:
        """What the learning rate is multiplied by in `epoch` (0-based): linear warm-up, then half a cosine."""
        if epoch < self.warmup:
            return (epoch if self.zero_first_epoch else epoch + 1) / self.warmup
        done = (epoch - self.warmup) / max(1, self.epochs - self.warmup)
        return 0.5 * (1 + math.cos(math.pi * done))

    def lr_at(self, epoch: int) -> float:
        return self.scaled_lr * self.lr_factor(epoch)

    def hash(self) -> str:
        return digest(asdict(self))


def final_parts(protocol: Protocol, group: str, train: str) -> tuple[str, ...]:
    """The parts of a task's split that the finals of a train size are trained on; `group` is the task's.

    Train and val, as the benchmark has it. One-shot finals see train alone, or the authors' two images a class. FGVC's
    see train alone under `fgvc_final: train` (KMnP/vpt train.py:68-71 gives trainval to names that start with
    "vtab-").
    """
    if train == "one_shot":
        return ("train",) if protocol.one_shot_final == "same" else ("final",)
    return ("train",) if group == "fgvc" and protocol.fgvc_final == "train" else ("train", "val")


def check_batch(slice_: Mapping, images: int) -> None:
    """Raise ValueError where a batch is larger than the training set: it would be a full-batch step by mistake.

    In one-shot it is meant, and where it is the authors' (a probe's 1,024 for 800 images): the loader gives all images
    at once.
    """
    batch = slice_["recipe"]["batch"]
    if batch > images and slice_["train"] != "one_shot" and batch not in AUTHORS_BATCH.values():
        raise ValueError(f"batch: {batch} is larger than the {images} training images; choose at most {images}")


def expand_grid(base: Recipe, grid: Mapping[str, Iterable[float]]) -> list[Recipe]:
    """The grid's recipes, smallest learning rate first, then smallest weight decay.

    That order is also the order of ties: `choose` keeps the first of equals (KMnP/vpt tune_vtab.py:48-78 keeps the
    smaller learning rate; among equal learning rates theirs is the file system's order, ours the smaller decay).
    """
    pairs = itertools.product(sorted(set(grid["lr"])), sorted(set(grid["weight_decay"])))
    return [replace(base, lr=float(lr), weight_decay=float(decay)) for lr, decay in pairs]


def recipes_of(job: Mapping) -> list[Recipe]:
    """The grid of a slice, in the order of ties.

    Under the authors' fixed decay, AdamW decays by 0.01 whatever the grid says and a decay of 0 means SGD
    (KMnP/vpt src/solver/optimizer.py:43,100-138); settings that coincide are run once.
    """
    recipes = expand_grid(Recipe(**job["recipe"]), job["grid"])
    if not job.get("fixed_decay"):
        return recipes
    fixed = [replace(r, optimizer="sgd") if r.weight_decay == 0 else replace(r, weight_decay=0.01) for r in recipes]
    return list(dict.fromkeys(fixed))
