"""A step that is launched kernel by kernel, in the place of a captured one.

In: the device that graphs would be captured on. Out: what `TrainStep` and `Prepared` take for `graphs`.

    python -m pytest tests/gpu_check
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import torch

from vptcore.training.step import CudaGraphs


class Calls(CudaGraphs):
    """Captures nothing: a step's body is called each time."""

    def __init__(self, device: torch.device):
        self._device = device

    @contextlib.contextmanager
    def beside(self) -> Iterator[None]:
        yield

    def capture(self, body: Callable[[torch.Tensor], None], draws_KB: torch.Tensor) -> Callable[[torch.Tensor], None]:
        return body
