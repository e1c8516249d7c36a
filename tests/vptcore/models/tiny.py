"""A tiny ViT and a tiny Swin without pretrained weights, and the job slice of any method on them."""

from dataclasses import asdict

from vptcore.models import methods
from vptcore.models.backbones import Backbone
from vptcore.models.methods_table import METHODS
from vptcore.models.pretrained import create_backbone
from vptcore.training.protocol import PROTOCOLS

VIT = Backbone(
    "tiny", "Tiny", "vit_tiny_patch16_224", size=32, width=48, depth=3,
    options=dict(img_size=32, patch_size=8, embed_dim=48, depth=3, num_heads=3),
)  # fmt: skip
SWIN = Backbone(
    "tiny_swin", "Tiny Swin", "swin_tiny_patch4_window7_224", size=32, width=48, pool="avg",
    options=dict(img_size=32, embed_dim=24, depths=(2, 1), num_heads=(2, 4), window_size=4),
)  # fmt: skip


def job_of(backbone, method, **more):
    length = 5 if METHODS[method].prompts else 0
    return dict(
        backbone=asdict(backbone), method=method, classes=7, prompt_length=length, deep=True, settings={},
        protocol=asdict(PROTOCOLS["paper"]),
    ) | more  # fmt: skip


def without_weights(monkeypatch):
    """Random weights in place of pretrained ones."""

    def create(spec, drop_path=0.0):
        return create_backbone(spec, pretrained=False, drop_path=drop_path)

    monkeypatch.setattr(methods, "create_backbone", create)
