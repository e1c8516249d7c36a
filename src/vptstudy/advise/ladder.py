"""What is tried next and what goes on, with the training left to whoever calls: `climb` runs studies, a replay looks up
rows that are there.

In: a function that tries arms at rates and says how each did. Out: the best rates of each arm, the arms that stay.
Every value is one a fold: a single split is one fold.

    python -m pytest tests/vptstudy/advise
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from vptstudy.advise.decide import Choice, choose_finalists
from vptstudy.advise.rungs import ARMS, RATES, Arm, beyond

FREE = (Arm("linear").id,)  # on cached features its seeds take seconds


@dataclass(frozen=True)
class Tried:
    """An arm's search. Rates are as the optimizer sees them.

    `best` is the best rate of each fold, and `right` its answers on that fold's val images, (N,) of 0 and 1.
    """

    rates: tuple[float, ...]
    best: tuple[float, ...]
    right: tuple[np.ndarray, ...]
    tuned: int

    @property
    def right_N(self) -> np.ndarray:
        """Over all folds."""
        return np.concatenate(self.right)

    @property
    def accuracy(self) -> float:
        return float(self.right_N.mean())


Try = Callable[[Mapping[Arm, tuple[float, ...]], str], Mapping[Arm, Tried]]


def search(short: Try) -> dict[Arm, Tried]:
    """Every arm's best rates on short schedules. `short` gets {arm: rates}, and a suffix for each further time.

    Accuracy has one summit along the rates: first the second from each end of an arm's grid are tried, then the best
    one's neighbours. A best rate at an end of the grid buys two more beyond it.
    """
    found = dict(short({arm: RATES[arm.method][1::2][:2] for arm in ARMS}, ""))
    for suffix, wanted in (("_near", _neighbours), ("_edge", _beyond)):
        more = {arm: rates for arm, one in found.items() if (rates := wanted(arm, one))}
        for arm, one in short(more, suffix).items() if more else ():
            found[arm] = merged(found[arm], one)
    return found


def _neighbours(arm: Arm, one: Tried) -> tuple[float, ...]:
    """The rates of the grid beside the best ones that were not tried yet."""
    grid = RATES[arm.method]
    at = {_place(grid, rate) for rate in one.best}
    tried = {_place(grid, rate) for rate in one.rates}
    return tuple(grid[k] for k in sorted({k + step for k in at for step in (-1, 1)} - tried) if 0 <= k < len(grid))


def _place(grid: tuple[float, ...], rate: float) -> int:
    """Where a rate is in its grid; a config rounds it to three digits."""
    return min(range(len(grid)), key=lambda k: abs(math.log(grid[k] / rate)))


def _beyond(arm: Arm, one: Tried) -> tuple[float, ...]:
    return tuple(sorted({rate for best in set(one.best) for rate in beyond(RATES[arm.method], best)}))


def merged(first: Tried, second: Tried) -> Tried:
    """Two searches of one arm as one: in each fold the better of both, the smaller rate where they tie."""
    pairs = [
        min(fold, key=lambda one: (-one[1].mean(), one[0]))
        for fold in zip(zip(first.best, first.right, strict=True), zip(second.best, second.right, strict=True),
                        strict=True)
    ]  # fmt: skip
    best, right = zip(*pairs, strict=True)
    return Tried(tuple(sorted({*first.rates, *second.rates})), best, right, first.tuned)


def better_length(found: Mapping[Arm, Tried]) -> dict[Arm, Tried]:
    """One arm a method: of the lengths of prompts the better, the shorter where they tie."""
    best: dict[str, Arm] = {}
    for arm in sorted(found, key=lambda arm: (found[arm].accuracy, -arm.length)):
        best[arm.method] = arm
    return {arm: found[arm] for arm in best.values()}


def cost_of(full: Mapping[Arm, Tried]) -> dict[str, float]:
    """What makes an arm dearer: the numbers it tunes, which have to be stored for every task."""
    return {arm.id: float(one.tuned) for arm, one in full.items()}


def finalists(full: Mapping[Arm, Tried]) -> Choice:
    """Of the methods on full schedules, those whose seeds are run."""
    return choose_finalists({arm.id: one.right_N for arm, one in full.items()}, cost_of(full), FREE)
