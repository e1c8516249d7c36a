"""The harness's command line.

In: which parts to run (all of them by default), a seed, and QUICK=1 in the environment for a run of minutes on two
cores. Out: progress, the table of faults tried, survived and lost, and `faults.json` in the folder `--out`. The exit
code is 0 only where nothing was lost.

    QUICK=1 python -m faults
    python -m faults kills configs --seed 7
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from faults import audits, configs, kills, places
from faults.outcome import LOST, Outcome, show, write
from faults.small import Trial

PARTS = ("configs", "kills", "damages", "places", "cold")


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    quick = os.environ.get("QUICK", "0") not in ("", "0")
    options.work.mkdir(parents=True, exist_ok=True) if options.work else None
    with tempfile.TemporaryDirectory(prefix="faults-", dir=options.work) as folder:
        try:
            outcomes = run(options.parts or _default(quick), Path(folder), options, quick)
        except RuntimeError as mistake:
            print(f"faults: {mistake}", file=sys.stderr)
            return 2
    show(outcomes, Console(width=None if sys.stdout.isatty() else 120))
    return int(any(outcome.state == LOST for outcome in outcomes))


def _default(quick: bool) -> list[str]:
    """Everything; in the quick form without the cold study, whose jobs each import torch."""
    return [part for part in PARTS if not quick or part != "cold"]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m faults", description="What a study survives.")
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], metavar="PART", help=f"any of {', '.join(PARTS)}")
    parser.add_argument("--seed", type=int, default=0, help="draws the moments, damages and configs (default: 0)")
    parser.add_argument("--out", type=Path, default=Path("faults/out"), help="folder of faults.json")
    parser.add_argument("--work", type=Path, help="folder for the studies; an undisturbed one is kept there")
    return parser


def run(parts: list[str], folder: Path, options: argparse.Namespace, quick: bool) -> list[Outcome]:
    """The parts in their order. What a part found is written as it ends: one that is cut off loses itself alone."""
    doors = {"kills": kills.run, "damages": audits.run, "places": places.run, "cold": kills.run_cold}
    outcomes: list[Outcome] = []
    undisturbed = None
    for part in (part for part in PARTS if part in parts):
        if part == "configs":
            found = configs.run(folder, options.seed, quick, _say)
        else:
            undisturbed = undisturbed or _undisturbed((options.work or folder) / "undisturbed")
            found = doors[part](folder, undisturbed, options.seed, quick, _say)
        outcomes = write(found, options.out / "faults.json", options.seed)
    return outcomes


def _undisturbed(folder: Path) -> Trial:
    """The small study, run once with nothing in its way."""
    trial, started = Trial(folder), time.monotonic()
    folder.mkdir(parents=True, exist_ok=True)
    status, printed = trial.write().run()
    if status:
        raise RuntimeError(f"the undisturbed study ended with {status}: {printed[-400:]}")
    _say(f"the undisturbed study is there after {time.monotonic() - started:.0f} s")
    return trial


def _say(line: str) -> None:
    print(time.strftime("%H:%M:%S"), line, flush=True)


if __name__ == "__main__":
    raise SystemExit(main())
