"""How many of a table's numbers lie outside their intervals by chance alone, and one p for the table.

In: the frame of a table beside the paper's numbers. Out: how many are compared, how many outside, and the probability
of so many or more if both studies ran the same thing. A group's mean is made of its tasks' runs, and a gap of two
methods', so their verdicts hang together with those of the tasks: the numbers are drawn anew, runs first, and each
mean and gap computed from them.

    python -m pytest tests/vptcore/analysis/test_by_chance.py
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.special import stdtrit

from vptcore.analysis.published import OUTSIDE, RUNS, WITHIN
from vptcore.analysis.statistics import LEVEL

DRAWS = 10_000
MEAN, GAP, ACCURACY, FULL = "mean", "gap", "accuracy", "full"
# Seeds that did not vary here: their numbers are still outside in one of twenty, and weigh nothing in a mean.
NO_SPREAD = 1e-9


@dataclass(frozen=True)
class ByChance:
    """compared: numbers with a verdict; derived: how many of them are means or gaps; outside: those that are ×.

    expected: how many would be × by chance. p: the probability of so many or more.
    """

    compared: int
    derived: int
    outside: int
    expected: float
    p: float


def by_chance(frame: pd.DataFrame, draws: int = DRAWS, seed: int = 0) -> ByChance:
    """Of a table's frame: method, train, group, task, metric, std, n, verdict, and `mean` as the task of a mean.

    Numbers without a verdict of their own (not run, slips, too noisy) are not counted; their runs are still part of
    the means that are. Every run is drawn from a normal with the std of its cell, here and in the paper (`RUNS` runs).
    """
    judged = frame[frame["verdict"].isin((WITHIN, OUTSIDE))]
    outside = int((judged["verdict"] == OUTSIDE).sum())
    derived = int(((judged["task"] == MEAN) | (judged["metric"] == GAP)).sum())
    rng, counts_R = np.random.default_rng(seed), np.zeros(draws, int)
    for key, part in frame.groupby(["train", "group"], sort=True):
        if not judged[(judged["train"] == key[0]) & (judged["group"] == key[1])].empty:
            counts_R += sum(_outside(part, draws, rng), np.zeros(draws, int))
    p = (1 + int((counts_R >= outside).sum())) / (draws + 1) if outside else 1.0
    return ByChance(len(judged), derived, outside, (1 - LEVEL) * len(judged), p)


def _outside(part: pd.DataFrame, draws: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """(R,) for each judged number of a group at a train size: whether the paper's lies outside the interval of ours."""
    runs = {
        (row.method, row.task): _drawn(max(float(row.std), NO_SPREAD), int(row.n), draws, rng)
        for row in part.itertuples()
        if row.metric == ACCURACY and row.task != MEAN and row.n > 1
    }
    for row in part.itertuples():
        if row.verdict not in (WITHIN, OUTSIDE):
            continue
        if row.metric == GAP:
            yield _gap_outside(runs[row.method, row.task], runs[FULL, row.task])
        elif row.task == MEAN:
            yield _mean_outside([both for (method, _), both in runs.items() if method == row.method])
        else:
            yield _mean_outside([runs[row.method, row.task]])


Runs = tuple[np.ndarray, np.ndarray]


def _drawn(std: float, seeds: int, draws: int, rng: np.random.Generator) -> Runs:
    """(R, S) of ours and (R,) of the paper's mean, about what both estimate."""
    return rng.normal(0, std, (draws, seeds)), rng.normal(0, std / math.sqrt(RUNS), draws)


def _mean_outside(cells: list[Runs]) -> np.ndarray:
    """The rule of `published.verdict` for the mean over tasks: the spread is that of each seed's mean."""
    seeds = min(ours.shape[1] for ours, _ in cells)
    middle_R = np.mean([ours.mean(1) for ours, _ in cells], 0)
    std_R = np.mean([ours[:, :seeds] for ours, _ in cells], 0).std(1, ddof=1)
    half_R = stdtrit(seeds - 1, 0.5 + LEVEL / 2) * std_R * math.sqrt(1 / seeds + 1 / RUNS)
    return np.abs(np.mean([theirs for _, theirs in cells], 0) - middle_R) > half_R


def _gap_outside(one: Runs, other: Runs) -> np.ndarray:
    """The same for the difference of two cells, whose interval is Welch's."""
    shares = [ours.var(1, ddof=1) / ours.shape[1] for ours, _ in (one, other)]
    error_R, seeds = sum(shares), min(ours.shape[1] for ours, _ in (one, other))
    freedom_R = error_R**2 / sum(s**2 / (ours.shape[1] - 1) for s, (ours, _) in zip(shares, (one, other), strict=True))
    half_R = stdtrit(freedom_R, 0.5 + LEVEL / 2) * np.sqrt(error_R * (1 + seeds / RUNS))
    gap_R = one[0].mean(1) - other[0].mean(1)
    return np.abs(one[1] - other[1] - gap_R) > half_R
