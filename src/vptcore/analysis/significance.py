"""Is one method better than another? Per task over test images and over seeds, across tasks by ranks, with correction.

In: rows of kind `final`, and counts of test images that one method gets right and the other wrong. Out: frozen records,
and p values corrected for the number of tests.

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


@dataclass(frozen=True)
class Right:
    """What a cell answered right: `right_SN` (seeds, images) of bool, the images in the order of the index."""

    seeds: tuple[int, ...]
    images_N: np.ndarray
    right_SN: np.ndarray


def right_answers(rows: pd.DataFrame, where: str = "") -> Right:
    """`Right` of a cell, from its rows of kind `predictions`; RowsError where seeds saw other images, or one twice."""
    found, seeds = _correct(rows, where), sorted(rows["seed"].unique())
    images = found[seeds[0]][0]
    for seed in seeds:
        if not np.array_equal(found[seed][0], images):
            raise RowsError(f"{where}: seed {seed} was tested on other images than seed {seeds[0]}; run the cell again")
    return Right(tuple(int(seed) for seed in seeds), images, np.stack([found[seed][1] for seed in seeds]))


def same_images(a: Right, b: Right, where: str = "") -> None:
    """RowsError unless both were tested on the same images."""
    if not np.array_equal(a.images_N, b.images_N):
        raise RowsError(
            f"{where}: seed {a.seeds[0]} was tested on {len(a.images_N):,} images by one method and "
            f"{len(b.images_N):,} by the other, not the same ones; run both again on one split"
        )


def discordant(a: Right, b: Right, where: str = "") -> dict[int, tuple[int, int]]:
    """Seed -> (images that only a got right, only b); seeds that only one side has are left out."""
    same_images(a, b, where)
    shared = [seed for seed in a.seeds if seed in b.seeds]
    pairs = [(a.right_SN[a.seeds.index(seed)], b.right_SN[b.seeds.index(seed)]) for seed in shared]
    return {seed: (int((x & ~y).sum()), int((y & ~x).sum())) for seed, (x, y) in zip(shared, pairs, strict=True)}


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

    `tasks` counts all, `zeros` those without a difference, which take no rank. `least` is the smallest p that so many
    tasks can give, whatever they say: with five, .0625.
    """

    tasks: int
    zeros: int
    statistic: float
    p: float
    effect: float
    least: float


def signed_rank(differences: Sequence[float]) -> SignedRank:
    """Two-sided Wilcoxon signed-rank test of paired differences, one a task; exact, with equal sizes too.

    effect = (sum of ranks of positive differences - of negative ones) / sum of all ranks (Kerby, 2014). One task has no
    test: its p is NaN.
    """
    from scipy.stats import rankdata

    values = np.asarray(differences, dtype=float)
    kept = values[np.abs(values) > TIE]
    if len(kept) == 0:
        return SignedRank(len(values), len(values), NAN, NAN, NAN, NAN)
    # Equal sizes that were summed in another order differ in their last bits, and are ties.
    ranks = rankdata(np.round(np.abs(kept), 9))
    up, down = float(ranks[kept > 0].sum()), float(ranks[kept < 0].sum())
    zeros, effect = len(values) - len(kept), (up - down) / float(ranks.sum())
    if len(values) < 2:
        return SignedRank(len(values), zeros, min(up, down), NAN, effect, NAN)
    return SignedRank(len(values), zeros, min(up, down), _exact_p(ranks, min(up, down)), effect, 2.0 ** (1 - len(kept)))


def _exact_p(ranks: np.ndarray, statistic: float) -> float:
    """P of a sum as small as `statistic` or smaller on either side, were every sign a fair coin.

    The number of sign patterns for each sum is built up rank by rank; ranks of ties are halves, hence the doubling.
    """
    doubled = np.round(2 * ranks).astype(int)
    ways = np.zeros(doubled.sum() + 1)
    ways[0] = 1
    for rank in doubled:
        ways[rank:] = ways[rank:] + ways[:-rank]
    tail = ways[: round(2 * statistic) + 1].sum() / ways.sum()
    return float(min(1.0, 2 * tail))


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
