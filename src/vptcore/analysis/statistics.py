"""Statistics over seeds: mean, spread and interval of a cell, group means, wins against full fine-tuning, differences.

In: rows of kind `final` as `records.read_many` gives them. Out: `Estimate`, `Wins` and `Difference` values, or a frame
with one row per cell. Accuracies stay fractions here; `percent` is the only place that turns them into text.

    python -m pytest tests/vptcore/analysis/test_statistics.py
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass

import numpy as np
import pandas as pd

# Student's t and its inverse from scipy.special: the workflow imports this module for every job, and scipy.stats loads
# slowly.
from scipy.special import stdtr, stdtrit

from vptcore.records import RowsError

LEVEL = 0.95
CELL = ["backbone", "method", "task", "train"]
MISSING = "–"
# Means of the same accuracies summed in another order differ in the last bits; accuracies themselves by at least 1e-6.
TIE = 1e-9


@dataclass(frozen=True)
class Estimate:
    """A mean over `n` seeds with its standard deviation (ddof 1) and its t interval at 95 %; NaN where n is 1."""

    mean: float = math.nan
    std: float = math.nan
    low: float = math.nan
    high: float = math.nan
    n: int = 0

    def scaled(self, factor: float) -> Estimate:
        return Estimate(self.mean * factor, self.std * factor, self.low * factor, self.high * factor, self.n)


@dataclass(frozen=True)
class GroupMean:
    """The mean of a row's task means. `missing` names the tasks without rows: then the mean is partial."""

    estimate: Estimate
    present: tuple[str, ...]
    missing: tuple[str, ...]

    @property
    def partial(self) -> bool:
        return bool(self.missing)


@dataclass(frozen=True)
class Wins:
    """The tasks on which a method's mean lies above full fine-tuning's, equals it, or lies below it."""

    won: tuple[str, ...]
    tied: tuple[str, ...]
    lost: tuple[str, ...]

    @property
    def tasks(self) -> int:
        return len(self.won) + len(self.tied) + len(self.lost)


@dataclass(frozen=True)
class Difference:
    """a - b with Welch's 95 % interval and two-sided p over seeds; NaN where a side has one seed or p is undefined."""

    difference: float
    low: float
    high: float
    p: float

    @property
    def direction(self) -> int:
        """1 if the interval lies above 0, -1 if below, 0 if it holds 0 or is not known."""
        return int(self.low > 0) - int(self.high < 0)

    @property
    def points(self) -> str:
        """'+4.3', for a difference in percentage points."""
        return number(self.difference, 1, signed=True)

    @property
    def interval(self) -> str:
        """'[+3.9, +4.7]', or that there is none: one seed, or cells without rows."""
        return (
            f"[{number(self.low, 1, True)}, {number(self.high, 1, True)}]" if self.low == self.low else "(no interval)"
        )


def estimate(values: Iterable[float]) -> Estimate:
    """Mean, std and interval of the values of some seeds."""
    values = np.asarray(list(values), dtype=float)
    std = values.std(ddof=1) if len(values) > 1 else math.nan
    return around(values.mean(), std, len(values)) if len(values) else Estimate()


def around(mean: float, std: float, n: int) -> Estimate:
    """The estimate whose interval is mean ± t(n - 1) std / sqrt(n)."""
    half = stdtrit(n - 1, 0.5 + LEVEL / 2) * std / math.sqrt(n) if n > 1 else math.nan
    return Estimate(float(mean), float(std), float(mean - half), float(mean + half), n)


def check_final(final: pd.DataFrame) -> pd.DataFrame:
    """`final` as it is, or a `RowsError` that names a cell with a repeated seed or an accuracy outside [0, 1]."""
    repeated = final[final.duplicated([*CELL, "seed"])]
    if len(repeated):
        raise RowsError(
            f"{_where(repeated.iloc[0])}: seed {repeated.iloc[0].seed} occurs twice; expected one row per seed"
        )
    accuracy = final["test_accuracy"].astype(float)
    wrong = final[~accuracy.between(0, 1)]
    if len(wrong):
        row = wrong.iloc[0]
        raise RowsError(
            f"{_where(row)}: seed {row.seed} has test_accuracy {row.test_accuracy}; expected a number in [0, 1]; "
            "delete the cell's rows and run it again"
        )
    return final


def summarise(final: pd.DataFrame) -> pd.DataFrame:
    """One row per cell: mean, std, low, high, n of the test accuracy, seeds that diverged (counted), what was tuned.

    `tuned_percent` is 100 x tuned / total parameters, head included; `prompt_length` is null for methods without
    prompts.
    """
    rows = []
    for key, cell in check_final(final).groupby(CELL, sort=False):
        share = 100 * cell["tuned_parameters"].astype(float) / cell["total_parameters"].astype(float)
        rows.append(
            {
                **dict(zip(CELL, key, strict=True)),
                **asdict(estimate(cell["test_accuracy"])),
                "diverged": tuple(
                    sorted(int(s) for s in cell.loc[cell["diverged"].fillna(False).astype(bool), "seed"])
                ),
                "tuned_percent": share.mean(),
                "prompt_length": pd.to_numeric(cell["prompt_length"]).astype(float).mean(),
            }
        )
    columns = [*CELL, "mean", "std", "low", "high", "n", "diverged", "tuned_percent", "prompt_length"]
    return pd.DataFrame(rows, columns=columns)


def group_mean(line: pd.DataFrame, tasks: Iterable[str]) -> GroupMean:
    """The mean of the task means of one line, which is the final rows of one backbone, method and train size.

    `tasks` are those the line should have. The spread is over seeds: each seed's mean over the tasks, for the seeds
    that every present task has. A missing task is left out and named, never counted as 0.
    """
    wide = (
        line.pivot(index="seed", columns="task", values="test_accuracy").astype(float) if len(line) else pd.DataFrame()
    )
    tasks = list(tasks)
    present = [task for task in tasks if task in wide]
    missing = tuple(task for task in tasks if task not in wide)
    if not present:
        return GroupMean(Estimate(), (), missing)
    per_seed = wide[present].dropna().mean(axis=1)
    std = per_seed.std(ddof=1) if len(per_seed) > 1 else math.nan
    return GroupMean(around(wide[present].mean().mean(), std, len(per_seed)), tuple(present), missing)


def count_wins(ours: Mapping[str, float], full: Mapping[str, float]) -> Wins:
    """Wins, ties and losses of `ours` (task -> mean) against `full`, over the tasks that both have."""
    gaps = {task: ours[task] - full[task] for task in ours if task in full}
    return Wins(
        won=tuple(t for t, gap in gaps.items() if gap > TIE),
        tied=tuple(t for t, gap in gaps.items() if abs(gap) <= TIE),
        lost=tuple(t for t, gap in gaps.items() if gap < -TIE),
    )


def welch(a: Estimate, b: Estimate) -> Difference:
    """a - b by Welch's test on the two sets of seeds.

    If neither side varies, the interval is the difference and p is NaN.
    """
    difference = a.mean - b.mean
    if a.n < 2 or b.n < 2 or math.isnan(a.std) or math.isnan(b.std):
        return Difference(difference, math.nan, math.nan, math.nan)
    va, vb = a.std**2 / a.n, b.std**2 / b.n
    if va + vb == 0:
        return Difference(difference, difference, difference, math.nan)
    share = va / (va + vb)  # not the squares of variances, which can underflow
    freedom = 1 / (share**2 / (a.n - 1) + (1 - share) ** 2 / (b.n - 1))
    error = math.sqrt(va + vb)
    half = float(stdtrit(freedom, 0.5 + LEVEL / 2)) * error
    return Difference(
        difference, difference - half, difference + half, float(2 * stdtr(freedom, -abs(difference) / error))
    )


def percent(fraction: float, decimals: int = 1, signed: bool = False) -> str:
    """0.7953 as '79.5', or '+79.5' with a true minus sign when signed; '–' for NaN. Never '-0.0'."""
    return number(100 * fraction, decimals, signed)


def number(value: float, decimals: int = 1, signed: bool = False) -> str:
    """A number with so many decimals; `signed` as in `percent`."""
    if value is None or math.isnan(value):
        return MISSING
    text = f"{abs(value):.{decimals}f}"
    nothing = float(text) == 0
    sign = "−" if value < 0 and not nothing else "+" if signed and not nothing else ""
    return sign + text


def _where(row: pd.Series) -> str:
    return "/".join(f"{name}={row[name]}" for name in CELL)
