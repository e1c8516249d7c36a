"""The clock of both forms. In: a device. Out: seconds, read when the device has done what it was given."""

from __future__ import annotations

import time

import torch


def now(device: str) -> float:
    if device != "cpu":
        torch.cuda.synchronize(device)
    return time.perf_counter()
