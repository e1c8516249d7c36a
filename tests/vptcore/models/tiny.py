"""A tiny model of each family without pretrained weights, and the job slice of any method on them."""

from dataclasses import asdict, replace

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
# One of each kind of block and pooling; `eva_parts` has its projections in parts, `siglip` pools by attention.
FAMILIES = {
    "vit": VIT, "swin": SWIN,
    "eva": replace(VIT, timm="eva02_tiny_patch14_224", pool="avg"),
    "eva_parts": replace(VIT, timm="eva02_base_patch14_224", pool="avg"),
    "dinov3": replace(VIT, timm="vit_small_patch16_dinov3"),
    "beit": replace(VIT, timm="beit_base_patch16_224", pool="avg"),
    "siglip": replace(VIT, timm="vit_base_patch16_siglip_224", pool="own"),
    "registers": replace(VIT, timm="vit_small_patch14_reg4_dinov2"),
}  # fmt: skip
FAMILIES = {name: replace(row, id=f"tiny_{name}", title=f"Tiny {name}") for name, row in FAMILIES.items()}


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


def peft_settings(kind):
    """The settings of a row of one of peft's types, with the least arguments that fit a model 48 wide."""
    more = {
        "FOURIERFT": {"n_frequency": 20}, "WAVEFT": {"n_frequency": 24}, "IA3": {"feedforward_modules": []},
        "OFT": {"r": 0, "oft_block_size": 4}, "BOFT": {"boft_block_size": 4}, "C3A": {"block_size": 12},
        "ADALORA": {"total_step": 10}, "SHIRA": {"r": 2}, "LN_TUNING": {}, "ROAD": {"group_size": 2}, "MISS": {"r": 4},
        "VBLORA": {"r": 4, "num_vectors": 16, "vector_length": 12}, "UNILORA": {"r": 4, "theta_d_length": 30},
        "TINYLORA": {"r": 2, "u": 4}, "ADAMSS": {"r": 8, "num_subspaces": 2}, "SUPERTUNING": {"sparsity": 0.9},
        "FROD": {}, "BEFT": {}, "OSF": {},
    }.get(kind, {"r": 4})  # fmt: skip
    targets = ["norm1", "norm2"] if kind == "LN_TUNING" else ["qkv"]
    return {"peft": {"peft_type": kind, "target_modules": targets, **more}}
