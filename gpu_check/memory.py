"""A GPU's memory: what holds nothing is made NaN, and a card is made full.

In: the device. Out: how many bytes were spoiled.

    python -m pytest -m slow tests/gpu_check
"""

from __future__ import annotations

from collections.abc import Iterator

import torch

ALL_ONES = 255  # a byte; NaN in bf16, fp32 and float64


class _Bytes:
    """Memory at an address, as torch takes it."""

    def __init__(self, address: int, size: int):
        self.__cuda_array_interface__ = {
            "shape": (size,), "typestr": "|u1", "data": (address, False), "version": 2, "strides": None,
        }  # fmt: skip


def spoil(device: str) -> int:
    """Write NaN into every byte that torch's allocator holds and no tensor does, a captured graph's own included.

    So that a kernel that reads what nobody wrote is seen by its result. Returns the bytes; nothing is done on a CPU.
    """
    if device == "cpu":
        return 0
    spoiled = 0
    for address, size in list(_unused()):
        torch.as_tensor(_Bytes(address, size), device=device).fill_(ALL_ONES)
        spoiled += size
    return spoiled


def _unused() -> Iterator[tuple[int, int]]:
    """Address and size of each free block."""
    for segment in torch.cuda.memory_snapshot():
        address = segment["address"]
        for block in segment["blocks"]:
            if block["state"] == "inactive":
                yield address, block["size"]
            address += block["size"]
