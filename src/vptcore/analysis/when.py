"""When does VPT beat full fine-tuning? Their difference against the number of images, the distance and the objective.

In: one row per task and setting, with the difference in points. Out: slopes and crossing sizes with intervals from a
bootstrap over tasks, and how often the sign of a task that was left out is called right.

    python -m pytest tests/vptcore/analysis/test_when.py
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.special import ndtr, ndtri, stdtrit

from vptcore.analysis.statistics import LEVEL

REPEATS = 4000
LEAST_TASKS = 3
# Of the normal prior on standardised coefficients that keeps a logistic fit finite where one side is never seen.
RIDGE = 1e-3
NAN = math.nan


@dataclass(frozen=True)
class Interval:
    """An estimate with its 95 % percentile interval over resampled tasks; NaN where there is none."""

    value: float = NAN
    low: float = NAN
    high: float = NAN

    @property
    def excludes_zero(self) -> bool:
        return self.low > 0 or self.high < 0


@dataclass(frozen=True)
class Trend:
    """VPT - FT along the number of training images.

    `slope`: points per doubling. `crossing`: the number of images at which the line is 0; NaN, as its interval is,
    unless the slope's interval excludes 0: a line that may be level crosses nowhere.
    """

    slope: Interval
    crossing: Interval
    tasks: int
    cells: int


@dataclass(frozen=True)
class Called:
    """Leave-one-task-out calls of the sign of VPT - FT.

    `accuracy`: share of cells called right; `brier`: mean squared error of the probability; `base`: the share that the
    more frequent sign has, which is what calling nothing gives.
    """

    accuracy: float
    brier: float
    base: float
    cells: int


def trend(points: pd.DataFrame, repeats: int = REPEATS, seed: int = 0, *, expanded: bool = True) -> Trend:
    """A least-squares line through all cells of some tasks, `points` with columns task, images, gap.

    Whole tasks are resampled, with all their sizes: cells of a task are alike. `expanded`: see `_interval`.
    """
    tasks, cells = points["task"].nunique(), len(points)
    if tasks < LEAST_TASKS or points["images"].nunique() < 2:
        return Trend(Interval(), Interval(), tasks, cells)
    X = np.column_stack([np.ones(cells), np.log2(points["images"].to_numpy(float))])
    fit, drawn = _least_squares(X, points, repeats, seed)
    level = _level(tasks, X.shape[1], expanded=expanded)
    slope = _interval(fit[1], drawn[:, 1], level)
    if not slope.excludes_zero:
        return Trend(slope, Interval(), tasks, cells)
    falls = drawn[np.sign(drawn[:, 1]) == np.sign(slope.value)]
    crossings = np.exp2(np.clip(-falls[:, 0] / falls[:, 1], -50, 50))
    return Trend(slope, _interval(2.0 ** (-fit[0] / fit[1]), crossings, level), tasks, cells)


def influences(
    points: pd.DataFrame, terms: Sequence[str], repeats: int = REPEATS, seed: int = 0
) -> dict[str, Interval]:
    """Term -> its coefficient in one least-squares fit of the gap on all terms, with an interval over tasks.

    Terms are numeric columns of `points`. Those that do not vary, or that the others make up, are NaN.
    """
    names = [term for term in terms if points[term].nunique() > 1]
    X = np.column_stack([np.ones(len(points)), *(points[name].to_numpy(float) for name in names)])
    unknown = dict.fromkeys(terms, Interval())
    tasks = points["task"].nunique()
    if tasks <= max(LEAST_TASKS - 1, X.shape[1]) or np.linalg.matrix_rank(X) < X.shape[1] or len(points) <= X.shape[1]:
        return unknown
    fit, drawn = _least_squares(X, points, repeats, seed)
    level = _level(tasks, X.shape[1])
    return unknown | {name: _interval(fit[i], drawn[:, i], level) for i, name in enumerate(names, 1)}


def _least_squares(X: np.ndarray, points: pd.DataFrame, repeats: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """(P,) coefficients of all tasks, (R, P) of resampled ones, those that no fit exists for left out.

    Each task adds its own X'X and X'y, so that a resample is a weighted sum of them.
    """
    y, groups = points["gap"].to_numpy(float), points.groupby("task", sort=False).indices.values()
    XX_TPP = np.stack([X[rows].T @ X[rows] for rows in groups])
    Xy_TP = np.stack([X[rows].T @ y[rows] for rows in groups])
    T = len(XX_TPP)
    weights_RT = np.random.default_rng(seed).multinomial(T, np.full(T, 1 / T), size=repeats).astype(float)
    XX_RPP, Xy_RP = np.tensordot(weights_RT, XX_TPP, 1), weights_RT @ Xy_TP
    # Resamples that lack a level of a term have no fit; a condition number tells them whatever the units.
    known = np.linalg.cond(XX_RPP) < 1e12
    drawn = np.linalg.solve(XX_RPP[known], Xy_RP[known][..., None])[..., 0]
    return np.linalg.solve(XX_TPP.sum(0), Xy_TP.sum(0)), drawn


def _level(tasks: int, fitted: int, *, expanded: bool = True) -> float:
    """The percentile that an interval starts at.

    Plain percentiles of so few tasks are too narrow. Expanded ones (Hesterberg, 2015) are those of the normal quantile
    t(f) x sqrt(tasks / f) with f = tasks - fitted, which for a mean (one number fitted) gives Student's interval.
    """
    freedom = tasks - fitted
    quantile = stdtrit(freedom, 0.5 + LEVEL / 2) * math.sqrt(tasks / freedom) if expanded else ndtri(0.5 + LEVEL / 2)
    return 100 * float(ndtr(-quantile))


def _interval(value: float, drawn: np.ndarray, level: float) -> Interval:
    low, high = np.percentile(drawn, [level, 100 - level]) if len(drawn) else (NAN, NAN)
    return Interval(float(value), float(low), float(high))


def call_signs(points: pd.DataFrame, terms: Sequence[str]) -> Called:
    """Who is ahead on each task, called by a logistic fit on all other tasks. `terms`: numeric columns of `points`.

    A tie counts as FT's, as the paper counts wins.
    """
    ahead = (points["gap"] > 0).to_numpy(float)
    X = np.column_stack([np.ones(len(points)), *(_standardised(points[term]) for term in terms)])
    chances = np.full(len(points), NAN)
    for rows in points.groupby("task", sort=False).indices.values():
        others = np.setdiff1d(np.arange(len(points)), rows)
        if len(others):
            chances[rows] = 1 / (1 + np.exp(-X[rows] @ logistic(X[others], ahead[others])))
    share = float(ahead.mean()) if len(ahead) else NAN
    return Called(
        float(((chances > 0.5) == ahead).mean()),
        float(((chances - ahead) ** 2).mean()),
        max(share, 1 - share),
        len(points),
    )


def _standardised(values: pd.Series) -> np.ndarray:
    values = values.to_numpy(float)
    return (values - values.mean()) / (values.std() or 1.0)


def logistic(X: np.ndarray, y: np.ndarray, steps: int = 50) -> np.ndarray:
    """Coefficients of a logistic regression by Newton's method; the first column of X is the intercept."""
    ridge = RIDGE * np.eye(X.shape[1])
    ridge[0, 0] = RIDGE / 10
    coefficients = np.zeros(X.shape[1])
    for _ in range(steps):
        chance = 1 / (1 + np.exp(-np.clip(X @ coefficients, -35, 35)))
        gradient = X.T @ (y - chance) - ridge @ coefficients
        step = np.linalg.solve(X.T @ (X * (chance * (1 - chance))[:, None]) + ridge, gradient)
        coefficients = coefficients + np.clip(step, -5, 5)
        if np.abs(step).max() < 1e-10:
            break
    return coefficients
