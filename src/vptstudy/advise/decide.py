"""What the rungs' rows say: an arm's best rate, which arms stay, which two are tried under every seed, and who won.

In: rows of searches and predictions, as matrices of right answers. Out: plain values; nothing is read or trained here.
The engine is the joint bootstrap of `vptcore.analysis.paired` and its paired intervals.

    python -m pytest tests/vptstudy/advise
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from vptcore.analysis.evidence import NEITHER, A, B, judge_task
from vptcore.analysis.paired import Contrast, chance_of_best, paired_difference
from vptcore.analysis.statistics import percent
from vptcore.wording import plural

LEAST_CHANCE = 0.01
ROPE = 1.0  # points of accuracy that make no practical difference
FINALISTS = 2


@dataclass(frozen=True)
class Drop:
    """An arm that goes no further, and why, as a person reads it; `alike` where only its price spoke against it."""

    arm: str
    why: str
    alike: bool = False


@dataclass(frozen=True)
class Choice:
    """Who is tested, best on val first; who is not; and each one's chance of being the best of all."""

    finalists: tuple[str, ...]
    dropped: tuple[Drop, ...]
    chances: Mapping[str, float]

    @property
    def alike(self) -> bool:
        """Whether a method that does not go on was as good as one that is cheaper."""
        return any(drop.alike for drop in self.dropped)


def choose_finalists(
    right: Mapping[str, np.ndarray], cost: Mapping[str, float], free: Collection[str] = (), rope: float = ROPE
) -> Choice:
    """Two of the arms, by their answers on the same val images, and those of `free` that are not dropped.

    `right`: arm -> (N,) of 0 and 1; `cost`: arm -> anything that grows with its price, such as the numbers it tunes.
    `free` arms cost nothing to test, and take no other's place. An arm is dropped when its chance of being the best is
    below 1 %, or when it is dearer than another and the interval of the difference lies within +-`rope` points: then
    the price decides. The best on val is never dropped for the first reason, and of those left the two best stay.
    """
    chances = chance_of_best({arm: row[None] for arm, row in right.items()}, shrink=True)
    score = {arm: float(np.mean(row)) for arm, row in right.items()}
    ranked = sorted(right, key=lambda arm: (-score[arm], cost[arm]))
    said = {arm: f"chance of being the best {percent(chance)} %" for arm, chance in chances.items()}
    dropped = [Drop(arm, said[arm]) for arm in ranked if chances[arm] < LEAST_CHANCE]
    staying = [arm for arm in ranked if chances[arm] >= LEAST_CHANCE] or ranked[:1]
    for arm in list(staying):
        rival = next((o for o in staying if cost[o] < cost[arm] and _same(right[arm], right[o], rope)), None)
        if rival:
            dropped.append(Drop(arm, f"dearer than {rival} and within {plural(rope, 'point')} of it", alike=True))
            staying.remove(arm)
    late = [arm for arm in staying if arm not in free][FINALISTS:]
    dropped += [Drop(arm, f"third or later on val, {said[arm]}") for arm in late]
    return Choice(tuple(arm for arm in staying if arm not in late), tuple(dropped), chances)


def _same(a_N: np.ndarray, b_N: np.ndarray, rope: float) -> bool:
    """Whether the 95 % interval of the difference over val images lies within +-rope points."""
    gap_N = 100 * (np.asarray(a_N, float) - np.asarray(b_N, float))
    half = 1.96 * gap_N.std(ddof=1) / math.sqrt(len(gap_N)) if len(gap_N) > 1 else math.inf
    return abs(gap_N.mean()) + half <= rope


@dataclass(frozen=True)
class Verdict:
    """`take` is the arm to use; `clear` whether the images say so, or only its price. In points of accuracy.

    `contrast` is `take` minus `other`, None where there is one finalist; `more` the further test images that would
    settle an open answer, None where they cannot or need not.
    """

    take: str
    other: str
    clear: bool
    same: bool
    contrast: Contrast | None
    more: int | None = None


def decide(
    right: Mapping[str, np.ndarray], cost: Mapping[str, float], free: Collection[str] = (), rope: float = ROPE
) -> Verdict:
    """The verdict of the finalists: the cheapest of those that no other beats clearly, and what it was held against.

    `right`: arm -> (seeds, test images) of 0 and 1. Every pair is compared, since two that cannot be told from a third
    may well be told from each other. A method is held against the other method, and one that is `free` against the
    best of the others.
    """
    if len(right) == 1:
        return Verdict(next(iter(right)), "", clear=True, same=False, contrast=None)
    duels = {frozenset(pair): _duel({arm: right[arm] for arm in pair}, cost, rope) for pair in combinations(right, 2)}
    beaten = {duel.other for duel in duels.values() if duel.clear}  # never the best of all
    take = min((arm for arm in right if arm not in beaten), key=lambda arm: cost[arm])
    rivals = sorted(set(right) - {take}, key=lambda arm: (take not in free and arm in free, -right[arm].mean(), arm))
    return next(duel for arm in rivals if (duel := duels[frozenset((take, arm))]).take == take)


def _duel(right: Mapping[str, np.ndarray], cost: Mapping[str, float], rope: float) -> Verdict:
    a, b = right
    finding = judge_task(paired_difference(right[a], right[b]).scaled(100), rope)
    clear = finding.answer in (A, B)
    take = {A: a, B: b}.get(finding.answer, min(right, key=lambda arm: cost[arm]))
    other = b if take == a else a
    contrast = paired_difference(right[take], right[other]).scaled(100)
    return Verdict(take, other, clear, finding.answer == NEITHER, contrast, None if clear else finding.more.images)


def balanced(right_N: np.ndarray, labels_N: np.ndarray) -> float:
    """Mean over classes of the share of each class's images that are right."""
    return float(np.mean([right_N[labels_N == label].mean() for label in np.unique(labels_N)]))
