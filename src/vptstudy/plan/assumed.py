"""What a plan assumes beside a device's rates, each by name, with where it is from.

In: nothing. Out: numbers for `seconds`, and the lines that a plan prints of those it used.

    vptcore plan
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Assumption:
    """`shown` is the value as a person reads it, `what` the rest of the sentence."""

    value: float
    shown: str
    what: str


ASSUMED = {
    "start": Assumption(
        6, "6 s", "until a job on a GPU computes: 4 s of Python and torch (counted), which a fork of the warm "
        "interpreter saves, and 2 s of the driver",
    ),
    "compile": Assumption(
        12, "12 s", "to compile a step for a batch size, once for all jobs that share a cache folder (CPU seconds of "
        "one core, python -m bench.start)",
    ),
    "compile_score": Assumption(
        6, "6 s", "to compile a scoring pass, likewise; sets of fewer than 2,048 images go through plain blocks"
    ),
    "load": Assumption(1.5, "1.5 s", "for a job to find each of them in that folder (counted likewise)"),
    "capture": Assumption(
        0.5, "0.5 s", "to warm up and capture a step for a batch size: once a weight decay of a grid, once for seeds"
    ),
    "build": Assumption(20e-9, "20 ns", "a weight to make a model, once a job (1.7 s for a ViT-B/16 on one core)"),
    "copy": Assumption(2e9, "2 GB/s", "to give a model the weights of the next seed"),
    "read": Assumption(500e6, "500 MB/s", "to read a task's images; nothing is hashed while a GPU waits"),
    "write": Assumption(300e6, "300 MB/s", "to write tuned models and predictions"),
}  # fmt: skip
# Phase of a job -> what its seconds rest on.
BEHIND = {
    "start": ("start",), "compile": ("compile", "compile_score", "load"), "capture": ("capture",),
    "build": ("build", "copy"), "read": ("read",), "other": ("write",),
}  # fmt: skip
ON_GPU = ("start", "compile", "compile_score", "load", "capture")
UNCOUNTED = "not counted: downloads, a cluster's queue; configurations that diverge are counted in full"


def seconds_of(name: str) -> float:
    return ASSUMED[name].value


def lines(phases: Iterable[str], *, on_gpu: bool, forms: int) -> list[str]:
    """A line for each assumption that these phases rest on; `forms` is how many compiled forms a plan counts."""
    used = {name for phase in phases for name in BEHIND.get(phase, ()) if on_gpu or name not in ON_GPU}
    found = [f"{assumed.shown} {assumed.what}" for name, assumed in ASSUMED.items() if name in used]
    if forms and on_gpu:
        found.append(f"{forms} compiled forms, on one machine or with one cache folder for all")
    return [*found, UNCOUNTED]
