"""A plan in the terminal, and as JSON.

In: a `Plan`, switches, and where the rates are from. Out: rich tables, or plain values.

    vptcore plan table_05 --gpus 8
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from vptcore.models.methods_table import METHODS
from vptcore.training.edges import MOST
from vptcore.wording import plural
from vptstudy.graph.jobs import Job
from vptstudy.plan.devices import DEVICES
from vptstudy.plan.estimate import Plan, stage_of
from vptstudy.plan.measured import Measured
from vptstudy.plan.race import race_lines
from vptstudy.plan.seconds import Speed
from vptstudy.plan.switches import Switch

MANY_GPUS = (1, 2, 4, 8, 16, 32, 64)


def as_json(plan: Plan, gpus: int, found: Sequence[Switch], basis: str) -> dict:
    """Everything that the tables show, in seconds and bytes."""
    return {
        "study": plan.study.name, "targets": plan.targets, "device": plan.speed.device.name, "basis": basis,
        "assumptions": plan.assumptions, "further_rate_seconds": plan.beyond, "race": race_lines(plan.study),
        "gpu_bytes": max(plan.gpu_bytes.values(), default=0.0),
        "gpus": gpus, "jobs": len(plan.jobs), "jobs_done": len(plan.done), "gpu_seconds": plan.gpu_seconds,
        "cpu_seconds": plan.cpu_seconds, "disk_bytes": plan.disk, "wall_seconds": plan.wall_seconds(gpus),
        "wall_seconds_by_gpus": {n: plan.wall_seconds(n) for n in sorted({*MANY_GPUS, gpus})},
        "chain": [_name(job) for job in plan.chain], "chain_seconds": plan.chain_seconds,
        "stages": plan.by_stage(), "by_target": plan.by_target(), "phases": plan.by_phase(),
        "methods": plan.by_method(), "train_sizes": plan.by_train(),
        "switches": [{"keys": s.keys, "loses": s.loses, "gpu_seconds": s.gpu_seconds} for s in found],
    }  # fmt: skip


def show(plan: Plan, gpus: int, found: Sequence[Switch], basis: str, console: Console | None = None) -> None:
    """The plan, largest picture first."""
    console = console or Console(width=None if sys.stdout.isatty() else 120)
    is_gpu = plan.speed.device.is_gpu
    unit = f"{plan.speed.device.name} hours" if is_gpu else "CPU-hours"
    console.print(Text(f"Study {plan.study.name}: {', '.join(plan.targets)} on {plan.speed.device.name}", style="bold"))
    console.print(Text(basis, style="dim"))
    console.print(_stages(plan, unit))
    console.print(_targets(plan, unit))
    console.print(_dominating(plan))
    if found:
        console.print(_switches(found, unit))
    if plan.assumptions:
        console.print(Text("\nOther assumptions", style="bold"))
    for line in plan.assumptions:
        console.print(Text(f"- {line}"), soft_wrap=True)
    console.print()
    for line in _summary(plan, gpus):
        console.print(Text(line), soft_wrap=True)


def _stages(plan: Plan, unit: str) -> Table:
    table = _table("What is to be done", "stage", "jobs", "done", unit, "CPU-hours", "disk")
    rows = plan.by_stage()
    for row in rows:
        cells = str(row["jobs"]), str(row["done"] or ""), _hours(row["gpu_seconds"]), _hours(row["cpu_seconds"])
        table.add_row(row["stage"], *cells, _bytes(row["disk"]))
    table.add_section()
    left = sum(r["jobs"] for r in rows), sum(r["done"] for r in rows)
    table.add_row(
        "all", f"{left[0]:,}", str(left[1] or ""), _hours(plan.gpu_seconds), _hours(plan.cpu_seconds), _bytes(plan.disk)
    )
    return table


def _targets(plan: Plan, unit: str) -> Table:
    table = _table("Table by table", "target", "jobs", f"alone, {unit}", "more jobs", f"more, {unit}", "more disk")
    rows = plan.by_target()
    is_gpu = plan.speed.device.is_gpu
    kind = "gpu_seconds" if is_gpu else "cpu_seconds"
    for row in rows:
        table.add_row(
            row["target"], str(row["jobs"] or "–"), _hours(row["alone"][kind]), str(row["jobs_more"] or "–"),
            _hours(row["more"][kind]), _bytes(row["more"]["disk"]),
        )  # fmt: skip
    table.caption = "alone: from nothing; more: given all that stands above it. A job that is done costs nothing."
    return table


def _dominating(plan: Plan) -> Table:
    table = _table("What dominates", "phase", "share", "method", "share", "train size", "share", numbers=(1, 3, 5))
    columns = [_shares(part) for part in (plan.by_phase(), plan.by_method(), plan.by_train())]
    columns[1] = [(METHODS[name].title if name in METHODS else name, share) for name, share in columns[1]]
    for row in range(max(map(len, columns), default=0)):
        cells = [column[row] if row < len(column) else ("", "") for column in columns]
        table.add_row(*(text for cell in cells for text in cell))
    return table


def _shares(seconds: Mapping[str, float], most: int = 7) -> list[tuple[str, str]]:
    total = sum(seconds.values())
    if not total:
        return []
    return [(name, f"{value / total:.1%}") for name, value in list(seconds.items())[:most] if value / total >= 0.001]


def _switches(found: Sequence[Switch], unit: str) -> Table:
    table = _table("What each switch changes on its own", "in the config", unit, "what it means", numbers=(1,))
    for switch in found:
        table.add_row(switch.keys, _hours(switch.gpu_seconds, signed=True), switch.loses)
    return table


def _summary(plan: Plan, gpus: int) -> list[str]:
    if not plan.left:
        return ["Nothing is left to do: every file is there."]
    is_gpu = plan.speed.device.is_gpu
    what = plural(gpus, "GPU") if is_gpu else "one job at a time"
    total = f"{_hours(plan.gpu_seconds)} GPU-hours" if is_gpu else f"{_hours(plan.cpu_seconds)} CPU-hours"
    lines = [
        f"{plural(len(plan.left), 'job')}, {total}, {_bytes(plan.disk)} on disk; "
        f"{_wall(plan.wall_seconds(gpus) if is_gpu else plan.cpu_seconds)} with {what}."
    ]
    if plan.beyond:
        kind, most = "GPU" if is_gpu else "CPU", 2 * MOST
        lines.append(
            f"edges: extend: one further rate for every search would be {_hours(plan.beyond)} {kind}-hours more, the "
            f"most that may be bought {_hours(most * plan.beyond)}; none is counted above."
        )
    if is_gpu:
        lines.append("Wall time: " + ", ".join(f"{n} GPUs {_wall(plan.wall_seconds(n))}" for n in MANY_GPUS[1:]) + ".")
    lines += race_lines(plan.study)
    lines += _gpu_memory(plan)
    chain = " → ".join(_name(job) for job in plan.chain if job.kind in ("search", "final", "explain", "fid"))
    lines.append(f"Never under {_wall(plan.chain_seconds)}: {chain or 'the longest chain'}.")
    return lines


def _gpu_memory(plan: Plan) -> list[str]:
    """What the largest job needs of a card, and how many the planned one is too small for."""
    if not plan.gpu_bytes:
        return []
    most, device = max(plan.gpu_bytes, key=plan.gpu_bytes.__getitem__), plan.speed.device
    room = device.memory_gib * 2**30
    line = f"Memory of a GPU: up to {plan.gpu_bytes[most] / 2**30:.0f} GiB ({_name(plan.jobs[most])})"
    over = sum(size > room for size in plan.gpu_bytes.values()) if room else 0
    fits = f"; {device.name} has {device.memory_gib}, too little for {plural(over, 'job')}" if over else ""
    return [f"{line}, of {device.memory_gib}." if room and not over else f"{line}{fits}."]


def show_check(jobs: Sequence[Measured], rows: Sequence[Mapping], before: Speed, after: Speed, root: str) -> None:
    """Predicted against measured time of a finished study, in one table, and the rates that follow."""
    console = Console(width=None if sys.stdout.isatty() else 120)
    table = _table(
        f"Predicted against measured, {root}",
        "stage", "method", "jobs", "measured", "assumed rates", "ratio", "calibrated", "ratio", "job by job",
        numbers=(2, 3, 4, 5, 6, 7, 8),
    )  # fmt: skip
    for row in [*rows, _total(rows)]:
        if row["stage"] == "all":
            table.add_section()
        title = METHODS[row["method"]].title if row["method"] in METHODS else ""
        table.add_row(
            row["stage"], title, str(row["jobs"]), f"{row['measured']:,.0f} s",
            f"{row['before']:,.0f} s", f"{row['before'] / row['measured']:.2f}",
            f"{row['after']:,.0f} s", f"{row['after'] / row['measured']:.2f}",
            f"{row['least']:.2f}–{row['most']:.2f}",
        )  # fmt: skip
    table.caption = "ratio: predicted / measured; a job's start is not in its file and is left out on both sides"
    console.print(table)
    scale = ", ".join(f"{regime} {value:.2f}" for regime, value in sorted(after.scale.items()))
    rates = f"{before.device.name}: measured rates are {scale or '1'} of the assumed ones"
    console.print(Text(f"{rates}, from {plural(len(jobs), 'job')}."), soft_wrap=True)


def _total(rows: Sequence[Mapping]) -> dict:
    sums = {key: sum(row[key] for row in rows) for key in ("jobs", "measured", "before", "after")}
    ends = {"least": min(row["least"] for row in rows), "most": max(row["most"] for row in rows)}
    return {"stage": "all", "method": "", **sums, **ends}


def show_devices() -> None:
    console = Console(width=None if sys.stdout.isatty() else 140)
    table = _table(
        "Assumed rates",
        "device",
        "peak",
        "training",
        "scoring",
        "computed",
        "memory",
        "where from",
        numbers=(1, 2, 3, 4, 5),
    )
    for device in DEVICES.values():
        shares = (f"{device.peak * share / 1e12:,.2f}" for share in (device.train, device.score))
        memory = f"{device.memory_gib} GiB" if device.memory_gib else ""
        computed = (f"{device.peak * share / 1e12:,.1f}" for share in device.computed or ())
        table.add_row(device.name, f"{device.peak / 1e12:,.2f}", *shares, " / ".join(computed), memory, device.source)
    table.caption = "TFLOP/s; computed: training / scoring, from peak and bandwidth. MIG slices by their full name."
    console.print(table)


def _table(title: str, *columns: str, numbers: Sequence[int] | None = None) -> Table:
    table = Table(title=f"\n{title}", title_justify="left", title_style="bold", box=None, pad_edge=False)
    table.caption_justify = "left"
    numbers = range(1, len(columns)) if numbers is None else numbers
    for index, column in enumerate(columns):
        table.add_column(column, justify="right" if index in numbers else "left", header_style="dim")
    return table


def _name(job: Job) -> str:
    return f"{stage_of(job)} {' · '.join(job.of[part] for part in job.of if part not in ('backbone', 'shard'))}".strip()


def _hours(seconds: float, *, signed: bool = False) -> str:
    hours = seconds / 3600
    if abs(hours) < 0.0005:
        return "–"
    digits = 1 if abs(hours) >= 0.95 else 2 if abs(hours) >= 0.095 else 3
    return f"{hours:+,.{digits}f}" if signed else f"{hours:,.{digits}f}"


def _wall(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 120:
        return f"{minutes} min"
    return f"{minutes / 60:.1f} h" if minutes < 2880 else f"{minutes / 1440:.1f} days"


def _bytes(count: float) -> str:
    if count < 5e5:
        return "–" if count < 5e4 else f"{count / 1e6:.1f} MB"
    return f"{count / 1e6:,.0f} MB" if count < 1e9 else f"{count / 1e9:,.1f} GB"
