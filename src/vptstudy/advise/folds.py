"""Which images are trained on, chosen by and tested on: classes dealt out evenly, what belongs together on one side.

In: labels, and a bundle an image (`bundles`): near-duplicates, and images of one group. Out: a fold an image, or the
parts of each fold. A folder of few images is tested wholly, by five folds; of more, a fifth is set aside.

    python -m pytest tests/vptstudy/advise/test_folds.py
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

FOLDS = 5
FEW = 500  # images, below which a fifth of them would be too few to test on


def in_folds(own: frozenset[str], images: int) -> bool:
    """Whether so many images are tested in folds; `own` are the splits that the person made."""
    return not own & {"val", "test"} and images < FEW


def bundles(count: int, pairs: Iterable[tuple[int, int]], groups: Sequence[str] = ()) -> np.ndarray:
    """(N,): a number an image, the same for all that are joined by pairs, or by a group, directly or not."""
    links = list(pairs)
    first: dict[str, int] = {}
    links += [(first.setdefault(group, row), row) for row, group in enumerate(groups)]
    a, b = np.array(links or [(0, 0)]).T
    return connected_components(coo_array((np.ones(len(a)), (a, b)), shape=(count, count)), directed=False)[1]


def dealt(labels_N: np.ndarray, folds: int, seed: int, bundle_N: np.ndarray | None = None) -> np.ndarray:
    """(N,): the fold of each image.

    Without bundles the folds' sizes, and a class's share of each, differ by at most one image. A bundle stays together:
    the largest is dealt first, each to the fold that lacks its classes most.
    """
    labels_N = np.asarray(labels_N)
    order = np.random.default_rng(seed).permutation(len(labels_N))
    if bundle_N is not None and len(np.unique(bundle_N)) < len(labels_N):
        return _by_bundle(labels_N, folds, np.asarray(bundle_N), order)
    order = order[np.argsort(labels_N[order], kind="stable")]
    fold_N = np.empty(len(order), int)
    fold_N[order] = np.arange(len(order)) % folds
    return fold_N


def _by_bundle(labels_N: np.ndarray, folds: int, bundle_N: np.ndarray, order: np.ndarray) -> np.ndarray:
    names, of_N = np.unique(bundle_N, return_inverse=True)
    _, label_N = np.unique(labels_N, return_inverse=True)
    counts_BC = np.zeros((len(names), label_N.max() + 1))
    np.add.at(counts_BC, (of_N, label_N), 1)
    share_C = counts_BC.sum(0) / folds
    shuffled = list(dict.fromkeys(of_N[order].tolist()))
    held_FC, fold_B = np.zeros((folds, len(share_C))), np.empty(len(names), int)
    for bundle in sorted(shuffled, key=lambda b: -counts_BC[b].sum()):
        after_FC = (held_FC + counts_BC[bundle]) / share_C
        # By how much the sum of squares grows, each class in units of its share; then the fold with fewer images.
        grows_F = (after_FC**2 - (held_FC / share_C) ** 2).sum(1)
        fold_B[bundle] = np.lexsort((held_FC.sum(1), grows_F.round(9)))[0]
        held_FC[fold_B[bundle]] += counts_BC[bundle]
    return fold_B[of_N]


def parts_of(
    labels_N: np.ndarray, splits: Sequence[str], bundle_N: np.ndarray, *, own: frozenset[str], seed: int = 0
) -> list[np.ndarray]:
    """(N,) of train, val and test for each fold. `splits` are the images' own; those named in `own` stay as they are.

    A val or test that is not the person's own is a fifth. Five folds where neither is and the images are few.
    """
    splits = np.asarray(splits, dtype=object)
    fixed_N = np.isin(splits, [part for part in ("val", "test") if part in own])
    count = FOLDS if in_folds(own, len(splits)) else 1
    free = np.flatnonzero(~fixed_N)
    fold = dealt(labels_N[free], FOLDS, seed, bundle_N[free])
    found = []
    for number in range(count):
        part_N = np.where(fixed_N, splits, "train")
        if "test" not in own:
            part_N[free[fold == number]] = "test"
        if "val" not in own:
            left = np.flatnonzero(part_N == "train")
            part_N[left[dealt(labels_N[left], FOLDS, seed + number, bundle_N[left]) == 0]] = "val"
        found.append(part_N)
    return found
