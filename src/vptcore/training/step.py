"""Compiled forward passes where they pay: one graph a shape, captured as CUDA graphs on a GPU, plain calls elsewhere.

In: a model, its device, and the config's `compile` (auto, always, never). Out: a callable that computes what the model
computes. `auto` compiles on a GPU alone: a CPU job is shorter than its compilation. Where compilation fails the plain
model takes over, and says so once.

    python -m pytest tests/vptcore/training/test_step.py
"""

from __future__ import annotations

import weakref
from collections.abc import Callable

import torch
from torch import Tensor, nn

MODES = ("auto", "always", "never")
_forwards: weakref.WeakKeyDictionary[nn.Module, Callable[[Tensor], Tensor]] = weakref.WeakKeyDictionary()


def forward_of(model: nn.Module, device: torch.device, mode: str = "auto") -> Callable[[Tensor], Tensor]:
    """The model's forward pass, compiled once per model; a job's configurations and seeds share one model."""
    if mode == "never" or (mode == "auto" and device.type != "cuda"):
        return model
    if model not in _forwards:
        _forwards[model] = _Compiled(model, device)
    return _forwards[model]


class _Compiled:
    """A compiled model that falls back to the plain one for good when its first call fails."""

    def __init__(self, model: nn.Module, device: torch.device):
        self.model = weakref.ref(model)
        # CUDA graphs take away the launch of about a thousand kernels a step, which is what limits small batches.
        self.graphs = device.type == "cuda"
        self.compiled = torch.compile(model, mode="reduce-overhead" if self.graphs else "default", dynamic=False)

    def __call__(self, inputs: Tensor) -> Tensor:
        if self.compiled is None:
            return self.model()(inputs)
        if self.graphs:
            torch.compiler.cudagraph_mark_step_begin()
        try:
            outputs = self.compiled(inputs)
        except torch.OutOfMemoryError:
            raise
        except Exception as error:
            print(f"torch.compile failed ({type(error).__name__}); going on without it", flush=True)
            self.compiled = None
            return self.model()(inputs)
        # A graph's output is overwritten by its next replay.
        return outputs.clone() if self.graphs else outputs


def renew(model: nn.Module | None, fresh: nn.Module, device: torch.device) -> nn.Module:
    """`fresh` on the device, or its weights inside `model`, so that what was compiled for `model` is used again."""
    if model is None:
        return fresh.to(device)
    model.load_state_dict(fresh.state_dict())
    return model
