"""A backbone's timm model, with its weights, and what timm knows of a model by its name.

In: a row of `backbones.BACKBONES`, or one that the config adds. Out: a timm model without a head, checked against
its row. One with weights that the config adds is checked against timm's own forward pass too.

    python -m pytest tests/vptcore/models/test_backbones.py tests/vptstudy/config/test_own_backbones.py
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping
from functools import lru_cache

import timm
import torch
from timm.models._registry import get_deprecated_models
from timm.models.swin_transformer import SwinTransformer
from torch import nn

from vptcore.models.backbones import BACKBONES, IMAGENET_MEAN, IMAGENET_STD, Backbone
from vptcore.models.checkpoints import load_checkpoint, timm_weights
from vptcore.models.prompts import FAMILIES, check_promptable, check_same_as_timm, pool_of
from vptcore.models.windows import check_same_swin

# timm's modules whose models are looked through for a name like a misspelt one.
MODULES = ("vision_transformer", "deit", "vision_transformer_hybrid", "eva", "beit", "swin_transformer")


def create_backbone(spec: Backbone, *, pretrained: bool = True, drop_path: float = 0.0):
    """The timm model of `spec` without a head; with its weights unless `pretrained` is false.

    Raises a ValueError of one line where the weights cannot be had or do not fit, or the row is not true of the model.
    """
    _at(spec, check_name, spec.timm)
    # Always said: timm's own default is 0.1 for a Swin.
    options = dict(spec.options, drop_path_rate=drop_path)
    if spec.checkpoint or not pretrained:
        model = timm.create_model(spec.timm, num_classes=0, pretrained=False, **options)
        _check(model, spec)
        return _same(load_checkpoint(model, spec), spec) if pretrained else model
    # From a file that is held to its hash; left alone, timm would also take a pickle from wherever its table says.
    file = {"file": str(timm_weights(spec))}
    try:
        model = timm.create_model(spec.timm, num_classes=0, pretrained=True, pretrained_cfg_overlay=file, **options)
    except (OSError, RuntimeError) as error:
        raise ValueError(
            f"backbone {spec.id}: {file['file']} does not fit {spec.timm} ({_first_line(error)})"
        ) from None
    _check(model, spec)
    return _same(model, spec)


def check_name(name: str) -> None:
    """Raise ValueError (one line) for a name that timm lacks or has renamed, with the one to write instead."""
    architecture, _, tag = name.partition(".")
    if new := get_deprecated_models().get(architecture):
        raise ValueError(f"{name} is an old name; timm's new one is {new}")
    if not timm.is_model(architecture):
        known = [model for module in MODULES for model in timm.list_models(module=module)]
        close = difflib.get_close_matches(architecture, known, n=1)
        raise ValueError(f"timm has no model {name!r}" + (f"; did you mean {close[0]!r}?" if close else ""))
    tags = [model.partition(".")[2] for model in timm.list_pretrained(f"{architecture}.*")]
    if tag and tag not in tags:
        raise ValueError(f"timm has no weights {tag!r} of {architecture}; choices: {', '.join(tags) or 'none'}")


def facts_of(name: str, options: Mapping | None = None) -> dict:
    """What timm knows of a model: the fields `size`, `width`, `depth`, `pool`, `mean`, `std` and `licence` of its row.

    Shapes are read from a model without memory, the rest from timm's pretrained_cfg. Raises ValueError (one line).
    """
    return dict(_facts_of(name, json.dumps(dict(options or {}), sort_keys=True)))


@lru_cache(maxsize=64)
def _facts_of(name: str, options: str) -> dict:
    check_name(name)
    cfg = timm.get_pretrained_cfg(name)
    try:
        with torch.device("meta"):
            model = timm.create_model(name, num_classes=0, pretrained=False, **json.loads(options))
    except (TypeError, ValueError, AssertionError, RuntimeError) as error:
        raise ValueError(f"{name} cannot be built with these options ({_first_line(error)})") from None
    check_kind(model, name)
    sides = set(model.patch_embed.img_size)
    if len(sides) > 1:
        raise ValueError(f"{name} takes images of {'x'.join(map(str, model.patch_embed.img_size))}; expected a square")
    is_swin = isinstance(model, SwinTransformer)
    return {
        "size": sides.pop(),
        "width": model.num_features,
        "depth": sum(len(stage.blocks) for stage in model.layers) if is_swin else len(model.blocks),
        "pool": "avg" if is_swin else pool_of(model),
        "mean": tuple(cfg.mean) if cfg else IMAGENET_MEAN,
        "std": tuple(cfg.std) if cfg else IMAGENET_STD,
        "licence": (cfg.license if cfg else None) or "",
    }


def check_kind(model: nn.Module, name: str) -> None:
    """Raise ValueError (one line) for a model that is no ViT or Swin v1 that prompts can be put into."""
    if isinstance(model, SwinTransformer):
        if not name.startswith("swin_"):
            raise ValueError(f"{name} has windows but not Swin v1's name; expected a ViT, EVA, BEiT or Swin of timm")
        return
    if not isinstance(model, FAMILIES):
        raise ValueError(f"{name} is a {type(model).__name__}; expected a ViT, EVA, BEiT or Swin of timm")
    check_promptable(model)


def _at(spec: Backbone, check, *args) -> None:
    """Run a check whose line then names the config's key."""
    try:
        check(*args)
    except ValueError as error:
        raise ValueError(f"backbones.{spec.id}.timm: {error}") from None


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0][:120].strip() if str(error) else type(error).__name__


def _check(model: nn.Module, spec: Backbone) -> None:
    """Check the row against the model: its family, width and input size."""
    key = f"backbones.{spec.id}"
    _at(spec, check_kind, model, spec.timm)
    if model.num_features != spec.width:
        raise ValueError(f"{key}.width: {spec.width}, but {spec.timm} is {model.num_features} wide")
    if tuple(model.patch_embed.img_size) != (spec.size, spec.size):
        found = "x".join(map(str, model.patch_embed.img_size))
        raise ValueError(f"{key}.size: {spec.size}, but {spec.timm} takes {found} pixels; set options.img_size or size")


_HELD: set[str] = set()


def _same(model: nn.Module, spec: Backbone) -> nn.Module:
    """A model that the config adds or changes, held once a process against timm's own forward pass."""
    if spec == BACKBONES.get(spec.id) or repr(spec) in _HELD:
        return model
    _at(spec, check_same_swin if spec.is_swin else check_same_as_timm, model)
    _HELD.add(repr(spec))
    return model
