"""Is one method better than another? Per task over test images and over seeds, across tasks by ranks, with correction.

In: rows of kind `final`, and counts of test images that one method gets right and the other wrong. Out: frozen records,
and p values corrected for the number of tests.stats, which loads slowly, where it is called.

    python -m pytest tests/vptcore/analysis/test_significance.py
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from vptcore.analysis.statistics import TIE
from vptcore.records import RowsError

NAN = math.nan


@dataclass(frozen=True)
class McNemar:
    """Test images that only a got right (`only_a`) or only b, and the two-sided p values of their imbalance."""

    only_a: int
    only_b: int
    exact: float
    mid: float


def mcnemar(only_a: int, only_b: int) -> McNemar:
    """McNemar's exact test, and its mid-p form, which is less conservative where images are few (Fagerland et al.,
    2013).

    Under the hypothesis each image on which the two differ is a fair coin: exact = 2 P(X <= smaller side), mid = exact
    less the probability of what was seen. Without such images both are 1.
    """
    from scipy.stats import binom

    differ, fewer = only_a + only_b, min(only_a, only_b)
    tail, seen = binom.cdf(fewer, differ, 0.5), binom.pmf(fewer, differ, 0.5)
    # Where both sides are equal nothing is as unlikely or more, but for what was seen, which counts by half.
    mid = 1 - seen / 2 if only_a == only_b and differ else 2 * tail - seen
    return McNemar(only_a, only_b, float(min(1.0, 2 * tail)), float(min(1.0, mid)))


def discordant(a: pd.DataFrame, b: pd.DataFrame, where: str = "") -> dict[int, tuple[int, int]]:
    """Seed -> (images that only a got right, only b), over rows of kind `predictions` with the same test images.

    Seeds that only one side has are left out; `RowsError` for repeated rows, or test images that differ.
    """
    sides = [_correct(side, where) for side in (a, b)]
    found = {}
    for seed in sorted(set(sides[0]) & set(sides[1])):
        (rows_a, right_a), (rows_b, right_b) = sides[0][seed], sides[1][seed]
        if not np.array_equal(rows_a, rows_b):
            raise RowsError(
                f"{where}: seed {seed} was tested on {len(rows_a):,} images by one method and {len(rows_b):,} by the "
                "other, not the same ones; run both again on one split"
            )
        found[int(seed)] = int((right_a & ~right_b).sum()), int((right_b & ~right_a).sum())
    return found


def _correct(side: pd.DataFrame, where: str) -> dict[int, tuple[np.ndarray, np.ndarray]]:
    """Seed -> (index rows in order, whether each was answered right)."""
    found = {}
    for seed, rows in side.groupby("seed", sort=False):
        order = np.argsort(rows["row"].to_numpy(), kind="stable")
        images = rows["row"].to_numpy()[order]
        if len(images) > 1 and (images[1:] == images[:-1]).any():
            raise RowsError(f"{where}: seed {seed} has two predictions for one image; expected one row per image")
        found[seed] = images, (rows["label"].to_numpy() == rows["prediction"].to_numpy())[order]
    return found


def over_seeds(p_values: Sequence[float]) -> float:
    """One p for tests that share their test images, one a seed: twice the median, at most 1.

    Valid however the tests depend on each other (Rueschendorf, 1982; Vovk and Wang, 2020); Fisher's product is not.
    """
    if len(p_values) == 1:
        return float(p_values[0])
    return float(min(1.0, 2 * np.median(p_values))) if len(p_values) else NAN


@dataclass(frozen=True)
class SignedRank:
    """Wilcoxon's test across tasks: `effect` is the matched-pairs rank-biserial correlation, from -1 to 1.

    `tasks` counts all, `zeros` those without a difference, which take no rank.
    """

    tasks: int
    zeros: int
    statistic: float
    p: float
    effect: float


def signed_rank(differences: Sequence[float]) -> SignedRank:
    """Two-sided Wilcoxon signed-rank test of paired differences, one a task; exact where no two are equal in size.

    effect = (sum of ranks of positive differences - of negative ones) / sum of all ranks (Kerby, 2014).
    """
    from scipy.stats import rankdata, wilcoxon

    values = np.asarray(differences, dtype=float)
    kept = values[np.abs(values) > TIE]
    if len(kept) == 0:
        return SignedRank(len(values), len(values), NAN, NAN, NAN)
    # Equal sizes that were summed in another order differ in their last bits, and are ties.
    sizes = np.round(np.abs(kept), 9)
    ranks = rankdata(sizes)
    up, down = ranks[kept > 0].sum(), ranks[kept < 0].sum()
    tied = len(np.unique(sizes)) < len(sizes)
    found = wilcoxon(np.sign(kept) * sizes, method="approx" if tied else "exact", correction=tied)
    effect = (up - down) / ranks.sum()
    return SignedRank(len(values), len(values) - len(kept), float(min(up, down)), float(found.pvalue), float(effect))


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down correction, in the order given; NaN stays NaN and is not counted among the tests."""
    values = np.asarray(p_values, dtype=float)
    known = np.flatnonzero(~np.isnan(values))
    order = known[np.argsort(values[known], kind="stable")]
    steps = np.minimum(1.0, values[order] * np.arange(len(order), 0, -1))
    corrected = np.full(len(values), NAN)
    corrected[order] = np.maximum.accumulate(steps)
    return corrected.tolist()


def pair_p(counts: Mapping[int, tuple[int, int]]) -> tuple[float, float, float, float]:
    """Mean images that only a, and only b, got right, and the exact and mid p values over the seeds."""
    if not counts:
        return NAN, NAN, NAN, NAN
    tests = [mcnemar(*pair) for pair in counts.values()]
    only_a, only_b = (float(np.mean([getattr(test, name) for test in tests])) for name in ("only_a", "only_b"))
    return only_a, only_b, over_seeds([t.exact for t in tests]), over_seeds([t.mid for t in tests])
