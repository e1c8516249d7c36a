"""Pictures in two splits at once: found after a change of size or quality, and not found where they only look alike."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from vptcore.data.duplicates import alike, exact, fingerprints, near


def picture(seed: int, side: int = 64) -> np.ndarray:
    """Smooth coloured blobs, as a photograph is smooth."""
    rng = np.random.default_rng(seed)
    small = Image.fromarray(rng.integers(0, 256, (6, 6, 3), dtype=np.uint8))
    return np.asarray(small.resize((side, side), Image.Resampling.BICUBIC))


def as_jpeg(pixels: np.ndarray, quality: int) -> np.ndarray:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=quality)
    return np.asarray(Image.open(buffer))


CHANGES = {
    "same": lambda image: image,
    "quality": lambda image: as_jpeg(image, 40),
    "smaller": lambda image: np.asarray(Image.fromarray(image).resize((40, 40))),
    "larger": lambda image: np.asarray(Image.fromarray(image).resize((150, 150))),
    "a little brighter": lambda image: np.clip(image.astype(int) + 3, 0, 255).astype(np.uint8),
    "noise": lambda image: np.clip(image + np.random.default_rng(9).normal(0, 4, image.shape), 0, 255).astype(np.uint8),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_copy_in_test_is_found(change):
    train = [picture(i) for i in range(40)]
    test = [picture(100), CHANGES[change](picture(7)), picture(101), CHANGES[change](picture(30))]
    pairs = near(fingerprints([*train, *test]), ["train"] * 40 + ["test"] * 4)
    assert pairs == [(7, 41), (30, 43)]


def test_different_pictures_are_no_pairs():
    images = [picture(i) for i in range(300)]
    assert near(fingerprints(images), ["train"] * 200 + ["val"] * 50 + ["test"] * 50) == []


def test_the_order_of_the_rows_does_not_matter():
    images, splits = [picture(i) for i in (1, 2, 1, 3, 2, 2)], ["test", "train", "train", "val", "val", "train"]
    prints = fingerprints(images)
    assert sorted(near(prints, splits)) == [(1, 4), (2, 0)]
    assert sorted(exact([str(i) for i in (1, 2, 1, 3, 2, 2)], splits)) == [(1, 4), (2, 0)]


def test_pictures_of_one_colour_are_alike_and_no_pairs():
    images = [np.full((8, 8, 1), level, np.uint8) for level in (0, 0, 255)]
    assert near(fingerprints(images), ["train", "test", "test"]) == []


def test_a_shifted_stripe_is_another_picture():
    """Equal means and the same shape: the signs alone tell them apart."""
    left, right = np.zeros((2, 32, 32, 3), np.uint8)
    left[:, 4:8], right[:, 20:24] = 255, 255
    assert near(fingerprints([left, right]), ["train", "test"]) == []


def test_signs_agree_with_a_slow_form():
    images = [picture(i, 36) for i in range(5)]
    prints = fingerprints(images)
    for image, bits in zip(images, prints.bits_NW, strict=True):
        grey = image.astype(float).mean(axis=2).reshape(9, 4, 9, 4).mean(axis=(1, 3))
        sure = [np.abs(np.diff(grey, axis=axis)).ravel() > 1.5 for axis in (0, 1)]
        rises = [np.diff(grey, axis=axis).ravel() > 0 for axis in (0, 1)]
        found = np.unpackbits(bits.view(np.uint8))[:144].astype(bool)
        assert np.array_equal(found[np.concatenate(sure)], np.concatenate(rises)[np.concatenate(sure)])


def test_no_images():
    assert near(fingerprints([]), []) == exact([], []) == []


def test_every_pair_is_found_whatever_the_splits():
    images = [picture(1), picture(2), as_jpeg(picture(1), 60), picture(3), CHANGES["noise"](picture(1)), picture(2)]
    assert alike(fingerprints(images)) == [(0, 2), (0, 4), (1, 5), (2, 4)]


def test_pairs_across_blocks_are_those_that_a_double_loop_finds(monkeypatch):
    images = [picture(i % 7) if i % 3 else picture(100 + i) for i in range(30)]
    prints = fingerprints(images)
    expected = [
        (a, b) for b in range(30) for a in range(b) if near(fingerprints([images[a], images[b]]), ["train", "test"])
    ]
    monkeypatch.setattr("vptcore.data.duplicates.BLOCK", 4)
    assert alike(prints) == sorted(expected)
