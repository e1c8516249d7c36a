"""Seconds of a job from its work and a device's rates.

In: `Work`, and `Speed`: a device and, where rows have been measured, how far its rates are from the table's. Out:
seconds by phase, start-up and model building included.

    python -m pytest tests/vptstudy/plan/test_estimate.py
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from vptstudy.plan.devices import SWIN_SHARE, Device
from vptstudy.plan.workload import Phase, Workload

# timm draws every weight before a checkpoint replaces it: 1.7 s for ViT-B/16's 86 M on one core.
BUILD_SECONDS_A_WEIGHT = 20e-9
WRITE_BYTES_A_SECOND = 300e6


@dataclass(frozen=True)
class Speed:
    """A device and what rows say of it.

    `scale`: measured over assumed rate by regime. `rates`: training images per second by `key_of` a model, which
    replace the estimate for just that model.
    """

    device: Device
    scale: Mapping[str, float] = field(default_factory=dict)
    rates: Mapping[tuple, float] = field(default_factory=dict)

    def phase_seconds(self, phase: Phase, key: tuple | None = None) -> float:
        device = self.device
        if phase.name == "train" and phase.regime == "train" and key in self.rates:
            return phase.images / self.rates[key]
        scale = self.scale.get(phase.regime, 1.0)
        if phase.regime == "head":
            return (phase.flops / (device.peak * device.train) + phase.steps * device.head_step) / scale
        share = device.train if phase.regime == "train" else device.score
        swin = SWIN_SHARE if phase.is_swin and device.is_gpu else 1.0
        overhead = phase.steps * device.step if phase.regime == "train" else 0.0
        return (phase.flops / (device.peak * share * swin) + overhead) / scale

    def seconds_by_phase(self, work: Workload, key: tuple | None = None) -> dict[str, float]:
        """What a job spends on each phase; `start` is Python and torch, `build` models, `other` everything else."""
        seconds = {"start": self.device.start}
        if work.compiles:
            seconds["compile"] = self.device.compile
        for phase in work.phases:
            seconds[phase.name] = seconds.get(phase.name, 0.0) + self.phase_seconds(phase, key)
        if work.builds:
            seconds["build"] = work.builds * work.parameters * BUILD_SECONDS_A_WEIGHT
        seconds["other"] = work.extra + work.written / WRITE_BYTES_A_SECOND
        return seconds

    def seconds(self, work: Workload, key: tuple | None = None) -> float:
        return sum(self.seconds_by_phase(work, key).values())


def key_of(job: Mapping) -> tuple:
    """What decides the training rate of a job's model."""
    recipe = job["recipe"]
    return job["backbone"]["id"], job["method"], job["prompt_length"], recipe["batch"], job["deep"]
