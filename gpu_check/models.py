"""Small models of real widths with random weights, and images, alike on every device.

In: a case and sizes. Out: a backbone row, a model, an `ImageSet`.

    python -m pytest tests/gpu_check
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace

import torch
from torch import nn

from vptcore.data.tensors import ImageSet, Normalise
from vptcore.models import methods
from vptcore.models.backbones import Backbone
from vptcore.models.methods_table import METHODS
from vptcore.models.pretrained import create_backbone
from vptcore.training.protocol import PROTOCOLS
from vptcore.training.recipe import Recipe

CLASSES, PROMPTS = 10, 10


@dataclass(frozen=True)
class Case:
    """A method on a ViT whose class token is read, on one that averages its patches, or on a Swin."""

    method: str
    body: str = "ViT"

    @property
    def name(self) -> str:
        return self.method if self.body == "ViT" else f"{self.method}, {self.body}"


# Every method that trains through the backbone and builds what no other does, the study's own first.
CASES = (
    *(Case(method) for method in ("vpt", "full", "mixed", "lora")),
    *(Case(method, body) for body in ("Swin", "ViT, averaged") for method in ("vpt", "full")),
    *(Case(method) for method in ("bitfit", "layernorm", "partial", "ssf", "adaptformer", "adapter_plus", "dora")),
)
RATES = {"full": 1e-5, "partial": 1e-5, "mixed": 0.01}


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

    def of(self, case: Case) -> Backbone:
        """The case's backbone."""
        averaged = replace(self.backbone, pool="avg")
        return {"ViT": self.backbone, "ViT, averaged": averaged, "Swin": self.swin}[case.body]

    @property
    def swin(self) -> Backbone:
        """A block in each of two stages, of a Swin-B's first width by default."""
        embed, window = max(12, self.width // 6), 7 if self.side % 28 == 0 else 4
        heads = max(2, embed // 32), max(3, embed // 16)
        options = {"img_size": self.side, "patch_size": 4, "embed_dim": embed, "depths": (1, 1), "num_heads": heads}
        name, options = "swin_tiny_patch4_window7_224", options | {"window_size": window}
        return Backbone("swin", "swin", name, pool="avg", size=self.side, width=2 * embed, depth=2, options=options)


def model(case: Case, sizes: Sizes, dropout: float = 0.0) -> nn.Module:
    """Without dropout, whose draws are each device's own, unless some is asked for."""
    torch.manual_seed(0)
    spec = methods.spec_of({
        "backbone": asdict(sizes.of(case)), "method": case.method, "classes": CLASSES, "deep": True, "settings": None,
        "prompt_length": PROMPTS if METHODS[case.method].prompts else 0,
        "protocol": asdict(PROTOCOLS["paper"]) | {"prompt_dropout": dropout},
    })  # fmt: skip
    body = create_backbone(spec.backbone, pretrained=False)
    made = methods.build(spec, seed=1, backbone=body)
    for module in made.modules():
        if isinstance(module, nn.Dropout):
            module.p = dropout
    return made


def images(sizes: Sizes, device: str, count: int | None = None, seed: int = 0) -> ImageSet:
    """Classes are told apart by their brightness."""
    generator, count = torch.Generator().manual_seed(seed), count or sizes.images
    labels = torch.arange(count) % CLASSES
    pixels = torch.randint(0, 60, (count, sizes.side, sizes.side, 3), generator=generator)
    pixels = (pixels + 18 * labels[:, None, None, None]).to(torch.uint8)
    return ImageSet(pixels.to(device), labels.to(device), Normalise(sizes.side, (0.5,) * 3, (0.2,) * 3))


def recipe(case: Case, batch: int, epochs: int = 1) -> Recipe:
    optimizer = METHODS[case.method].optimizer_under(PROTOCOLS["paper"])
    lr = RATES.get(case.method, {"sgd": 0.02, "adamw": 1e-4}[optimizer])
    return Recipe(optimizer, lr, 0.01, batch, epochs, 0)
