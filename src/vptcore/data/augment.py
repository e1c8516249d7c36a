"""Augmentations as batched tensor operations on the device, at places that are drawn before on the CPU.

In: images (B, C, H, W) and `places` (3, B): each image's top, left and whether it is mirrored, from `draw_places`. Out:
the cut images. Drawing is apart from cutting, so that an epoch's places reach a GPU in one copy.

VTAB-1k uses none. Pretraining the demo backbone uses `CropFlip`; FGVC trains on random crops and flips, `random_crop`,
and is scored on the `centre_crop` (KMnP/vpt src/data/transforms.py).

    python -m pytest tests/vptcore/data/test_augment.py
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class CropFlip:
    """Shift every image by up to `pad` pixels (reflected border) and mirror every second one, at random."""

    pad: int = 4

    @property
    def shift(self) -> int:
        """The largest top and left of its places."""
        return 2 * self.pad

    def __call__(self, images_BCHW: Tensor, places_3B: Tensor) -> Tensor:
        H, W = images_BCHW.shape[-2:]
        return _cut(F.pad(images_BCHW, (self.pad,) * 4, mode="reflect"), H, W, places_3B)


def random_crop(images_BCHW: Tensor, size: int, places_3B: Tensor) -> Tensor:
    """A square of `size` at each image's own place."""
    return _cut(images_BCHW, size, size, places_3B)


def centre_crop(images_BCHW: Tensor, size: int) -> Tensor:
    """The middle square of `size`, where torchvision's CenterCrop cuts it."""
    H, W = images_BCHW.shape[-2:]
    top, left = round((H - size) / 2), round((W - size) / 2)
    return images_BCHW[..., top : top + size, left : left + size]


def draw_places(shift: int, count: int, generator: torch.Generator) -> Tensor:
    """(3, count) on the CPU: top and left in 0 to `shift`, and 1 for every image that is mirrored, half of them."""
    top_B, left_B = (torch.randint(0, shift + 1, (count,), generator=generator) for _ in range(2))
    return torch.stack([top_B, left_B, (torch.rand(count, generator=generator) < 0.5).long()])


def _cut(images_BCHW: Tensor, height: int, width: int, places_3B: Tensor) -> Tensor:
    """(B, C, height, width) cut at each image's own place, and mirrored where its place says so."""
    B, device = len(images_BCHW), images_BCHW.device
    top_B, left_B, flip_B = places_3B
    columns_W = torch.arange(width, device=device)
    rows_BH = top_B[:, None] + torch.arange(height, device=device)
    columns_BW = left_B[:, None] + torch.where(flip_B[:, None] > 0, columns_W.flip(0), columns_W)
    batch = torch.arange(B, device=device)[:, None, None]
    return images_BCHW[batch, :, rows_BH[:, :, None], columns_BW[:, None, :]].permute(0, 3, 1, 2)
