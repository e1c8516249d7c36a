"""The benchmark's command line: ours beside the plain form and today's, in one run, on one machine.

In: options, and QUICK=1 in the environment for a run of under three minutes on two cores, without today's form, which
compiles first. Out: a table on the terminal, and bench.parquet, bench.md, bench.pdf and bench.png in the folder
`--out`.

    QUICK=1 python -m bench
    python -m bench --cases vpt_50 vpt_200 --pairs 7 --batch 32 --threads 2
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from rich.console import Console

from bench.cases import ATTENTIONS, BASELINES, CASES, VIT_B, VIT_TI, Case, Work, with_random_weights
from bench.measure import METRICS, Row, fresh_processes, measure
from bench.show import draw, markdown, table_of, write
from vptcore.choices import choose_one
from vptcore.jobs.device import open_device
from vptcore.records import write_text


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    try:
        cases = [CASES[choose_one("--cases", name, CASES)] for name in options.cases]
        work = default_work(open_device("auto"), quick=os.environ.get("QUICK", "0") not in ("", "0"))
        chosen = {name: getattr(options, name) for name in ("pairs", "batch", "threads")}
        work = replace(work, attention=choose_one("--attention", options.attention, ATTENTIONS))
        if options.against:
            work = replace(work, against=tuple(choose_one("--against", name, BASELINES) for name in options.against))
        work = replace(work, **{name: _positive(name, value) for name, value in chosen.items() if value is not None})
        run(cases, work, options.out)
    except ValueError as mistake:
        print(f"bench: {mistake}", file=sys.stderr)
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench", description="Ours beside the plain form.")
    parser.add_argument("--cases", nargs="+", default=list(CASES), metavar="CASE", help=f"any of {', '.join(CASES)}")
    parser.add_argument("--pairs", type=int, help="how often the forms take turns")
    parser.add_argument("--against", nargs="+", metavar="FORM", help=f"any of {', '.join(BASELINES)} (default: all)")
    parser.add_argument("--batch", type=int, help="images a step")
    parser.add_argument(
        "--threads", type=int, help="CPU threads of a training step (default: OMP_NUM_THREADS, as jobs)"
    )
    parser.add_argument("--attention", default="written", help=f"of the plain form: {', '.join(ATTENTIONS)}")
    parser.add_argument("--out", type=Path, default=Path("bench/out"), help="folder of the results")
    return parser


def _positive(name: str, value: int) -> int:
    if value < 1:
        raise ValueError(f"--{name}: {value} is too small; give a whole number from 1 up")
    return value


def default_work(device: torch.device, *, quick: bool) -> Work:
    """ViT-Ti/16 on a CPU, ViT-B/16 on a GPU, where an epoch is near the 13 steps that 800 images make."""
    cores, threads = os.cpu_count() or 1, torch.get_num_threads()
    if device.type == "cuda":
        work = Work(VIT_B, "cuda", batch=64, steps=16, pairs=7, threads=threads, workers=min(4, cores))
        return replace(work, pairs=3, grid_images=400) if quick else work
    work = Work(VIT_TI, "cpu", steps=1, pairs=5, threads=threads, workers=min(2, cores), grid_images=160)
    return replace(work, pairs=3, grid_images=80, against=("plain",)) if quick else work


def run(cases: Sequence[Case], work: Work, out: Path, console: Console | None = None) -> list[Row]:
    """Measure the cases, print their table, and write it and its drawing to `out`."""
    console = console or Console(width=110, highlight=False)
    torch.set_num_threads(work.threads)
    if os.getloadavg()[0] > 0.5:
        console.print(f"load average {os.getloadavg()[0]:.1f}: other work on this machine disturbs the timings")
    rows = []
    with tempfile.TemporaryDirectory() as folder, fresh_processes() as memory:
        work = replace(work, backbone=with_random_weights(work.backbone, folder))
        for case in cases:
            for row in measure(case, work, memory):
                rows.append(row)
                told = f"{case.title}: {METRICS[row.metric].title}, {row.ratio:.2f} x {row.against}"
                console.print(told, markup=False)
    console.print(table_of(rows, work))
    write(rows, work, out / "bench.parquet")
    write_text(out / "bench.md", markdown(rows))
    draw(rows, work, out)
    console.print(f"Rows and drawing: {out}", markup=False, soft_wrap=True)
    return rows


if __name__ == "__main__":
    raise SystemExit(main())
