from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from tests.vptcore.data.test_splits import index_of, job_of
from vptcore.data.one_shot import DRAWN, DRAWS, SELECTIONS, THUMB, thumbnails
from vptcore.data.splits import split


def images_of(labels: np.ndarray, seed: int = 0, side: int = 12) -> np.ndarray:
    """Each class lies around its own grey; the spread within a class is large enough to mislead some."""
    rng = np.random.default_rng(seed)
    grey = 60 * labels[:, None, None, None] + rng.normal(0, 40, (len(labels), 1, 1, 1))
    return np.clip(grey + rng.normal(0, 5, (len(labels), side, side, 1)), 0, 255).astype(np.uint8)


def picked(selection: str, index, images, seed=0, classes=4):
    frame, _ = split(job_of("one_shot", classes=classes, seed=seed) | {"selection": selection}, index, images)
    return [frame.loc[frame["part"] == part, "row"].to_numpy() for part in ("train", "val")]


@pytest.mark.parametrize("selection", SELECTIONS)
def test_one_of_each_class_twice_and_never_a_test_image(selection):
    index = index_of(120, 20, 40, classes=4)
    images = images_of(index["label"].to_numpy())
    train, val = picked(selection, index, images)
    labels, parts = index.set_index("row")["label"], index.set_index("row")["split"]
    assert labels[train].tolist() == labels[val].tolist() == [0, 1, 2, 3]
    assert not set(train) & set(val)
    assert "test" not in set(parts[train]) | set(parts[val])
    again = picked(selection, index, images)
    assert np.array_equal(train, again[0])
    assert np.array_equal(val, again[1])


def test_first_is_the_sources_order():
    index = index_of(120, 20, 40, classes=4)
    pool = index[index["split"] != "test"]
    train, val = picked("first", index, None)
    assert train.tolist() == [pool.loc[pool["label"] == c, "row"].iloc[0] for c in range(4)]
    assert val.tolist() == [pool.loc[pool["label"] == c, "row"].iloc[1] for c in range(4)]


def test_medoid_is_the_nearest_to_its_class():
    index = index_of(60, 0, 10, classes=3)
    images = images_of(index["label"].to_numpy())
    train, _ = picked("medoid", index, images, classes=3)
    pool = index[index["split"] != "test"]
    for label, row in enumerate(train):
        rows = pool.loc[pool["label"] == label, "row"].to_numpy()
        x = thumbnails(images, rows)
        distances = np.sqrt(((x[:, None] - x[None]) ** 2).sum(-1)).sum(1)
        assert distances[rows.tolist().index(row)] <= distances.min() * (1 + 1e-4)


def test_iterative_takes_the_first_draw_in_the_reasonable_range():
    index = index_of(90, 0, 10, classes=3)
    images = images_of(index["label"].to_numpy())
    train, _ = picked("iterative", index, images, classes=3)
    from vptcore.data.splits import pool_order

    rows = {name: index.loc[index["split"] == name, "row"].to_numpy() for name in ("train", "val", "test")}
    order = pool_order(job_of("one_shot"), rows)
    labels, x = index.set_index("row")["label"][order].to_numpy(), thumbnails(images, order)
    rng, draws, scores = np.random.default_rng(0), [], []
    for _ in range(DRAWS):
        shuffled = rng.permutation(np.arange(len(order)))
        draw = [next(i for i in shuffled if labels[i] == c) for c in range(3)]
        rest = [i for i in range(len(order)) if i not in draw]
        nearest = [np.argmin([((x[i] - x[d]) ** 2).sum() for d in draw]) for i in rest]
        draws.append(draw)
        scores.append(np.mean([labels[i] == n for i, n in zip(rest, nearest, strict=True)]))
    fine = [abs(s - np.mean(scores)) <= np.std(scores) + 1e-12 for s in scores]
    assert not all(fine)
    assert train.tolist() == order[draws[fine.index(True)]].tolist()


def test_thumbnails_are_block_means():
    images = np.random.default_rng(0).integers(0, 256, (3, 16, 24, 3), dtype=np.uint8)
    blocks = images.reshape(3, THUMB, 2, THUMB, 3, 3).mean((2, 4)) / 255
    np.testing.assert_allclose(thumbnails(images, np.arange(3)), blocks.reshape(3, -1), atol=1e-6)
    small = np.random.default_rng(0).integers(0, 256, (2, 5, 5, 1), dtype=np.uint8)
    np.testing.assert_allclose(thumbnails(small, np.arange(2)), small.reshape(2, -1) / 255, atol=1e-6)


def test_classes_of_one_image_have_no_val():
    frame = pd.DataFrame({"row": range(3), "label": [0, 1, 1], "split": ["train", "train", "train"], "source": "wds"})
    frame = pd.concat([frame, pd.DataFrame({"row": [3], "label": [0], "split": ["test"]})], ignore_index=True)
    images = images_of(frame["label"].to_numpy())
    for selection in SELECTIONS:
        train, val = picked(selection, frame, images, classes=2)
        assert len(train) == 2
        assert len(val) == 1


@pytest.mark.parametrize("selection", SELECTIONS)
@pytest.mark.parametrize("final", ["same", "two_per_class"])
def test_further_picks_are_other_images_of_the_same_classes(selection, final):
    """What finals train on is picked anew; the first pick and val are those of one pick alone."""
    index, images = index_of(300, 60, 5, 6, 3), np.random.default_rng(0).integers(0, 255, (365, 8, 8, 3), np.uint8)
    job = job_of("one_shot", classes=6, seed=3) | {"selection": selection, "final": final}
    alone, _ = split(job, index, images)
    frame, _ = split(job | {"picks": 3}, index, images)
    rows = {part: found["row"].tolist() for part, found in frame.groupby("part", sort=False)}
    for part, found in alone.groupby("part", sort=False):
        assert rows.pop(part) == found["row"].tolist()
    part = "final" if final == "two_per_class" else "train"
    if selection in DRAWN or part == "final":
        assert list(rows) == [f"{part}_2", f"{part}_3"]
    first = alone[alone["part"] == part]["row"].tolist()
    labels = index.set_index("row")["label"]
    for picked in rows.values():
        assert labels.loc[picked].tolist() == labels.loc[first].tolist()
        assert picked != first
        assert set(index.set_index("row")["split"].loc[picked]) <= {"train", "val"}
    assert len({tuple(picked) for picked in rows.values()}) == len(rows)
