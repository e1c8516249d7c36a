"""The backbones: one row each, and how a timm model with their weights is made.

In: a row of `BACKBONES`, or one that the config adds (any plain ViT or Swin of timm by its name). Out: a timm model
without a head. Reading the table imports no torch.

    python -m pytest tests/models/test_backbones.py
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass, field

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
HALF = (0.5, 0.5, 0.5)


@dataclass(frozen=True)
class Backbone:
    """`timm` names the architecture and, where `checkpoint` is empty, the pretrained weights on the hub.

    `pool` is how the feature is pooled: token, or avg. `width` is the feature's size, `size` the input's in pixels.
    `mean` and `std` are those it was pretrained with; the paper feeds ImageNet's to all (switch `normalisation`).
    `drop_path` is the stochastic depth under full fine-tuning only (KMnP/vpt src/models/build_vit_backbone.py).
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
    licence="MIT",
)

BACKBONES: dict[str, Backbone] = {
    backbone.id: backbone
    for backbone in (
        # Not augreg_in21k: the paper's file is imagenet21k/ViT-B_16.npz, the original recipe.
        Backbone(
            "vit_b16_sup21k", "ViT-B/16", "vit_base_patch16_224.orig_in21k", mean=HALF, std=HALF, licence="Apache-2.0"
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
            licence="CC BY-NC 4.0",
        ),
        MINI,
    )
}


def create_backbone(spec: Backbone, *, pretrained: bool = True, drop_path: float = 0.0):
    """The timm model of `spec` without a head; with its weights unless `pretrained` is false.

    Raises a ValueError of one line where the weights cannot be had or do not fit, or the row is not true of the model.
    """
    import timm

    from vptcore.models.checkpoints import load_checkpoint, timm_weights

    if not timm.is_model(spec.timm):
        known = difflib.get_close_matches(spec.timm.split(".")[0], timm.list_models(["vit_*", "swin_*"]), n=1)
        hint = f"; did you mean {known[0]!r}?" if known else ""
        raise ValueError(f"backbones.{spec.id}.timm: timm has no model {spec.timm!r}{hint}")
    # Always said: timm's own default is 0.1 for a Swin.
    options = dict(spec.options, drop_path_rate=drop_path)
    if spec.checkpoint or not pretrained:
        model = timm.create_model(spec.timm, num_classes=0, pretrained=False, **options)
        _check(model, spec)
        return load_checkpoint(model, spec) if pretrained else model
    # From a file that is held to its hash; left alone, timm would also take a pickle from wherever its table says.
    file = {"file": str(timm_weights(spec))}
    try:
        model = timm.create_model(spec.timm, num_classes=0, pretrained=True, pretrained_cfg_overlay=file, **options)
    except (OSError, RuntimeError) as error:
        reason = str(error).splitlines()[0][:120].strip() if str(error) else type(error).__name__
        raise ValueError(f"backbone {spec.id}: {file['file']} does not fit {spec.timm} ({reason})") from None
    _check(model, spec)
    return model


def _check(model, spec: Backbone) -> None:
    """Hold the row against the model: its family, width and input size."""
    from timm.models.swin_transformer import SwinTransformer
    from timm.models.vision_transformer import VisionTransformer

    key = f"backbones.{spec.id}"
    family = SwinTransformer if spec.is_swin else VisionTransformer
    if not isinstance(model, family):
        raise ValueError(f"{key}.timm: {spec.timm} is a {type(model).__name__}; expected a plain ViT or Swin of timm")
    if model.num_features != spec.width:
        raise ValueError(f"{key}.width: {spec.width}, but {spec.timm} is {model.num_features} wide")
    if tuple(model.patch_embed.img_size) != (spec.size, spec.size):
        found = "x".join(map(str, model.patch_embed.img_size))
        raise ValueError(f"{key}.size: {spec.size}, but {spec.timm} takes {found} pixels; set options.img_size or size")
