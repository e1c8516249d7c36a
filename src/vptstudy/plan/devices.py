"""How fast a device is, by its name: the rates that a plan assumes until rows have been measured on it.

In: a device's name as torch gives it ("NVIDIA H100 80GB HBM3", "cpu x86_64"). Out: a `Device`. Every rate is an
estimate, peak x share of it (MFU), and `source` says where the share comes from. Cards are those of
`vptcore.training.cards`; a MIG slice of one is planned for by its full name.

    vptcore plan --devices
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from vptcore.choices import ConfigError, choose_one
from vptcore.training.cards import CARDS, MIG, Card, card_of
from vptstudy.plan.assumed import ASSUMED

RATES = ("assumed", "computed")


@dataclass(frozen=True)
class Device:
    """`peak` in FLOP/s in the precision that jobs use; `train` and `score` are shares of it, for a plain ViT.

    `computed` are the same shares by `computed_share`; None where that says nothing. Seconds: `step` is what every
    optimizer step costs on top, `head_step` one on cached features (launches, not arithmetic), `start` until a job
    computes (Python, torch, the driver). Memory in GiB.
    """

    name: str
    peak: float
    train: float
    score: float
    source: str
    computed: tuple[float, float] | None = None
    step: float = 0.0
    head_step: float = 0.001
    start: float = ASSUMED["start"].value
    memory_gib: int = 0

    @property
    def is_gpu(self) -> bool:
        return self.name != "cpu"

    def at(self, rates: str) -> Device:
        """The device at its assumed rates, or at those computed. Raises ConfigError where it has none of the kind."""
        if choose_one("--rates", rates, RATES) == "assumed":
            return self
        if self.computed is None:
            raise ConfigError(
                f"--rates: computed rates are for GPUs with bf16 units, {self.name} has none; leave it out"
            )
        return replace(self, train=self.computed[0], score=self.computed[1], source=_COMPUTED)


_TARGETS = "assumed: the rates this project aims at on an H100 (FT 3,300, VPT 4,500, scoring 9,000 img/s)"
_CPU = "assumed: 80 GFLOP/s in fp32 a thread with AVX2, half of it reached; step and head_step from jobs of `make demo`"
_COMPUTED = "computed: products at 0.61 of the peak, a compiled step's other bytes at 0.9 of the bandwidth, 5 % on top"
_BELOW = "assumed: nine tenths of what follows from its peak and memory bandwidth (--rates computed)"

# 600 of an H100's 989 TFLOP/s at these products' sizes, 3.0 of its 3.35 TB/s, and the kernels' launches.
PRODUCTS, TRAFFIC, LAUNCHES = 0.607, 0.896, 1.05
# Bytes that a compiled step moves outside products and attention, a FLOP: counted in the kernels that torch 2.15
# compiles for an H100 (VPT of 50 at batch 64: 14.9 GB; FT at 128: 35.0 GB; scoring 512 images: 38.6 GB).
TRAIN_BYTES, SCORE_BYTES = 3.05e-3, 2.28e-3

# A Swin's windows make small products. timm's table of an RTX 4090, compiled: Swin-B 2,206 img/s at 30.9 GFLOP,
# ViT-B/16 3,376 at 35.1: 0.58 of a ViT's rate.
SWIN_SHARE = 0.58

# Shares of the peak, and where they are from, for the cards of which something is known.
_KNOWN = {
    "H100": (0.325, 0.30, _TARGETS),
    "H200": (0.325, 0.30, f"{_TARGETS}; same peak as an H100"),
    "A100": (
        0.37, 0.37,
        "published: ViT-B/16 forward in bf16, 3,324 img/s (meta-pytorch/superblock); training assumed alike",
    ),
    "L40S": (0.30, 0.33, "assumed: less memory bandwidth to its peak than an A100"),
    "RTX 4090": (
        0.50, 0.63, "published: ViT-B/16 forward 2,993 img/s (timm's table); training: its RTX 3090 reaches 0.58",
    ),
}  # fmt: skip


def computed_share(card: Card, bytes_a_flop: float) -> float:
    """Of the peak: a step's time is its products' and, after them, that of the bytes it moves besides."""
    return 1 / (1 / PRODUCTS + card.peak * bytes_a_flop / (TRAFFIC * card.bandwidth)) / LAUNCHES


def _device(card: Card) -> Device:
    if card.name == "V100":
        source = "assumed: no bf16 units, so its fp32 peak, as well used as fp32 is on an A100 (superblock: 0.85)"
        return Device("V100", 15.7e12, 0.60, 0.65, source, memory_gib=card.memory)
    computed = computed_share(card, TRAIN_BYTES), computed_share(card, SCORE_BYTES)
    train, score, source = _KNOWN.get(card.name, (0.9 * computed[0], 0.9 * computed[1], _BELOW))
    return Device(card.name, card.peak, train, score, source, computed, memory_gib=card.memory)


DEVICES: dict[str, Device] = {
    **{card.name: _device(card) for card in CARDS},
    "cpu": Device("cpu", 80e9, 0.50, 0.45, _CPU, step=0.015, head_step=0.001, start=1.0),
}


def device_of(name: str) -> Device:
    """The device of a full name. Raises ConfigError with the choices."""
    found = _found(name)
    if found is None:
        choose_one("device", name, DEVICES)
        raise AssertionError("choose_one raises")
    return found


def is_known(name: str) -> bool:
    return _found(name) is not None


def _found(name: str) -> Device | None:
    if name == "cpu" or name.startswith("cpu "):
        return DEVICES["cpu"]
    card = card_of(name) or card_of(f"RTX {name}")
    if card is None:
        return None
    return _device(card) if MIG.search(name) else DEVICES[card.name]
