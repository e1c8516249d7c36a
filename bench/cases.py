"""What is compared: the cases, the work that both forms do, and the images and weights they do it on.

In: an id of `CASES` and a `Work`. Out: the job slice, the recipe, random images and a backbone file of random weights.
Speed depends on shapes, not on values, so nothing is downloaded.

    python -m bench --cases vpt_50 --pairs 1
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import timm
from safetensors.torch import save_file

from vptcore.models.backbones import Backbone
from vptcore.training.protocol import PROTOCOLS, Protocol
from vptcore.training.recipe import Recipe, expand_grid

VIT_TI = Backbone("vit_ti16", "ViT-Ti/16", "vit_tiny_patch16_224", width=192)
VIT_B = Backbone("vit_b16", "ViT-B/16", "vit_base_patch16_224", width=768)

# Paper §4.1: 100 epochs, 800 training and 200 validation images, ten learning rates by four weight decays.
EPOCHS, TRAIN, VAL = 100, 800, 200
ATTENTIONS = ("written", "fused")
BASELINES = ("plain", "modern")
GRID = {"lr": [50, 25, 10, 5, 2.5, 1, 0.5, 0.25, 0.1, 0.05], "weight_decay": [0.01, 0.001, 0.0001, 0.0]}
CLASSES = 100


@dataclass(frozen=True)
class Case:
    """One comparison. `bar` is the least ratio, ours over plain, that its training must reach on a CPU.

    `modern`: compared with today's form too, which compiles first.
    """

    id: str
    title: str
    method: str
    prompts: int = 0
    is_grid: bool = False
    bar: float = 1.0
    modern: bool = False


CASES: dict[str, Case] = {
    case.id: case
    for case in (
        Case("vpt_10", "VPT, p = 10", "vpt", 10),
        Case("vpt_50", "VPT, p = 50", "vpt", 50, bar=1.4, modern=True),
        Case("vpt_100", "VPT, p = 100", "vpt", 100, bar=1.8),
        Case("vpt_200", "VPT, p = 200", "vpt", 200, bar=2.3, modern=True),
        Case("mixed_100", "Mixed, p = 100", "mixed", 100, bar=1.3, modern=True),
        Case("full", "FT", "full", modern=True),
        Case("lora", "LoRA, rank 8", "lora", modern=True),
        Case("linear", "Linear", "linear"),
        Case("linear_grid", "Linear, grid of 40", "linear", is_grid=True, bar=50.0),
    )
}


@dataclass(frozen=True)
class Work:
    """What one timing does, alike for both forms: `steps` batches of `batch` images, `pairs` times in turn.

    `attention` is the plain form's: written out as in other repositories, or PyTorch's fused kernel.
    `against` names the forms that ours is compared with. `grid_images` are the training images of the grid; a quarter
    as many are its validation images.
    """

    backbone: Backbone
    device: str = "cpu"
    batch: int = 8
    steps: int = 2
    pairs: int = 7
    threads: int = 1
    workers: int = 2
    classes: int = CLASSES
    grid_images: int = TRAIN
    attention: str = "written"
    against: tuple[str, ...] = BASELINES
    protocol: Protocol = PROTOCOLS["paper"]

    @property
    def images(self) -> int:
        return self.batch * self.steps


def job_of(case: Case, work: Work) -> dict:
    """The slice of a config that the project's own stages would be called with."""
    return {
        "backbone": asdict(work.backbone),
        "method": case.method,
        "classes": work.classes,
        "prompt_length": case.prompts,
        "deep": True,
        "protocol": asdict(work.protocol),
        "resize": "bilinear",
        "seed": 0,
    }


def recipe_of(case: Case, work: Work) -> Recipe:
    """One epoch, or for a probe all of them, at a learning rate under which random weights stay finite."""
    adamw = case.method in ("full", "lora")
    epochs = EPOCHS if case.method == "linear" else 1
    optimizer, lr = ("adamw", 1e-3) if adamw else ("sgd", 0.05)
    return Recipe(optimizer, lr, 0.01, work.batch, epochs, warmup=0, adamw="torch")  # the plain form's is torch's


def grid_of(case: Case, work: Work) -> list[Recipe]:
    return expand_grid(replace(recipe_of(case, work), warmup=EPOCHS // 10), GRID)


def random_images(work: Work, count: int) -> tuple[np.ndarray, np.ndarray]:
    """uint8 images (N, size, size, 3) and labels (N,), the same on every call."""
    rng, size = np.random.default_rng(0), work.backbone.size
    return rng.integers(0, 256, (count, size, size, 3), dtype=np.uint8), rng.integers(0, work.classes, count)


def with_random_weights(backbone: Backbone, folder: Path | str) -> Backbone:
    """The same backbone with a checkpoint of timm's random initialisation in `folder`."""
    path = Path(folder) / f"{backbone.id}.safetensors"
    save_file(timm.create_model(backbone.timm, num_classes=0, pretrained=False, **backbone.options).state_dict(), path)
    return replace(backbone, checkpoint=str(path))
