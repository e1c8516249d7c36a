from __future__ import annotations

import numpy as np
import torch

from vptcore.data.augment import CropFlip, draw_places


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def windows(image_CHW: np.ndarray, pad: int) -> dict[bytes, tuple[int, int, bool]]:
    """Every crop of the reflected image and its mirror, written out."""
    _, height, width = image_CHW.shape
    padded = np.pad(image_CHW, ((0, 0), (pad, pad), (pad, pad)), mode="reflect")
    crops = {}
    for top in range(2 * pad + 1):
        for left in range(2 * pad + 1):
            crop = padded[:, top : top + height, left : left + width]
            crops[crop.tobytes()] = (top, left, False)
            crops[crop[:, :, ::-1].tobytes()] = (top, left, True)
    return crops


def test_every_result_is_a_crop_or_its_mirror_and_all_occur():
    image = np.random.default_rng(0).normal(size=(3, 8, 6)).astype(np.float32)
    batch = torch.from_numpy(image).expand(600, -1, -1, -1)
    got = CropFlip(1)(batch, draw_places(2, 600, generator())).contiguous()
    assert got.shape == batch.shape
    known = windows(image, 1)
    drawn = [known[one.numpy().tobytes()] for one in got]
    assert set(drawn) == set(known.values())
    assert 240 < sum(flipped for *_, flipped in drawn) < 360


def test_the_generator_decides():
    drawn = [draw_places(8, 20, generator(seed)) for seed in (1, 1, 2)]
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])


def test_places_reach_both_ends_and_no_further():
    top, left, mirrored = draw_places(3, 500, generator())
    assert set(top.tolist()) == set(left.tolist()) == {0, 1, 2, 3}
    assert set(mirrored.tolist()) == {0, 1}
