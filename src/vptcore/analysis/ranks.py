"""Rank correlation with an interval: does one number of a task go with another?

In: two numbers for each task. Out: Spearman's correlation, with the interval of Bonett and Wright and an exact p.

    python -m pytest tests/vptcore/analysis/test_ranks.py
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations

import numpy as np
from scipy.special import ndtri

from vptcore.analysis.statistics import LEVEL

LEAST = 4
# All orders of so many tasks are tried out; of more, so many drawn ones.
MOST_EXACT, DRAWN = 8, 20_000
NAN = math.nan


@dataclass(frozen=True)
class Correlation:
    """Spearman's rank correlation of `tasks` pairs, its 95 % interval and two-sided p; NaN with too few."""

    value: float = NAN
    low: float = NAN
    high: float = NAN
    p: float = NAN
    tasks: int = 0


def rank_correlation(x: Sequence[float], y: Sequence[float], seed: int = 0) -> Correlation:
    """Spearman's correlation of x and y, one pair a task; NaN below LEAST tasks, or where a side does not vary.

    The interval is Fisher's on arctanh, with the standard error sqrt((1 + r² / 2) / (n - 3)) that ranks need (Bonett
    and Wright, 2000). p: the share of orders of y that give as large a correlation; of more than MOST_EXACT tasks,
    of DRAWN orders and the one seen. ValueError for sides of unlike length.
    """
    if len(x) != len(y):
        raise ValueError(f"rank correlation: {len(x)} and {len(y)} values; expected one pair a task")
    from scipy.stats import rankdata

    ranks = [rankdata(np.round(np.asarray(side, dtype=float), 9)) for side in (x, y)]
    tasks = len(x)
    if tasks < LEAST or any(np.ptp(side) == 0 for side in ranks):
        return Correlation(tasks=tasks)
    a, b = (side - side.mean() for side in ranks)
    scale = math.sqrt((a @ a) * (b @ b))
    value = float(a @ b / scale)
    orders = _orders(tasks, seed)
    p = float((np.abs(b[orders] @ a) >= abs(value) * scale - 1e-9).mean())
    if abs(value) > 1 - 1e-12:
        return Correlation(value, NAN, NAN, p, tasks)
    half = float(ndtri(0.5 + LEVEL / 2)) * math.sqrt((1 + value**2 / 2) / (tasks - 3))
    low, high = (math.tanh(math.atanh(value) + side * half) for side in (-1, 1))
    return Correlation(value, low, high, p, tasks)


def _orders(tasks: int, seed: int) -> np.ndarray:
    """(R, tasks): orders of the tasks; the first is the one seen."""
    if tasks <= MOST_EXACT:
        return np.array(list(permutations(range(tasks))))
    rng = np.random.default_rng(seed)
    return np.concatenate([np.arange(tasks)[None], rng.permuted(np.tile(np.arange(tasks), (DRAWN, 1)), axis=1)])
