"""Nearest neighbours: scikit-learn's on the same distances, and bad inputs."""

import numpy as np
import pytest

from vptcore.analysis.neighbours import label_by_neighbours


@pytest.mark.parametrize("k", [1, 5])
def test_the_labels_are_scikit_learns(k):
    from sklearn.neighbors import KNeighborsClassifier

    rng = np.random.default_rng(0)
    centres_CD = 1.5 * rng.normal(size=(4, 8))
    labels_N, wanted_M = rng.integers(0, 4, 300), rng.integers(0, 4, 2100)
    train_ND, wanted_MD = (centres_CD[rows] + rng.normal(size=(len(rows), 8)) for rows in (labels_N, wanted_M))
    # Cosine similarity is 1 - its distance; a vote weighs 1 + similarity.
    theirs = KNeighborsClassifier(k, metric="cosine", weights=lambda distance: 2 - distance).fit(train_ND, labels_N)
    assert (label_by_neighbours(train_ND, labels_N, wanted_MD, 4, k) == theirs.predict(wanted_MD)).all()


def test_scale_does_not_matter_and_few_images_do():
    train_ND, labels_N = np.eye(3), np.array([2, 0, 1])
    assert label_by_neighbours(train_ND * [[9], [1], [0.1]], labels_N, np.eye(3) * 5, 3, 1).tolist() == [2, 0, 1]
    assert label_by_neighbours(train_ND[:1], labels_N[:1], np.eye(3), 3, 5).tolist() == [2, 2, 2]


def test_images_and_labels_must_be_as_many():
    with pytest.raises(ValueError, match="3 features and 2 labels"):
        label_by_neighbours(np.eye(3), np.array([0, 1]), np.eye(3), 2)
