"""Pictures in two splits, found among prepared images: counted by kind, named, and said in one line."""

from __future__ import annotations

import hashlib

import numpy as np
import pandas as pd
from PIL import Image

from vptstudy.advise.twins import Twins, among, lines


def picture(seed: int) -> np.ndarray:
    """Smooth coloured blobs, as a photograph is smooth."""
    small = Image.fromarray(np.random.default_rng(seed).integers(0, 256, (6, 6, 3), dtype=np.uint8))
    return np.asarray(small.resize((64, 64), Image.Resampling.BICUBIC))


def brighter(image: np.ndarray) -> np.ndarray:
    return np.clip(image.astype(int) + 3, 0, 255).astype(np.uint8)


def prepared(**splits: list[np.ndarray]) -> tuple[np.ndarray, pd.DataFrame]:
    rows = [
        {"row": 0, "split": split, "key": f"{split}/{number}.png", "sha256": hashlib.sha256(image).hexdigest()}
        for split, images in splits.items()
        for number, image in enumerate(images)
    ]
    return np.stack([image for images in splits.values() for image in images]), pd.DataFrame(rows).assign(
        row=range(len(rows))
    )


def test_pictures_of_test_that_were_trained_on_are_counted_by_kind_and_named():
    train = [picture(seed) for seed in range(40)]
    val = [picture(100), train[3]]
    test = [brighter(train[5]), picture(101), train[7], brighter(val[0]), picture(102)]
    assert among(*prepared(train=train, val=val, test=test)) == [
        Twins("train", "val", 1, 0, (("train/3.png", "val/1.png"),)),
        Twins("train", "test", 1, 1, (("train/7.png", "test/2.png"), ("train/5.png", "test/0.png"))),
        Twins("val", "test", 0, 1, (("val/0.png", "test/3.png"),)),
    ]


def test_the_order_of_the_index_is_no_matter():
    images, index = prepared(train=[picture(seed) for seed in range(9)], test=[picture(50), brighter(picture(4))])
    assert among(images, index.sample(frac=1, random_state=0)) == among(images, index)
    assert len(among(images, index)) == 1


def test_different_pictures_and_one_split_alone_are_nothing_to_say():
    different = [picture(seed) for seed in range(60)]
    assert among(*prepared(train=different[:40], test=different[40:])) == []
    assert among(*prepared(train=[picture(1), picture(1)])) == []


def test_the_line_names_three_and_says_how_they_are_the_same():
    pairs = tuple((f"train/{i}.png", f"test/{i}.png") for i in range(4))
    (said,) = lines([Twins("train", "test", 3, 1, pairs)])
    assert said == (
        "4 images of test are also in train, 3 pixel by pixel and 1 nearly (test/0.png and train/0.png; test/1.png and "
        "train/1.png; test/2.png and train/2.png; ...): take them out, or they flatter every method"
    )
    (near,) = lines([Twins("val", "test", 0, 1, (("val/0.png", "test/3.png"),))])
    assert near.startswith("1 image of test is also in val, nearly (test/3.png and val/0.png): take it out, or it")
