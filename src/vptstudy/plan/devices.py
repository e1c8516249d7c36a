"""How fast a device is, by its name: the rates that a plan assumes until rows have been measured on it.

In: a device's name as torch gives it ("NVIDIA H100 80GB HBM3", "cpu x86_64"). Out: a row of `DEVICES`. Every rate is an
estimate, peak x share of it (MFU), and `source` says where the share comes from.

    vptcore plan --devices
"""

from __future__ import annotations

from dataclasses import dataclass

from vptcore.choices import choose_one
from vptcore.training.flops import PEAKS


@dataclass(frozen=True)
class Device:
    """`peak` in FLOP/s in the precision that jobs use; `train` and `score` are shares of it, for a plain ViT.

    Seconds: `step` is what every optimizer step costs on top, `head_step` one on cached features (launches, not
    arithmetic), `start` until a job computes (Python, torch, the driver), `compile` for a job's compiled graphs.
    """

    name: str
    peak: float
    train: float
    score: float
    source: str
    step: float = 0.0
    head_step: float = 0.001
    start: float = 20.0
    compile: float = 60.0
    memory_gib: int = 0

    @property
    def is_gpu(self) -> bool:
        return self.name != "cpu"


_TARGETS = "assumed: the rates this project aims at on an H100 (FT 3,300, VPT 4,500, scoring 9,000 img/s)"
_CPU = "assumed: 80 GFLOP/s in fp32 a thread with AVX2, half of it reached; step and head_step from jobs of `make demo`"

# A Swin's windows make small products. timm's table of an RTX 4090, compiled: Swin-B 2,206 img/s at 30.9 GFLOP,
# ViT-B/16 3,376 at 35.1: 0.58 of a ViT's rate.
SWIN_SHARE = 0.58

DEVICES: dict[str, Device] = {
    device.name: device
    for device in (
        Device("H100", PEAKS["H100"], 0.325, 0.30, _TARGETS, memory_gib=80),
        Device("H200", PEAKS["H200"], 0.325, 0.30, f"{_TARGETS}; same peak as an H100", memory_gib=141),
        Device(
            "A100", PEAKS["A100"], 0.37, 0.37,
            "published: ViT-B/16 forward in bf16, 3,324 img/s (meta-pytorch/superblock); training assumed alike",
            memory_gib=40,
        ),
        Device(
            "L40S", PEAKS["L40S"], 0.30, 0.33, "assumed: less memory bandwidth to its peak than an A100",
            memory_gib=48,
        ),
        Device(
            "RTX 4090", PEAKS["RTX 4090"], 0.50, 0.63,
            "published: ViT-B/16 forward 2,993 img/s (timm's table); training: its RTX 3090 reaches 0.58",
            memory_gib=24,
        ),
        Device(
            "V100", 15.7e12, 0.60, 0.65,
            "assumed: no bf16 units, so its fp32 peak, as well used as fp32 is on an A100 (superblock: 0.85)",
            compile=90.0, memory_gib=16,
        ),
        Device(
            "cpu", 80e9, 0.50, 0.45, _CPU,
            step=0.015, head_step=0.001, start=1.0, compile=0.0,
        ),
    )
}  # fmt: skip


def device_of(name: str) -> Device:
    """The row whose name occurs in a device's full name. Raises ConfigError with the choices."""
    lowered = name.lower()
    for device in DEVICES.values():
        if device.name.lower() in lowered:
            return device
    choose_one("device", name, DEVICES)
    raise AssertionError("choose_one raises")


def is_known(name: str) -> bool:
    return any(device.name.lower() in name.lower() for device in DEVICES.values())
