"""A backbone's timm model, with its weights.

In: a row of `backbones.BACKBONES`, or one that the config adds. Out: a timm model without a head, held against its row.

    python -m pytest tests/vptcore/models/test_backbones.py
"""

from __future__ import annotations

import difflib

import timm
from timm.models.swin_transformer import SwinTransformer
from timm.models.vision_transformer import VisionTransformer

from vptcore.models.backbones import Backbone
from vptcore.models.checkpoints import load_checkpoint, timm_weights


def create_backbone(spec: Backbone, *, pretrained: bool = True, drop_path: float = 0.0):
    """The timm model of `spec` without a head; with its weights unless `pretrained` is false.

    Raises a ValueError of one line where the weights cannot be had or do not fit, or the row is not true of the model.
    """
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
    key = f"backbones.{spec.id}"
    family = SwinTransformer if spec.is_swin else VisionTransformer
    if not isinstance(model, family):
        raise ValueError(f"{key}.timm: {spec.timm} is a {type(model).__name__}; expected a plain ViT or Swin of timm")
    if model.num_features != spec.width:
        raise ValueError(f"{key}.width: {spec.width}, but {spec.timm} is {model.num_features} wide")
    if tuple(model.patch_embed.img_size) != (spec.size, spec.size):
        found = "x".join(map(str, model.patch_embed.img_size))
        raise ValueError(f"{key}.size: {spec.size}, but {spec.timm} takes {found} pixels; set options.img_size or size")
