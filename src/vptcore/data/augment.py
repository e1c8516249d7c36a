"""Augmentations as batched tensor operations on the device, drawn from an explicit generator.

VTAB-1k uses none. Pretraining the demo backbone uses `crop_flip`; FGVC trains on random crops and flips, `random_crop`,
and is scored on the `centre_crop` (KMnP/vpt src/data/transforms.py).

    python -m pytest tests/vptcore/data/test_augment.py
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def crop_flip(images_BCHW: Tensor, generator: torch.Generator, pad: int = 4) -> Tensor:
    """Shift every image by up to `pad` pixels (reflected border) and mirror every second one, at random."""
    B, _, H, W = images_BCHW.shape
    padded = F.pad(images_BCHW, (pad, pad, pad, pad), mode="reflect")
    return _cut(padded, H, W, _up_to(2 * pad, B, generator), _up_to(2 * pad, B, generator), generator)


def random_crop(images_BCHW: Tensor, size: int, generator: torch.Generator) -> Tensor:
    """A square of `size` at a random place of each image, mirrored in every second one, at random."""
    B, _, H, W = images_BCHW.shape
    return _cut(images_BCHW, size, size, _up_to(H - size, B, generator), _up_to(W - size, B, generator), generator)


def centre_crop(images_BCHW: Tensor, size: int) -> Tensor:
    """The middle square of `size`, where torchvision's CenterCrop cuts it."""
    H, W = images_BCHW.shape[-2:]
    top, left = round((H - size) / 2), round((W - size) / 2)
    return images_BCHW[..., top : top + size, left : left + size]


def _up_to(largest: int, count: int, generator: torch.Generator) -> Tensor:
    return torch.randint(0, largest + 1, (count,), generator=generator)


def _cut(images_BCHW: Tensor, height: int, width: int, top_B: Tensor, left_B: Tensor, generator) -> Tensor:
    """(B, C, height, width) cut at each image's own place, and mirrored at random."""
    B, device = len(images_BCHW), images_BCHW.device
    flip_B = (torch.rand(B, generator=generator) < 0.5).to(device)
    columns_W = torch.arange(width, device=device)
    rows_BH = top_B.to(device)[:, None] + torch.arange(height, device=device)
    columns_BW = left_B.to(device)[:, None] + torch.where(flip_B[:, None], columns_W.flip(0), columns_W)
    batch = torch.arange(B, device=device)[:, None, None]
    return images_BCHW[batch, :, rows_BH[:, :, None], columns_BW[:, None, :]].permute(0, 3, 1, 2)


AUGMENTS = {"none": None, "crop_flip": crop_flip}
