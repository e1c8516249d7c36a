"""Small models of real widths with random weights, and images, alike on every device.

In: a method and sizes. Out: a backbone row, a model, an `ImageSet`.

    python -m pytest tests/gpu_check
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import torch
from torch import nn

from vptcore.data.tensors import ImageSet, Normalise
from vptcore.models import methods
from vptcore.models.backbones import Backbone
from vptcore.models.pretrained import create_backbone
from vptcore.training.protocol import PROTOCOLS
from vptcore.training.recipe import Recipe

CLASSES, PROMPTS = 10, 10
METHODS = ("vpt", "full")


@dataclass(frozen=True)
class Sizes:
    """Two blocks of a ViT-B/16 by default. `images` is no multiple of `batch`: an epoch ends with a smaller one."""

    side: int = 224
    patch: int = 16
    width: int = 768
    heads: int = 12
    depth: int = 2
    batch: int = 8
    images: int = 20

    @property
    def backbone(self) -> Backbone:
        options = {"img_size": self.side, "patch_size": self.patch, "embed_dim": self.width}
        options |= {"depth": self.depth, "num_heads": self.heads}
        name = "vit_base_patch16_224"
        return Backbone("check", "check", name, size=self.side, width=self.width, depth=self.depth, options=options)


def model(method: str, sizes: Sizes) -> nn.Module:
    """Without dropout, whose draws are each device's own."""
    torch.manual_seed(0)
    spec = methods.spec_of({
        "backbone": asdict(sizes.backbone), "method": method, "classes": CLASSES, "deep": True, "settings": None,
        "prompt_length": PROMPTS if method == "vpt" else 0, "protocol": asdict(PROTOCOLS["paper"]),
    })  # fmt: skip
    body = create_backbone(spec.backbone, pretrained=False)
    made = methods.build(spec, seed=1, backbone=body)
    for module in made.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    return made


def images(sizes: Sizes, device: str, count: int | None = None) -> ImageSet:
    """Classes are told apart by their brightness."""
    generator, count = torch.Generator().manual_seed(0), count or sizes.images
    labels = torch.arange(count) % CLASSES
    pixels = torch.randint(0, 60, (count, sizes.side, sizes.side, 3), generator=generator)
    pixels = (pixels + 18 * labels[:, None, None, None]).to(torch.uint8)
    return ImageSet(pixels.to(device), labels.to(device), Normalise(sizes.side, (0.5,) * 3, (0.2,) * 3))


def recipe(method: str, batch: int, epochs: int = 1) -> Recipe:
    optimizer, lr = ("adamw", 1e-5) if method == "full" else ("sgd", 0.1)
    return Recipe(optimizer, lr, 0.01, batch, epochs, 0)
