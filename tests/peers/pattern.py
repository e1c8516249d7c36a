"""Weights and inputs that follow from their names, so that they need not be stored.

In: a name and a shape. Out: float64 numbers, the same here and where the peers' answers were recorded.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

RECORDED = Path(__file__).with_name("recorded")


def recorded(name: str) -> dict:
    return json.loads((RECORDED / f"{name}.json").read_text())


def pattern(name: str, shape: Iterable[int], scale: float = 1.0) -> np.ndarray:
    """Uniform in [-scale, scale], from PCG64 seeded by the name."""
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    return scale * (2 * rng.random(tuple(shape)) - 1)


def weight(name: str, shape: Iterable[int]) -> Tensor:
    """A model's tensor: none at zero, norms' weights about one."""
    value = pattern(name, shape, 0.14)
    return torch.from_numpy(value + 1 if "norm" in name and name.endswith("weight") else value)


def dot(name: str, value: Tensor) -> float:
    """One number for a gradient or a step of the tensor `name`.

    A key's bias is left out: it changes nothing, so its gradient is rounding, which AdamW blows up to a whole step.
    """
    value = value.detach().clone()
    if name.endswith("qkv.bias"):
        value[len(value) // 3 : 2 * len(value) // 3] = 0
    return float((value * torch.from_numpy(pattern(f"dot {name}", value.shape))).sum())
