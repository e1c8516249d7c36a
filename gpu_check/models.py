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
# `swin`: VPT on a Swin; the others on a ViT.
METHODS = ("vpt", "full", "mixed", "lora", "swin")


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

    @property
    def swin(self) -> Backbone:
        """A block in each of two stages, of a Swin-B's first width by default."""
        embed, window = max(12, self.width // 6), 7 if self.side % 28 == 0 else 4
        heads = max(2, embed // 32), max(3, embed // 16)
        options = {"img_size": self.side, "patch_size": 4, "embed_dim": embed, "depths": (1, 1), "num_heads": heads}
        name, options = "swin_tiny_patch4_window7_224", options | {"window_size": window}
        return Backbone("swin", "swin", name, pool="avg", size=self.side, width=2 * embed, depth=2, options=options)


def model(method: str, sizes: Sizes) -> nn.Module:
    """Without dropout, whose draws are each device's own."""
    torch.manual_seed(0)
    backbone, of = (sizes.swin, "vpt") if method == "swin" else (sizes.backbone, method)
    spec = methods.spec_of({
        "backbone": asdict(backbone), "method": of, "classes": CLASSES, "deep": True, "settings": None,
        "prompt_length": PROMPTS if of in ("vpt", "mixed") else 0,
        "protocol": asdict(PROTOCOLS["paper"]) | {"prompt_dropout": 0.0},
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
    optimizer, lr = {"full": ("adamw", 1e-5), "lora": ("adamw", 1e-4), "mixed": ("sgd", 0.01)}.get(method, ("sgd", 0.1))
    return Recipe(optimizer, lr, 0.01, batch, epochs, 0)
