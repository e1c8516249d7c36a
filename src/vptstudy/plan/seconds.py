"""Seconds of a job from its work and a device's rates.

In: `Work`, and `Speed`: a device and, where rows have been measured, how far its rates are from the table's. Out:
seconds by phase, start-up and model building included.

    python -m pytest tests/vptstudy/plan/test_estimate.py
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Mapping
from dataclasses import dataclass, field

from vptstudy.plan.assumed import seconds_of
from vptstudy.plan.devices import SWIN_SHARE, Device
from vptstudy.plan.workload import Phase, Workload


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

    def seconds_by_phase(
        self, work: Workload, key: tuple | None = None, compiled: Collection[Hashable] = ()
    ) -> dict[str, float]:
        """What a job spends on each phase; `start` is Python and torch, `build` models, `other` everything else.

        `compiled` is what other jobs have compiled before: it is only loaded.
        """
        seconds = {"start": self.device.start}
        seconds |= self._ready(work, compiled)
        for phase in work.phases:
            seconds[phase.name] = seconds.get(phase.name, 0.0) + self.phase_seconds(phase, key)
        if work.builds:
            bytes_copied = 4 * work.copies * work.parameters
            seconds["build"] = work.builds * work.parameters * seconds_of("build") + bytes_copied / seconds_of("copy")
        if work.read:
            seconds["read"] = work.read / seconds_of("read")
        seconds["other"] = work.extra + work.written / seconds_of("write")
        return seconds

    def _ready(self, work: Workload, compiled: Collection[Hashable]) -> dict[str, float]:
        """Compiling and capturing, which only a GPU's jobs do."""
        if not self.device.is_gpu:
            return {}
        made = seconds_of("compile") * len(work.steps - set(compiled))
        made += seconds_of("compile_score") * len(work.scorings - set(compiled))
        made += seconds_of("load") * len((work.steps | work.scorings) & set(compiled))
        return {"compile": made, "capture": work.captures * seconds_of("capture")}

    def seconds(self, work: Workload, key: tuple | None = None) -> float:
        """As of a job that finds nothing compiled."""
        return sum(self.seconds_by_phase(work, key).values())


def key_of(job: Mapping) -> tuple:
    """What decides the training rate of a job's model."""
    recipe = job["recipe"]
    return job["backbone"]["id"], job["method"], job["prompt_length"], recipe["batch"], job["deep"]
