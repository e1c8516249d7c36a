"""Adapters of the library peft, put into the layers of a backbone that a list of targets names.

In: a timm backbone, the type of adapter and the arguments of its config class. Out: the same backbone, changed in
place; what is put in carries the only parameters that train. What several layers share (VeRA's projections, VB-LoRA's
bank of vectors) hangs on each of them as one and the same module.

    python -m pytest tests/vptcore/models/test_peft_types.py
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import version

from torch import nn

from vptcore.models.methods_table import is_target
from vptcore.models.outline import places_of

# What one layer of timm's plain ViT is called where a model has it in parts (EVA-02, DINOv3).
PARTS = {"qkv": ("q_proj", "k_proj", "v_proj"), "fc1": ("fc1_g", "fc1_x")}


def put_in(
    backbone: nn.Module, kind: str, arguments: Mapping[str, object], *, key: str, timm: str,
    targets_key: str = "target_modules",
) -> None:  # fmt: skip
    """Put adapters into the layers that the argument `target_modules` names; a list of them as `is_target` reads it.

    `layers_to_transform` counts blocks over the whole network. Raises ValueError (one line) that starts with `key`, the
    adapter's in the config, where its targets are below `targets_key`; `timm` is what the line calls the backbone.
    """
    from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING, PEFT_TYPE_TO_TUNER_MAPPING

    if kind not in PEFT_TYPE_TO_TUNER_MAPPING:
        raise ValueError(f"{key}: peft {version('peft')} has no {kind}; install the version in requirements.lock")
    config, targets = dict(arguments), arguments["target_modules"]
    if not isinstance(targets, str):
        config["target_modules"] = _named(backbone, targets, config.pop("layers_to_transform", None))
    try:
        if not config["target_modules"]:
            raise ValueError("not found in the base model")
        made = PEFT_TYPE_TO_CONFIG_MAPPING[kind](**config)
        if hasattr(made, "progressbar"):
            made.progressbar = False
        PEFT_TYPE_TO_TUNER_MAPPING[kind](backbone, made, "default")
    except (TypeError, ValueError, NotImplementedError) as error:
        said = str(error).splitlines()[0] if str(error) else type(error).__name__
        if "not found in the base model" in said:
            named = targets if isinstance(targets, str) else ", ".join(targets)
            said = f"{named} name no layer of {timm}; try qkv or proj"
            raise ValueError(f"{key}.{targets_key}: {said}") from None
        raise ValueError(f"{key}: {kind} of peft: {said}") from None


def _named(backbone: nn.Module, targets: list[str], blocks: int | list[int] | None) -> list[str]:
    """The full names of the layers that `targets` mean, in all blocks or in these."""
    wanted = [name for target in targets for name in _as_named(backbone, target)]
    names = [name for name, _ in backbone.named_modules()]
    places = places_of([f"{name}." for name in names])
    inside = {blocks} if isinstance(blocks, int) else set(blocks or ())
    return [
        name for name, place in zip(names, places, strict=True)
        if is_target(name, wanted) and (not inside or place.block in inside)
    ]  # fmt: skip


def _as_named(backbone: nn.Module, target: str) -> tuple[str, ...]:
    """The target itself, or its parts in a model that has only those."""
    parts = PARTS.get(target, ())
    ends = {name.rpartition(".")[2] for name, layer in backbone.named_modules() if isinstance(layer, nn.Linear)}
    return parts if parts and target not in ends and ends.issuperset(parts) else (target,)
