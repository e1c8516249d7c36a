"""Nearest neighbours on a frozen backbone's features: what an image is worth before anything is tuned.

In: features and labels of train, features to label. Out: labels. Nothing is trained and nothing is chosen but k, which
is fixed: a floor that any tuning must pass.

    python -m pytest tests/vptcore/analysis/test_neighbours.py
"""

from __future__ import annotations

import numpy as np

K = 5
ROWS = 1024  # images labelled at a time, so that similarities fit into memory


def label_by_neighbours(
    train_ND: np.ndarray, labels_N: np.ndarray, wanted_MD: np.ndarray, classes: int, k: int = K
) -> np.ndarray:
    """(M,): the class with the most weight among the k train images of highest cosine similarity, weighted by it.

    A tie goes to the class of the smaller number. ValueError for train images and labels that differ in number.
    """
    if len(train_ND) != len(labels_N) or not len(train_ND):
        raise ValueError(f"neighbours: {len(train_ND)} features and {len(labels_N)} labels; expected one label each")
    train_ND, wanted_MD = _unit(train_ND), _unit(wanted_MD)
    k = min(k, len(train_ND))
    found = [
        _votes(train_ND, labels_N, some, classes, k) for some in np.split(wanted_MD, range(ROWS, len(wanted_MD), ROWS))
    ]
    return np.concatenate(found)


def _votes(train_ND, labels_N, wanted_MD, classes: int, k: int) -> np.ndarray:
    alike_MN = wanted_MD @ train_ND.T
    near_MK = np.argpartition(-alike_MN, k - 1, axis=1)[:, :k]
    rows_M = np.arange(len(wanted_MD))[:, None]
    votes_MC = np.zeros((len(wanted_MD), classes))
    np.add.at(votes_MC, (rows_M, labels_N[near_MK]), 1 + alike_MN[rows_M, near_MK])
    return votes_MC.argmax(1)


def _unit(features_ND: np.ndarray) -> np.ndarray:
    features_ND = np.asarray(features_ND, dtype=np.float64)
    return features_ND / np.maximum(np.linalg.norm(features_ND, axis=1, keepdims=True), 1e-12)
