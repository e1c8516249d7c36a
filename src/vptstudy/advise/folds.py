"""Which fold each image of a small folder is tested in: every class, and every group, dealt out evenly.

In: labels, and groups where images belong together. Out: a fold an image, from 0.

    python -m pytest tests/vptstudy/advise/test_folds.py
"""

from __future__ import annotations

import numpy as np


def dealt(labels_N: np.ndarray, folds: int, seed: int) -> np.ndarray:
    """(N,): the fold of each image. The folds' sizes, and a class's share of each, differ by at most one image."""
    order = np.random.default_rng(seed).permutation(len(labels_N))
    order = order[np.argsort(np.asarray(labels_N)[order], kind="stable")]
    fold_N = np.empty(len(order), int)
    fold_N[order] = np.arange(len(order)) % folds
    return fold_N
