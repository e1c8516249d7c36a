"""Two methods, or more, on the same images: differences with an interval over seeds and images, and who is best.

In: matrices of right answers, seeds x images, of zeros and ones; every method's columns are the same images in the same
order. Out: a `Contrast`, or a probability for each method.

    python -m pytest tests/vptcore/analysis/test_paired.py
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from scipy.special import stdtr, stdtrit

from vptcore.analysis.statistics import LEVEL, Difference, Estimate

REPEATS = 2000
# More seeds or images than this are no advice.
MOST_SEEDS, MOST_IMAGES = 200, 10_000_000
# Among arms simulated with 20, 50, 200 and 1,000 validation images, a bootstrap that says .95 is right in .78, .86, .93
# and .99 of the cases; shrinking by images / (images + 12) towards "any of them" says just that.
SHRINKING_IMAGES = 12


@dataclass(frozen=True)
class Contrast(Difference):
    """a - b with its 95 % interval and two-sided p.

    `seeds_variance` and `images_variance` are the variances of the difference that another draw of seeds, or of test
    images, would bring; `shared_variance` is what both count. `images` is 0 where no predictions are known: then the
    interval is over seeds alone. low, high and p are NaN where a side has one seed.
    """

    seeds_variance: float = math.nan
    images_variance: float = 0.0
    shared_variance: float = 0.0
    freedom: float = math.nan
    seeds: int = 0
    images: int = 0

    @property
    def variance(self) -> float:
        return total_variance(self.seeds_variance, self.images_variance, self.shared_variance)

    def scaled(self, factor: float) -> Contrast:
        squared = {f"{part}_variance": getattr(self, f"{part}_variance") * factor**2 for part in _PARTS}
        linear = {name: getattr(self, name) * factor for name in ("difference", "low", "high")}
        return replace(self, **squared, **linear)


_PARTS = ("seeds", "images", "shared")


def total_variance(seeds: float, images: float, shared: float) -> float:
    """Of a difference that varies with seeds and images: their sum less what both count, never below either.

    Cameron, Gelbach and Miller (2011): variance clustered by seed + clustered by image - by neither.
    """
    return max(seeds + images - shared, seeds, images)


def paired_difference(a_SN: np.ndarray, b_SN: np.ndarray) -> Contrast:
    """Mean of `a_SN` minus mean of `b_SN`, with an interval over seeds and images.

    a_SN, b_SN: (seeds, images) of 0 and 1; each side may have its own number of seeds, whose randomness is its own;
    the images are the same. The variance over images is that of the per-image differences, paired; over seeds it is
    Welch's. Student's t with the degrees of freedom of Satterthwaite. ValueError for images that differ in number.
    """
    a_SN, b_SN = (np.atleast_2d(np.asarray(side, dtype=float)) for side in (a_SN, b_SN))
    if a_SN.shape[1] != b_SN.shape[1] or not a_SN.size:
        raise ValueError(f"paired difference: {a_SN.shape[1]} and {b_SN.shape[1]} images; expected the same ones")
    N = a_SN.shape[1]
    seeds = min(len(a_SN), len(b_SN))
    gap_N = a_SN.mean(0) - b_SN.mean(0)
    images = float(gap_N.var(ddof=1) / N) if N > 1 else 0.0
    parts = [_seeds_variance(side) for side in (a_SN, b_SN)]
    shared = sum(_shared_variance(side) for side in (a_SN, b_SN))
    blank = Contrast(float(gap_N.mean()), math.nan, math.nan, math.nan, sum(parts), images, shared, math.nan, seeds, N)
    weighted = [(parts[0], len(a_SN) - 1), (parts[1], len(b_SN) - 1), (blank.variance - sum(parts), N - 1)]
    return with_interval(blank, weighted) if seeds > 1 else blank


def over_seeds_alone(a: Estimate, b: Estimate) -> Contrast:
    """a - b by Welch's test, where it is not known which images each side got right."""
    parts = [(side.std**2 / side.n, side.n - 1) for side in (a, b) if side.n > 1]
    seeds = min(a.n, b.n)
    variance = sum(part for part, _ in parts) if len(parts) == 2 else math.nan
    blank = Contrast(a.mean - b.mean, math.nan, math.nan, math.nan, variance, seeds=seeds)
    return with_interval(blank, parts) if seeds > 1 else blank


def _seeds_variance(side_SN: np.ndarray) -> float:
    """Variance of the mean accuracy over seeds; NaN for one seed."""
    return float(side_SN.mean(1).var(ddof=1) / len(side_SN)) if len(side_SN) > 1 else math.nan


def _shared_variance(side_SN: np.ndarray) -> float:
    """Variance of the mean by what belongs to one seed and one image: what is left when both means are taken out."""
    S, N = side_SN.shape
    if S < 2 or N < 2:
        return 0.0
    left_SN = side_SN - side_SN.mean(1, keepdims=True) - side_SN.mean(0) + side_SN.mean()
    return float((left_SN**2).sum() / ((S - 1) * (N - 1)) / (S * N))


def with_interval(contrast: Contrast, weighted: list[tuple[float, float]]) -> Contrast:
    """`contrast` with t interval and p; `weighted` are the variances it is made of, with their degrees of freedom."""
    variance = contrast.variance
    if not variance > 0:
        middle = contrast.difference
        return replace(contrast, low=middle, high=middle, p=math.nan)
    parts = [(value / variance, freedom) for value, freedom in weighted if value > 0]
    # All of it may be shared by seeds and images, as where every seed gets as many right, of other images.
    parts = parts or [(1.0, max(freedom for _, freedom in weighted))]
    freedom = sum(share for share, _ in parts) ** 2 / sum(share**2 / of for share, of in parts)
    error = math.sqrt(variance)
    half = float(stdtrit(freedom, 0.5 + LEVEL / 2)) * error
    middle = contrast.difference
    p = float(2 * stdtr(freedom, -abs(middle) / error))
    return replace(contrast, low=middle - half, high=middle + half, p=p, freedom=freedom)


@dataclass(frozen=True)
class More:
    """What would settle a difference: so many more seeds, or so many more test images; None where it alone cannot."""

    seeds: int | None
    images: int | None


def more_needed(contrast: Contrast, rope: float) -> More:
    """How many more seeds, or test images, would make the interval clear of 0, or fit into +-`rope`.

    Expects that the difference and the variances stay as they are; whichever of both answers is nearer is aimed at.
    `rope` is in the unit of the contrast.
    """
    goal = max(abs(contrast.difference), rope - abs(contrast.difference))
    return More(_more_seeds(contrast, goal), _more_images(contrast, goal))


def _more_seeds(c: Contrast, goal: float) -> int | None:
    if c.seeds < 2 or math.isnan(c.seeds_variance):
        return None
    for seeds in range(c.seeds + 1, MOST_SEEDS + 1):
        share = c.seeds / seeds
        variance = total_variance(c.seeds_variance * share, max(c.images_variance - (1 - share) * c.shared_variance, 0),
                                  c.shared_variance * share)  # fmt: skip
        if float(stdtrit(2 * (seeds - 1), 0.5 + LEVEL / 2)) * math.sqrt(variance) < goal:
            return seeds - c.seeds
    return None


def _more_images(c: Contrast, goal: float) -> int | None:
    if not c.images or math.isnan(c.freedom):
        return None
    wanted = (goal / float(stdtrit(c.freedom, 0.5 + LEVEL / 2))) ** 2
    # What seeds add by themselves stays however many images there are; the rest shrinks with their number.
    stays = max(c.seeds_variance - c.shared_variance, 0.0)
    if wanted <= stays or c.variance <= wanted:
        return None
    images = math.ceil(c.images * (c.variance - stays) / (wanted - stays))
    return images - c.images if images <= MOST_IMAGES else None


def chance_of_best(
    right: Mapping[str, np.ndarray], repeats: int = REPEATS, seed: int = 0, *, shrink: bool = True
) -> dict[str, float]:
    """Method -> probability that it is the best, by a joint bootstrap over images and seeds.

    `right`: method -> (seeds, images) of 0 and 1, all on the same images; seeds may differ in number. Every resample
    draws the images once for all methods, and each method's seeds anew; methods that tie for the best share it. The
    probabilities sum to 1. `shrink` draws them towards 1 / methods, by 12 / (images + 12) of the way, because a
    bootstrap of few images is too sure. ValueError without methods, or where the images differ in number.
    """
    sides = {name: np.atleast_2d(np.asarray(side, dtype=float)) for name, side in right.items()}
    widths = {side.shape[1] for side in sides.values()}
    if len(widths) != 1 or 0 in widths:
        raise ValueError(f"chance of being best: {sorted(widths)} images; expected one number, the same ones for all")
    N = widths.pop()
    rng = np.random.default_rng(seed)
    images_RN = rng.multinomial(N, np.full(N, 1 / N), size=repeats).astype(float)
    scores_RM = np.stack([_resampled(side, images_RN, rng) for side in sides.values()], axis=1)
    best_RM = scores_RM >= scores_RM.max(1, keepdims=True) - 1e-12
    chances = (best_RM / best_RM.sum(1, keepdims=True)).mean(0)
    if shrink:
        chances = shrunk(chances, N)
    return dict(zip(sides, chances.tolist(), strict=True))


def _resampled(side_SN: np.ndarray, images_RN: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(R,): accuracy on each resample of the images, seeds drawn anew."""
    S, N = side_SN.shape
    by_seed_RS = images_RN @ side_SN.T / N
    drawn_RS = rng.multinomial(S, np.full(S, 1 / S), size=len(images_RN)) / S
    return np.round((by_seed_RS * drawn_RS).sum(1), 12)


def shrunk(chances: np.ndarray, images: int) -> np.ndarray:
    """Probabilities of so many outcomes, drawn towards equal ones where they rest on few images."""
    kept = images / (images + SHRINKING_IMAGES)
    return kept * np.asarray(chances) + (1 - kept) / len(chances)
