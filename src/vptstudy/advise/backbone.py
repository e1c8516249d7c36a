"""The backbone of an advice: the one that is named, or what the machine can do, and what that means in words.

In: a name of this package or of timm, or none, and a file of weights. Out: an id, the row that a config adds, and the
sentence that is said.

    python -m pytest tests/vptstudy/advise
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from vptcore.choices import ConfigError, choose_one
from vptcore.models.backbones import BACKBONES, MINI

ON_GPU = "vit_b16_sup21k"


@dataclass(frozen=True)
class Why:
    on_gpu: bool
    sentence: str


def choose(name: str = "", checkpoint: str = "", cluster: str = "") -> tuple[str, dict, Why]:
    """(id, rows for the config's `backbones`, why). ConfigError (one line) for a name that nobody knows.

    `cluster` is the profile that sends the jobs to other machines, if one does: they have GPUs.
    """
    import torch

    on_gpu = bool(cluster) or torch.cuda.is_available()
    if checkpoint and not name:
        raise ConfigError("--checkpoint: whose weights are they? Name the architecture with --backbone")
    if checkpoint and not Path(checkpoint).is_file():
        raise ConfigError(f"--checkpoint: no file {checkpoint}")
    if not name:
        return _by_machine(on_gpu, f"jobs go to the GPUs of profile {cluster}" if cluster else "a GPU is here")
    if name in BACKBONES:
        own = {name: {"checkpoint": checkpoint}} if checkpoint else {}
        return name, own, Why(on_gpu, f"{BACKBONES[name].title}, as you say")
    return _of_timm(name, checkpoint, on_gpu)


def _by_machine(on_gpu: bool, where: str) -> tuple[str, dict, Why]:
    if on_gpu:
        return ON_GPU, {}, Why(True, f"{where}, so {BACKBONES[ON_GPU].title}; its weights are fetched once")
    small = (
        f"no GPU here, so the small {MINI.title} that ships with this package (1.2 M numbers, {MINI.size} pixels, "
        "pretrained on CIFAR-10): good for a first look, far below a real backbone; --backbone names one"
    )
    return MINI.id, {}, Why(False, small)


def _of_timm(name: str, checkpoint: str, on_gpu: bool) -> tuple[str, dict, Why]:
    """A row of the config with what timm knows of the model."""
    import timm

    from vptcore.models.pretrained import facts_of

    if not timm.is_model(name):
        choose_one("--backbone", name, [*BACKBONES, *timm.list_models("vit_*")])
    try:
        facts = {key: list(v) if isinstance(v, tuple) else v for key, v in facts_of(name).items()}
    except ValueError as error:
        raise ConfigError(f"--backbone: {error}") from None
    row = {"timm": name, **facts, **({"checkpoint": checkpoint} if checkpoint else {})}
    own = re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")
    return own, {own: row}, Why(on_gpu, f"{name} of timm, as you say")
