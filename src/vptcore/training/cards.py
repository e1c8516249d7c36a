"""GPUs by name: peak, memory bandwidth and memory, as their vendors' data sheets have them.

In: a device's full name as torch gives it ("NVIDIA H100 80GB HBM3 MIG 2g.20gb"). Out: its `Card`. What a job prints as
a share of the peak and what a plan assumes are both from here.

    vptcore plan --devices
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Card:
    """`peak` in FLOP/s: dense bf16 products with sums in fp32; `bandwidth` in bytes a second; `memory` in GiB."""

    name: str
    peak: float
    bandwidth: float
    memory: int


# The first whose name occurs counts. A V100 has no bf16 units: its fp16 peak.
CARDS = tuple(
    Card(name, tera * 1e12, terabytes * 1e12, memory)
    for name, tera, terabytes, memory in (
        ("B200", 2250, 8.0, 180),
        ("GH200", 990, 4.0, 96),
        ("H200 NVL", 835, 4.8, 141),
        ("H200", 989, 4.8, 141),
        ("H100 PCIe", 756, 2.0, 80),
        ("H100 NVL", 835, 3.9, 94),
        ("H100", 989, 3.35, 80),
        ("A100", 312, 1.555, 40),
        ("A40", 149.7, 0.696, 48),
        ("A10", 125, 0.6, 24),
        ("RTX A6000", 154.8, 0.768, 48),
        ("RTX 6000 Ada", 364, 0.96, 48),
        ("L40S", 362, 0.864, 48),
        ("L40", 181, 0.864, 48),
        ("L4", 121, 0.3, 24),
        ("RTX 5090", 209.5, 1.792, 32),
        ("RTX 4090", 165, 1.008, 24),
        ("RTX 3090", 71, 0.936, 24),
        ("V100", 125, 0.9, 16),
    )
)
# A slice's eighths of the memory's bandwidth, by its sevenths of the rest.
EIGHTHS = {"1": 1, "2": 2, "3": 4, "4": 4, "7": 8}
MIG = re.compile(r"\bMIG (?:(\d)c\.)?(\d)g\.(\d+)gb\b", re.IGNORECASE)


def card_of(name: str) -> Card | None:
    """The card of a full name; a MIG slice has its sevenths of the peak and its share of memory and bandwidth."""
    card = next((card for card in CARDS if re.search(rf"\b{card.name}\b", name, re.IGNORECASE)), None)
    mig = MIG.search(name)
    if card is None or mig is None:
        return card
    return replace(
        card, name=f"{card.name} MIG {mig[2]}g.{mig[3]}gb", peak=card.peak * int(mig[1] or mig[2]) / 7,
        bandwidth=card.bandwidth * EIGHTHS.get(mig[2], 1) / 8, memory=int(mig[3]),
    )  # fmt: skip
