"""`vptcore compare`: two studies cell by cell: the same rows, another number within the seeds' spread, or beyond it.

In: two studies' folders. Out: one `Pair` a cell. A cell is *identical* if every number of every seed is the same but
for times and the device's name; *within* if Welch's 95 % interval of the difference of the means holds 0; else
*beyond*. One seed, or seeds that do not vary, have no spread: any difference is beyond it.

    vptcore compare results/demo elsewhere/results/demo
"""

from __future__ import annotations

import json
import math
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import pandas as pd

from vptcore.analysis.published import chance_of_outside
from vptcore.analysis.statistics import CELL, LEVEL, check_final, estimate, percent, welch
from vptcore.choices import ConfigError
from vptcore.data.tasks import TASKS
from vptcore.models.methods_table import METHODS
from vptcore.records import read_provenance, read_rows
from vptstudy.audit.origin import difference

# What two runs of the same work may differ in.
TIMES = ["seconds", "compile_seconds", "images_per_second", "device"]
STATES = {
    "identical": "the same in every number of every seed",
    "within": "other numbers, within the seeds' spread",
    "beyond": "beyond the seeds' spread",
    "only_a": "only in the first",
    "only_b": "only in the second",
}
AGREE = ("identical", "within")


@dataclass(frozen=True)
class Pair:
    """One cell in both studies. Means and the interval (low, high) of b - a are fractions; NaN where unknown.

    `why` names what the two were asked for differently, if anything.
    """

    backbone: str
    method: str
    task: str
    train: str
    state: str
    mean_a: float = math.nan
    mean_b: float = math.nan
    low: float = math.nan
    high: float = math.nan
    why: str = ""


def compare(a: Path, b: Path) -> list[Pair]:
    """Every cell of either study, in the order of the tables. Raises ConfigError or RowsError of one line."""
    files = _files(a), _files(b)
    cells = sorted({**files[0], **files[1]}, key=_order)
    return [_pair(cell, files[0].get(cell), files[1].get(cell)) for cell in cells]


def _files(study: Path) -> dict[tuple[str, ...], Path]:
    """Cell -> its rows of kind final."""
    paths = sorted((study / "final").glob("backbone=*/method=*/task=*/train=*/rows.parquet"))
    if not paths:
        raise ConfigError(f"{study}: no rows of finals in it; expected a study's folder, results/NAME")
    return {tuple(part.partition("=")[2] for part in path.parts[-5:-1]): path for path in paths}


def _order(cell: tuple[str, ...]) -> tuple:
    backbone, method, task, train = cell
    places = [
        list(METHODS).index(method) if method in METHODS else 99,
        list(TASKS).index(task) if task in TASKS else 99,
    ]
    return backbone, int(train) if train.isdigit() else 0, train, places[1], task, places[0], method


def _pair(cell: tuple[str, ...], a: Path | None, b: Path | None) -> Pair:
    if a is None or b is None:
        mean = float(_rows(a or b)["test_accuracy"].mean())
        return Pair(*cell, "only_a", mean_a=mean) if b is None else Pair(*cell, "only_b", mean_b=mean)
    rows = _rows(a), _rows(b)
    sides = [estimate(frame["test_accuracy"]) for frame in rows]
    means = {"mean_a": sides[0].mean, "mean_b": sides[1].mean}
    if rows[0].equals(rows[1]):
        return Pair(*cell, "identical", **means, low=0.0, high=0.0)
    gap = welch(sides[1], sides[0])
    known = not math.isnan(gap.low) and gap.low < gap.high
    state = "within" if known and gap.low <= 0 <= gap.high else "beyond"
    jobs = [read_provenance(path).get("job", {}) for path in (a, b)]
    why = difference(*jobs).replace(", now ", " and ") if jobs[0] != jobs[1] else _chosen(*rows)
    return Pair(*cell, state, **means, low=gap.low, high=gap.high, why=why)


def _rows(path: Path) -> pd.DataFrame:
    """The rows without times, by seed."""
    rows = check_final(read_rows(path, "final")).drop(columns=TIMES)
    return rows.sort_values("seed", kind="stable").reset_index(drop=True)


def _chosen(a: pd.DataFrame, b: pd.DataFrame) -> str:
    """Where both were asked for the same, whether their searches chose the same."""
    pairs = [(key, a[key].iloc[0], b[key].iloc[0]) for key in ("optimizer", "lr", "weight_decay")]
    return "; ".join(f"chose {key} {x} and {y}" for key, x, y in pairs if x != y)


def show(pairs: Sequence[Pair], *, verbose: bool):
    """A rich table: by default only what is not identical."""
    from rich.table import Table

    table = Table(*CELL, "", "first %", "second %", f"difference and its {LEVEL:.0%} interval", "why", box=None)
    for pair in pairs:
        if pair.state == "identical" and not verbose:
            continue
        interval = f" [{percent(pair.low, 1, True)}, {percent(pair.high, 1, True)}]" if pair.low < pair.high else ""
        gap = "" if pair.state.startswith("only") else percent(pair.mean_b - pair.mean_a, 2, True) + interval
        cell = (getattr(pair, key) for key in CELL)
        table.add_row(
            *cell, pair.state.replace("_", " "), percent(pair.mean_a, 2), percent(pair.mean_b, 2), gap, pair.why
        )
    return table


def summary(pairs: Sequence[Pair]) -> list[str]:
    counts = Counter(pair.state for pair in pairs)
    said = [f"{counts[state]:5} {meaning}" for state, meaning in STATES.items() if counts[state]]
    judged = counts["within"] + counts["beyond"]
    if counts["beyond"] and judged > 1:
        expected, p = (1 - LEVEL) * judged, chance_of_outside(counts["beyond"], judged)
        words = "p < .001" if p < 0.001 else f"p = {p:.3f}"
        said.append(
            f"      (of {judged} cells with other numbers about {expected:.0f} lie beyond by chance alone; {words})"
        )
    return said


def run(options) -> int:
    """0 where every cell agrees, 1 where one does not or is missing on a side."""
    pairs = compare(options.a, options.b)
    agree = ("identical",) if options.exact else AGREE
    holds = all(pair.state in agree for pair in pairs)
    if options.json:
        print(json.dumps({"agree": holds, "cells": [_plain(pair) for pair in pairs]}, indent=1))
        return 0 if holds else 1
    from rich.console import Console

    console = Console(width=None if sys.stdout.isatty() else 160)
    if any(pair.state != "identical" for pair in pairs) or options.verbose:
        console.print(show(pairs, verbose=options.verbose))
    for line in summary(pairs):
        console.print(line, markup=False, highlight=False)
    return 0 if holds else 1


def _plain(pair: Pair) -> dict:
    """JSON has no NaN."""
    return {k: None if isinstance(v, float) and math.isnan(v) else v for k, v in asdict(pair).items()}
