"""The backbones, one row each.

A config may add its own: any ViT, EVA, BEiT or Swin v1 of timm by its name. `pretrained.py` makes the models.

    python -m pytest tests/vptcore/models/test_backbones.py
"""

from __future__ import annotations

from dataclasses import dataclass, field

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
HALF = (0.5, 0.5, 0.5)


@dataclass(frozen=True)
class Backbone:
    """`timm` names the architecture and, where `checkpoint` is empty, the pretrained weights on the hub.

    `pool` is how the feature is pooled: token, avg, or own (as the model does itself). `width` is the feature's size,
    `size` the input's in pixels.
    `mean` and `std` are those it was pretrained with; the paper feeds ImageNet's to all (switch `normalisation`).
    `drop_path` is the stochastic depth and `full_dropout` the dropout after the embeddings and in each MLP, both under
    full fine-tuning only. The authors' 0.1 is the supervised ViT's alone (KMnP/vpt src/configs/vit_configs.py:35,
    src/models/build_vit_backbone.py). `fixed_positions`: the position embedding is never trained (vit_moco.py:68).
    """

    id: str
    title: str
    timm: str
    pool: str = "token"
    size: int = 224
    width: int = 768
    depth: int = 12
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD
    checkpoint: str = ""
    options: dict = field(default_factory=dict)
    drop_path: float = 0.0
    full_dropout: float = 0.0
    fixed_positions: bool = False
    licence: str = ""

    @property
    def is_swin(self) -> bool:
        return self.timm.startswith("swin_")


# Pretrained by this project (vptcore pretrain); model card: src/vptcore/assets/vit_mini_cifar10.md.
MINI = Backbone(
    id="vit_mini_cifar10",
    title="ViT-Mini/8",
    timm="vit_tiny_patch16_224",
    size=32,
    width=128,
    depth=6,
    mean=(0.491, 0.482, 0.447),
    std=(0.247, 0.243, 0.262),
    checkpoint="asset:vit_mini_cifar10.safetensors",
    options={"img_size": 32, "patch_size": 8, "embed_dim": 128, "depth": 6, "num_heads": 4},
    full_dropout=0.1,
    licence="MIT",
)

BACKBONES: dict[str, Backbone] = {
    backbone.id: backbone
    for backbone in (
        # Not augreg_in21k: the paper's file is imagenet21k/ViT-B_16.npz, the original recipe.
        Backbone(
            "vit_b16_sup21k",
            "ViT-B/16",
            "vit_base_patch16_224.orig_in21k",
            mean=HALF,
            std=HALF,
            full_dropout=0.1,
            licence="Apache-2.0",
        ),
        Backbone(
            "swin_b_sup21k",
            "Swin-B",
            "swin_base_patch4_window7_224.ms_in22k",
            pool="avg",
            width=1024,
            depth=24,
            drop_path=0.5,
            licence="MIT",
        ),
        Backbone(
            "vit_b16_mae",
            "ViT-B/16 MAE",
            "vit_base_patch16_224.mae",
            pool="avg",
            options={"global_pool": "avg"},
            # Not by timm's own loading: it expects the last norm that the mean over tokens replaces by a fresh one.
            checkpoint="hub:timm/vit_base_patch16_224.mae",
            drop_path=0.1,
            licence="CC BY-NC 4.0",
        ),
        Backbone(
            "vit_b16_mocov3",
            "ViT-B/16 MoCo v3",
            "vit_base_patch16_224",
            checkpoint="hub:nyu-visionx/moco-v3-vit-b",
            fixed_positions=True,
            licence="CC BY-NC 4.0",
        ),
        MINI,
    )
}
