"""A small ViT of every method, and images, for tests of the step."""

from dataclasses import asdict

import torch
from torch import nn

from vptcore.data.tensors import ImageSet, Normalise
from vptcore.models import methods
from vptcore.models.backbones import Backbone
from vptcore.models.methods_table import METHODS
from vptcore.models.pretrained import create_backbone
from vptcore.training.protocol import PROTOCOLS

OPTIONS = dict(img_size=16, patch_size=4, embed_dim=24, depth=3, num_heads=3)
TINY = Backbone("tiny", "Tiny", "vit_tiny_patch16_224", size=16, width=24, depth=3, options=OPTIONS, full_dropout=0.1)


def spec(method: str, prompts: int = 3, backbone: Backbone = TINY, **switches) -> methods.ModelSpec:
    return methods.spec_of({
        "backbone": asdict(backbone), "method": method, "classes": 3,
        "prompt_length": prompts if METHODS[method].prompts else 0, "deep": True,
        "protocol": asdict(PROTOCOLS["paper"]) | switches,
        "settings": {"rank": 2, "alpha": 2, "targets": ["qkv"]} if method == "lora" else None,
    })  # fmt: skip


def vit(method: str, *, backbone: Backbone = TINY, **switches) -> nn.Module:
    """Random weights, drawn under one seed. `linear_like`: a frozen backbone under a head that trains."""
    torch.manual_seed(0)
    of = spec("vpt" if method == "linear_like" else method, backbone=backbone, **switches)
    body = create_backbone(of.backbone, pretrained=False, drop_path=of.backbone.drop_path if method == "full" else 0.0)
    model = methods.build(of, seed=1, backbone=body)
    if method == "linear_like":
        model.encoder.requires_grad_(False)
    return model


def image_set(count: int, size: int = 16, device: str = "cpu") -> ImageSet:
    """Three classes, told apart by their brightness."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(count) % 3
    images = torch.randint(0, 60, (count, size, size, 3), generator=generator) + 80 * labels[:, None, None, None]
    of = Normalise(size, (0.5, 0.5, 0.5), (0.2, 0.2, 0.2))
    return ImageSet(images.to(torch.uint8).to(device), labels.to(device), of)
