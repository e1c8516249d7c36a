"""A run of `fit` on disk, so that a killed job goes on in the middle of an epoch, bit for bit on a CPU.

In: the model, the optimizer, the shuffling generator, the history, and the epoch that was begun. Out: one file, written
beside and renamed. It holds what training changes: a frozen backbone is read from where it came from.

    python -m pytest tests/vptcore/training/test_fit.py -k resumed
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn


@dataclass
class Begun:
    """How far an epoch has come: its draws (`vptcore.data.tensors.draw_epoch`), the batches done, and their sums."""

    draws: Tensor
    batches: int = 0
    sums: Tensor | None = None
    seconds: float = 0.0


def save(path: Path, model: nn.Module, optimizer, generator, history, begun: Begun | None = None) -> None:
    on_gpu = next(model.parameters()).is_cuda
    state = {
        "model": {name: value.detach() for name, value in _changing(model).items()},
        "optimizer": optimizer.state_dict(),
        "shuffle_rng": generator.get_state(),
        "torch_rng": torch.get_rng_state(),
        "cuda_rng": torch.cuda.get_rng_state() if on_gpu else None,
        "history": vars(history),
        "begun": None if begun is None else vars(begun),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    torch.save(state, beside)
    os.replace(beside, path)


def resume(path: Path | None, model: nn.Module, optimizer, generator, history) -> Begun | None:
    """Load what `save` wrote, if it is there. Returns the epoch that was begun, if one was."""
    if path is None or not path.exists():
        return None
    device = next(model.parameters()).device
    state = torch.load(path, map_location="cpu", weights_only=True)
    own = _changing(model)
    if own.keys() != state["model"].keys():
        raise ValueError(f"{path} is of another model; remove it and run again")
    with torch.no_grad():
        for name, value in state["model"].items():
            own[name].copy_(value)
    optimizer.load_state_dict(state["optimizer"])
    generator.set_state(state["shuffle_rng"])
    torch.set_rng_state(state["torch_rng"])
    if state["cuda_rng"] is not None and device.type == "cuda":
        torch.cuda.set_rng_state(state["cuda_rng"])
    vars(history).update(state["history"])
    return Begun(**state["begun"]) if state["begun"] else None


def _changing(model: nn.Module) -> dict[str, Tensor]:
    """Every trained parameter and every buffer."""
    trained = {name: value for name, value in model.named_parameters() if value.requires_grad}
    return trained | dict(model.named_buffers())
