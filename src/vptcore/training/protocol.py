"""The protocol, switch by switch: what the paper says, what its authors' code does, and what is sound.

In: a name (`paper`, `authors`, `sound`, `fair`) and overrides from the config. Out: a frozen `Protocol`.
docs/protocol.md has the table with the reasons; tests hold that it names every switch.

    python -m pytest tests/vptcore/training/test_protocol.py
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace

from vptcore.choices import ConfigError, choose_one

CHOICES = {
    "full_optimizer": ("adamw", "sgd"),
    "full_decay": ("searched", "fixed"),
    "mixed_optimizer": ("sgd", "adamw"),
    "lora_optimizer": ("sgd", "adamw"),
    "probe_batch": ("config", "authors"),
    "swin_batch": ("config", "authors"),
    "search_every_size": (True, False),
    "vtab_resize": ("tf1", "bilinear"),
    "normalisation": ("imagenet", "backbone"),
    "prompt_init": ("uniform", "normal", "prototypes"),
    "head_init": ("kaiming", "zeros"),
    "ft_then_pt_base": ("train", "trainval"),
    "adamw": ("authors", "torch"),
    "one_shot_pool": ("all", "vtab1k"),
    "one_shot_final": ("same", "two_per_class"),
    "one_shot_picks": ("one", "per_seed"),
    "fgvc_final": ("train", "trainval"),
    "lr_zero_epoch": (True, False),
    "scale_lr": (True, False),
    "decay_norms": (True, False),
    "prompts_in_pool": (True, False),
    "val_every_epoch": (True, False),
    "tries": ("own", "equal"),
}

# By switch: base-linear.yaml and base-prompt_swin.yaml of KMnP/vpt.
AUTHORS_BATCH = {"probe_batch": 1024, "swin_batch": 80}


@dataclass(frozen=True)
class Protocol:
    """Every switch that moves a number. The defaults are the paper's protocol."""

    name: str = "paper"
    full_optimizer: str = "adamw"
    # `fixed`: the authors' AdamW decays by 0.01 whatever the grid says, and a weight decay of 0 means SGD.
    full_decay: str = "searched"
    mixed_optimizer: str = "sgd"
    lora_optimizer: str = "sgd"
    # `authors`: what their yaml files say in place of the config's batch (`AUTHORS_BATCH`).
    probe_batch: str = "config"
    swin_batch: str = "authors"
    search_every_size: bool = False
    warmup_full: float = 0.1
    warmup: float = 0.1
    lr_zero_epoch: bool = True
    scale_lr: bool = True
    decay_norms: bool = True
    adamw: str = "authors"
    vtab_resize: str = "tf1"
    normalisation: str = "imagenet"
    prompted_dropout: float = 0.0
    prompt_dropout: float = 0.1
    prompt_init: str = "uniform"
    prompts_in_pool: bool = True
    head_init: str = "kaiming"
    head_bias: float = -4.59511985013459
    # `trainval`: the search of FT-then-PT starts from a model that has already seen its val images.
    ft_then_pt_base: str = "train"
    # `vtab1k`: one-shot images come from train800 and val200, not from all that a task has to train and validate on.
    one_shot_pool: str = "vtab1k"
    one_shot_final: str = "same"
    # `per_seed`: every seed of the finals trains on its own pick of images, so that intervals hold how picks differ.
    one_shot_picks: str = "one"
    fgvc_final: str = "train"
    val_every_epoch: bool = False
    # `equal`: every method's grid has as many configurations (`vptstudy.config.fair`).
    tries: str = "own"


PROTOCOLS: dict[str, Protocol] = {
    "paper": Protocol(),
    "authors": Protocol(
        name="authors",
        full_decay="fixed",
        probe_batch="authors",
        search_every_size=True,
        warmup_full=0.05,
        ft_then_pt_base="trainval",
        one_shot_final="two_per_class",
        val_every_epoch=True,
    ),
    "sound": Protocol(
        name="sound",
        mixed_optimizer="adamw",
        lora_optimizer="adamw",
        swin_batch="config",
        lr_zero_epoch=False,
        decay_norms=False,
        adamw="torch",
        one_shot_pool="all",
        one_shot_picks="per_seed",
        vtab_resize="bilinear",
        normalisation="backbone",
        prompts_in_pool=False,
        head_bias=0.0,
        fgvc_final="trainval",
    ),
}
PROTOCOLS["fair"] = replace(PROTOCOLS["sound"], name="fair", tries="equal")


def resolve_protocol(name: str, switches: Mapping[str, object] | None = None) -> Protocol:
    """The named protocol with single switches overridden. A misspelt name, switch or value ends in one line."""
    protocol = PROTOCOLS[choose_one("protocol", name, PROTOCOLS)]
    known = [field.name for field in fields(Protocol) if field.name != "name"]
    for switch, value in (switches or {}).items():
        choose_one("switches", switch, known)
        default = getattr(protocol, switch)
        if switch in CHOICES:
            choose_one(f"switches.{switch}", value, CHOICES[switch])
        elif isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise ConfigError(f"switches.{switch}: {value!r} is not a number (default {default})")
        elif "bias" not in switch and not 0 <= value < 1:
            raise ConfigError(
                f"switches.{switch}: {value!r} is out of range; it is a share in [0, 1), default {default}"
            )
        protocol = replace(protocol, **{switch: value})
    return protocol
