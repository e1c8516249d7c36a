from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from tests.vptcore.data.layouts import noise, tf1_by_hand
from vptcore.data.augment import draw_places
from vptcore.data.tensors import ImageSet, Normalise, draw_epoch

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def image_set(images: np.ndarray, size: int) -> ImageSet:
    return ImageSet.of(images, np.arange(len(images)), Normalise(size, MEAN, STD), "cpu")


@pytest.mark.parametrize(("side", "size"), [(12, 12), (12, 32), (12, 8)])
def test_inputs_are_resized_and_normalised(side, size):
    images = np.stack([noise(i, side, side) for i in range(5)])
    rows = torch.tensor([4, 0, 0])
    got = image_set(images, size).inputs(rows)
    x = torch.from_numpy(images[[4, 0, 0]]).permute(0, 3, 1, 2).double() / 255
    if side != size:
        x = F.interpolate(x, (size, size), mode="bilinear", align_corners=False, antialias=False)
    expected = (x - torch.tensor(MEAN).double().view(1, 3, 1, 1)) / torch.tensor(STD).double().view(1, 3, 1, 1)
    assert got.dtype == torch.float32
    torch.testing.assert_close(got.double(), expected, atol=2e-5, rtol=0)


@pytest.mark.parametrize(("height", "width", "size"), [(12, 12, 32), (8, 12, 24), (5, 7, 31), (12, 12, 8)])
def test_tf1_inputs_equal_those_resized_by_hand(height, width, size):
    images = np.stack([noise(i, height, width) for i in range(3)])
    normalise = Normalise(size, (0, 0, 0), (1 / 255,) * 3, "tf1")
    got = ImageSet.of(images, np.arange(3), normalise, "cpu").inputs(torch.arange(3))
    expected = np.stack([tf1_by_hand(image, size) for image in images]).transpose(0, 3, 1, 2)
    assert np.abs(got.numpy() - expected).max() < 1e-3
    other = ImageSet.of(images, np.arange(3), replace(normalise, resize="bilinear"), "cpu").inputs(torch.arange(3))
    assert np.abs(other.numpy() - expected).mean() > 5, "noise differs by much where pixel centres are kept"


def test_grey_images_equal_three_equal_channels():
    grey = np.stack([noise(i, channels=1) for i in range(3)])
    rows = torch.arange(3)
    torch.testing.assert_close(image_set(grey, 16).inputs(rows), image_set(np.repeat(grey, 3, axis=3), 16).inputs(rows))


def test_the_stored_array_is_never_written(tmp_path):
    np.save(tmp_path / "images.npy", np.stack([noise(i) for i in range(3)]))
    mapped = np.load(tmp_path / "images.npy", mmap_mode="r")
    before = mapped.copy()
    images = image_set(mapped, 12)
    first = images.inputs(images.order())
    torch.testing.assert_close(images.inputs(images.order()), first, atol=0, rtol=0)
    assert np.array_equal(mapped, before)
    assert len(images) == 3


def test_features_pass_through():
    features = torch.randn(4, 7)
    images = ImageSet(features, torch.arange(4))
    assert torch.equal(images.inputs(torch.tensor([2, 1])), features[[2, 1]])


def test_what_does_not_fit_together():
    with pytest.raises(ValueError, match="3 images but 2 labels"):
        ImageSet(torch.zeros(3, 5), torch.arange(2))
    with pytest.raises(ValueError, match="need the size, mean and std"):
        ImageSet(torch.zeros(3, 4, 4, 3, dtype=torch.uint8), torch.arange(3))


def test_crops_from_the_middle_and_at_random():
    """FGVC: torchvision's centre crop to score; to train, a square of the image, mirrored in about half."""
    from torchvision.transforms.functional import center_crop

    images = np.stack([noise(i, 16, 16) for i in range(64)])
    crops = ImageSet.of(images, np.arange(64), Normalise(14, (0, 0, 0), (1 / 255,) * 3, "256_crop"), "cpu")
    rows, x = torch.arange(64), torch.from_numpy(images).permute(0, 3, 1, 2).float()
    torch.testing.assert_close(crops.inputs(rows), center_crop(x, [14, 14]))
    assert crops.shift == 2
    got = crops.inputs(rows, draw_places(2, 64, torch.Generator().manual_seed(3)))
    places = set()
    for image, crop in zip(x, got, strict=True):
        found = [
            (top, left, flip)
            for top in range(3) for left in range(3) for flip in (False, True)
            if torch.equal(crop, image[:, top : top + 14, left : left + 14].flip([-1] if flip else []))
        ]  # fmt: skip
        assert len(found) == 1
        places.add(found[0])
    assert len(places) >= 15  # of 18


def test_an_epoch_is_drawn_as_a_loop_over_batches_draws_it():
    """The order first, then batch by batch the top, the left and the coin of every cut."""
    images = ImageSet(torch.zeros(10, 3), torch.arange(10))
    drawn = draw_epoch(images, 4, (2, 8), torch.Generator().manual_seed(5))
    generator = torch.Generator().manual_seed(5)
    order, columns = torch.randperm(10, generator=generator), []
    for rows in order.split(4):
        batch = [rows]
        for shift in (2, 8):
            batch += [torch.randint(0, shift + 1, (len(rows),), generator=generator) for _ in range(2)]
            batch.append((torch.rand(len(rows), generator=generator) < 0.5).long())
        columns.append(torch.stack(batch))
    assert torch.equal(drawn, torch.cat(columns, 1))


def test_what_normalises_is_made_once_and_not_at_every_step(monkeypatch):
    normalise = Normalise(2, (0.3, 0.5, 0.6), (0.21, 0.22, 0.23))
    images = torch.full((1, 2, 2, 3), 255, dtype=torch.uint8)
    first = normalise(images)
    monkeypatch.setattr(torch, "tensor", lambda *_, **__: pytest.fail("made anew"))
    assert torch.equal(normalise(images), first)
    assert first[0, :, 0, 0].tolist() == pytest.approx([0.7 / 0.21, 0.5 / 0.22, 0.4 / 0.23])
