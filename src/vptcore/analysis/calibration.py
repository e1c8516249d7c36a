"""Calibration: how often an answer is right that a model is so and so sure of.

In: rows of kind predictions. Out: reliability bins and the expected calibration error (Guo et al. 2017), per seed and
as their mean.

    python -m pytest tests/vptcore/analysis/test_calibration.py
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from vptcore.analysis.statistics import CELL

BINS = 15


def bin_of(confidence: np.ndarray, bins: int = BINS) -> np.ndarray:
    """Which of `bins` equal parts of (0, 1] a confidence lies in, from 0 on; 0 itself lies in the first."""
    return np.clip(np.ceil(np.asarray(confidence, dtype=float) * bins).astype(int) - 1, 0, bins - 1)


def reliability(predictions: pd.DataFrame, bins: int = BINS) -> pd.DataFrame:
    """One row per cell, seed and bin that holds an answer: count, mean confidence, accuracy.

    Answers whose confidence is NaN are left out.
    """
    known = predictions[predictions["confidence"].notna()]
    runs = known.groupby([*CELL, "seed"], sort=False, observed=True)
    confidence = known["confidence"].to_numpy(dtype=float)
    # Millions of answers: counted by number, not by name.
    place = runs.ngroup().to_numpy() * bins + bin_of(confidence, bins)
    size = runs.ngroups * bins
    count = np.bincount(place, minlength=size)
    right = np.bincount(place, (known["prediction"] == known["label"]).to_numpy(dtype=float), minlength=size)
    sums = np.bincount(place, confidence, minlength=size)
    held = np.flatnonzero(count)
    names = known.loc[~known.duplicated([*CELL, "seed"]), [*CELL, "seed"]].iloc[held // bins].reset_index(drop=True)
    return names.assign(
        bin=held % bins, count=count[held], confidence=sums[held] / count[held], accuracy=right[held] / count[held]
    )


def calibration_error(table: pd.DataFrame) -> pd.DataFrame:
    """One row per cell of a `reliability` table: expected calibration error, mean and std over seeds, their number."""
    gaps = table.assign(gap=table["count"] * (table["accuracy"] - table["confidence"]).abs())
    sums = gaps.groupby([*CELL, "seed"], sort=False, observed=True)[["gap", "count"]].sum()
    errors = (sums["gap"] / sums["count"]).rename("ece").reset_index()
    grouped = errors.groupby(CELL, sort=False, observed=True)["ece"]
    return grouped.agg(mean="mean", std="std", n="size").reset_index()
