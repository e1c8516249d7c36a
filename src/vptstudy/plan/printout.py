"""`vptcore plan` and `snakemake plan`: what a study costs, before anything is submitted.

In: a config, targets, a device and a number of GPUs. Out: printed tables, or JSON. Where jobs of the study are finished
on that device their measured rates replace the assumed ones.

    vptcore plan table_05 --gpus 8 --device H100
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from vptcore.choices import ConfigError
from vptcore.records import RowsError
from vptstudy.config.resolve import load_study
from vptstudy.plan import images, summary
from vptstudy.plan.devices import DEVICES, Device, device_of, is_known
from vptstudy.plan.estimate import Plan
from vptstudy.plan.limits import SLOWEST
from vptstudy.plan.measured import Measured, calibrated, comparison, measured_jobs
from vptstudy.plan.seconds import Speed
from vptstudy.plan.switches import switches
from vptstudy.study import Study


def plan(
    config: Mapping,
    targets: Sequence[str] = (),
    *,
    device: str = "",
    gpus: int = 1,
    rates: str = "assumed",
    as_json: bool = False,
) -> None:
    """Print the plan of `targets` (all, if none). Raises ConfigError of one line for an unknown target or device.

    `rates`, until rows are measured: the device's assumed ones, or those computed from its peak and bandwidth.
    """
    if gpus < 1:
        raise ConfigError(f"--gpus: {gpus}; expected at least 1")
    study, targets = load_study(config), list(targets) or ["all"]
    speed, basis = speed_of(study, device, rates)
    made = Plan(study, targets, speed)

    def cost(changed: Mapping) -> float:
        other = Plan(load_study(changed), targets, speed, whole=True)
        return other.gpu_seconds if speed.device.is_gpu else other.cpu_seconds

    found = switches(study.config, cost)
    if guessed := [task for task in study.used("task") if images.is_guessed(study, task)]:
        basis += f"; {images.UNKNOWN_TEST:,} test images assumed for {', '.join(guessed)}, until they are prepared"
    if as_json:
        print(json.dumps(summary.as_json(made, gpus, found, basis), indent=1))
    else:
        summary.show(made, gpus, found, basis)


def check(root: Path | str, device: str = "", as_json: bool = False) -> None:
    """Print predicted against measured time of the finished jobs below a results folder."""
    jobs = measured_jobs(root)
    chosen = device_of(device) if device else _most_used(jobs)
    if chosen is None:
        seen = ", ".join(sorted({job.device for job in jobs}))
        raise ConfigError(f"{root}: measured on {seen}, rates are known for {', '.join(DEVICES)}")
    mine = [job for job in jobs if is_known(job.device) and device_of(job.device) == chosen]
    if not mine:
        raise ConfigError(f"{root}: no job was measured on {chosen.name}")
    before, after = Speed(chosen), calibrated(chosen, mine)
    rows = comparison(mine, before, after)
    if as_json:
        print(json.dumps({"device": chosen.name, "scale": dict(after.scale), "rows": rows}, indent=1))
    else:
        summary.show_check(mine, rows, before, after, str(root))


def speed_of(study: Study, device: str = "", rates: str = "assumed") -> tuple[Speed, str]:
    """The rates to plan with, and one line on where they are from.

    `device` by name; else the one that most of the study's jobs ran on; else the config's.
    """
    try:
        jobs = measured_jobs(study.root)
    except RowsError:
        jobs = []
    chosen = device_of(device) if device else _most_used(jobs) or _configured(study)
    chosen = chosen.at(rates)
    speed = calibrated(chosen, jobs)
    count = sum(is_known(job.device) and device_of(job.device).name == chosen.name for job in jobs)
    if count:
        return speed, f"Rates as {count} finished jobs of this study measured them on {chosen.name}"
    return speed, f"Rates are estimates, nothing here has been measured: {chosen.source}"


def _configured(study: Study) -> Device:
    if study.config["device"] == "cpu":
        return DEVICES["cpu"]
    return device_of(study.config.get("plan", {}).get("device", SLOWEST))


def _most_used(jobs: Sequence[Measured]) -> Device | None:
    found = Counter(device_of(job.device) for job in jobs if is_known(job.device))
    return found.most_common(1)[0][0] if found else None
