"""One image per class for train and another for val: which, out of a pool (paper Appendix G.4).

In: the pool's rows in a seeded order, their labels and, for the two rules that look at images, the task's array. Out:
arrays of rows in the order of the classes: train, val, and where several picks are asked for as many more of train.
Test images are never looked at. A rule of DRAWN picks others; the other two rules know one pick.

- `first`: the first two of each class in the source's order.
- `random`: the first two of each class in the seeded order.
- `medoid`: the two with the least mean distance to the others of their class.
- `iterative`: the paper's "iterative testing", written down: draw one image per class `DRAWS` times; score each draw by
  the accuracy with which its images, as nearest neighbours, label the rest of the pool; take the first draw whose
  accuracy lies within one standard deviation of the draws' mean, the paper's "reasonable range". Val is drawn likewise
  from what train leaves.

Distances are Euclidean between thumbnails of `THUMB` pixels a side: no network has a say in which images it sees.

    python -m pytest tests/vptcore/data/test_one_shot.py
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd

DRAWS, THUMB = 20, 8
Picked = tuple[np.ndarray, ...]
Pick = Callable[[pd.Series, np.ndarray | None, int, int], Picked]


def first(pool: pd.Series, images: np.ndarray | None, seed: int, picks: int = 1) -> Picked:
    return _nth(pool.sort_index(), 0), _nth(pool.sort_index(), 1)


def drawn(pool: pd.Series, images: np.ndarray | None, seed: int, picks: int = 1) -> Picked:
    again = [pool.iloc[np.random.default_rng([seed, 2, pick]).permutation(len(pool))] for pick in range(1, picks)]
    return _nth(pool, 0), _nth(pool, 1), *(_nth(other, 0) for other in again)


def _nth(pool: pd.Series, n: int) -> np.ndarray:
    """The n-th image of each class that has as many, in the order of the classes."""
    return pool[pool.groupby(pool).cumcount() == n].sort_values(kind="stable").index.to_numpy()


def medoid(pool: pd.Series, images: np.ndarray | None, seed: int, picks: int = 1) -> Picked:
    x_ND = thumbnails(images, pool.index.to_numpy())
    total = pd.Series(0.0, pool.index)
    for label in pool.unique():
        mine = (pool == label).to_numpy()
        total[mine] = [np.linalg.norm(x_ND[mine] - x_D, axis=1).sum() for x_D in x_ND[mine]]
    nearest = pool.loc[total.sort_values(kind="stable").index]
    return _nth(nearest, 0), _nth(nearest, 1)


def iterative(pool: pd.Series, images: np.ndarray | None, seed: int, picks: int = 1) -> Picked:
    x_ND, rng = thumbnails(images, pool.index.to_numpy()), np.random.default_rng(seed)
    train = _representative(pool, x_ND, rng)
    left = ~pool.index.isin(train)
    val = _representative(pool[left], x_ND[left], rng) if left.any() else np.empty(0, int)
    more = (np.random.default_rng([seed, 2, pick]) for pick in range(1, picks))
    return train, val, *(_representative(pool, x_ND, other) for other in more)


def _representative(pool: pd.Series, x_ND: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The first of `DRAWS` draws whose accuracy is in the reasonable range; rows in the order of the classes."""
    labels, places = pool.to_numpy(), np.arange(len(pool))
    draws = []
    for _ in range(DRAWS):
        order = rng.permutation(places)
        _, at = np.unique(labels[order], return_index=True)  # the first of each class in this order
        draws.append(order[at])
    scores = np.array([_accuracy(x_ND, labels, draw) for draw in draws])
    # Equal scores have no spread, and rounding must not put them all outside it.
    near = np.abs(scores - scores.mean()) <= scores.std() + 1e-12
    return pool.index.to_numpy()[draws[int(np.flatnonzero(near)[0])]]


def _accuracy(x_ND: np.ndarray, labels: np.ndarray, chosen: np.ndarray) -> float:
    """How often the nearest of the chosen images has the label of an image that was not chosen."""
    rest = np.setdiff1d(np.arange(len(labels)), chosen)
    if not len(rest):
        return 1.0
    squares_C = (x_ND[chosen] ** 2).sum(1)
    nearest = (squares_C - 2 * x_ND[rest] @ x_ND[chosen].T).argmin(1)
    return float((labels[chosen][nearest] == labels[rest]).mean())


def thumbnails(images: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """(N, D) float32 in [0, 1]: means over blocks, read image by image from the memory-mapped array."""
    height, width = images.shape[1:3]
    tops, lefts = (np.linspace(0, n, min(THUMB, n), endpoint=False).astype(int) for n in (height, width))
    shares = np.diff([*tops, height])[:, None] * np.diff([*lefts, width])
    x_ND = np.empty((len(rows), shares.size * images.shape[3]), np.float32)
    for place, row in enumerate(rows):
        blocks = np.add.reduceat(np.add.reduceat(images[row].astype(np.float32), tops, axis=0), lefts, axis=1)
        x_ND[place] = (blocks / shares[..., None] / 255).ravel()
    return x_ND


SELECTIONS: dict[str, Pick] = {"first": first, "random": drawn, "medoid": medoid, "iterative": iterative}
LOOKS = ("medoid", "iterative")  # rules that read the images
DRAWN = ("random", "iterative")  # rules that another draw gives other images


def of_pick(part: str, pick: int) -> str:
    """The part of a split that holds a pick: 'train' for the first, 'train_2' for the second."""
    return f"{part}_{pick + 1}" if pick else part
