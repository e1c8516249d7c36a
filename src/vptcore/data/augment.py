"""Augmentations as batched tensor operations on the device, drawn from an explicit generator.

VTAB-1k uses none. Pretraining the demo backbone uses `crop_flip`; FGVC trains on random crops and flips
(KMnP/vpt src/data/transforms.py).

    python -m pytest tests/data/test_augment.py
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def crop_flip(images_BCHW: Tensor, generator: torch.Generator, pad: int = 4) -> Tensor:
    """Shift every image by up to `pad` pixels (reflected border) and mirror every second one, at random."""
    B, _, H, W = images_BCHW.shape
    device = images_BCHW.device
    padded = F.pad(images_BCHW, (pad, pad, pad, pad), mode="reflect")
    top_B, left_B = torch.randint(0, 2 * pad + 1, (2, B), generator=generator).to(device)
    flip_B = (torch.rand(B, generator=generator) < 0.5).to(device)
    rows_BH = top_B[:, None] + torch.arange(H, device=device)
    columns_W = torch.arange(W, device=device)
    columns_BW = left_B[:, None] + torch.where(flip_B[:, None], columns_W.flip(0), columns_W)
    batch = torch.arange(B, device=device)[:, None, None]
    return padded[batch, :, rows_BH[:, :, None], columns_BW[:, None, :]].permute(0, 3, 1, 2)


AUGMENTS = {"none": None, "crop_flip": crop_flip}
