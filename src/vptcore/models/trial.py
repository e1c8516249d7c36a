"""A model built small and seen through once, so that what cannot work is known before any job.

In: the model part of a job slice. Out: nothing, or a ValueError of one line. The backbone has random weights and few
blocks, each as wide as the real one's: seconds, without its weights.

    vptcore check mine.yaml
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch

from vptcore.models.backbones import Backbone
from vptcore.models.methods import build, spec_of
from vptcore.models.pretrained import create_backbone
from vptcore.models.prompts import check_same_as_timm
from vptcore.models.windows import check_same_swin

BLOCKS = 2


def try_backbone(row: Backbone) -> None:
    """Without prompts its feature must be timm's own; ValueError (one line) that names the row."""
    model = create_backbone(_small(row), pretrained=False)
    try:
        (check_same_swin if row.is_swin else check_same_as_timm)(model)
    except ValueError as error:
        raise ValueError(f"backbones.{row.id}.timm: {error}") from None


def try_method(job: Mapping) -> None:
    """Build the method on such a backbone, and give it one image."""
    spec = spec_of(job)
    small = replace(spec, backbone=_small(spec.backbone))
    backbone = create_backbone(small.backbone, pretrained=False)
    try:
        model = build(small, seed=0, backbone=backbone).eval()
        with torch.inference_mode():
            model(torch.zeros(1, 3, spec.backbone.size, spec.backbone.size))
    except Exception as error:
        said = str(error).splitlines()[0] if str(error) else type(error).__name__
        if isinstance(error, ValueError) and said.startswith("methods."):
            raise
        raise ValueError(f"methods.{spec.method}: does not fit {spec.backbone.timm} ({said[:150]})") from None


def _small(row: Backbone) -> Backbone:
    """The row with few blocks: a Swin has one a stage."""
    few = {"depths": (1,) * len(row.options.get("depths", (1,) * 4))} if row.is_swin else {"depth": BLOCKS}
    return replace(row, options={**row.options, **few}, checkpoint="")
