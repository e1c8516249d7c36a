"""A split on the device: uint8 images in, normalised float batches out, chosen by index. No worker processes.

In: uint8 arrays (N, H, W, 1 or 3) as `arrays` wrote them and integer labels. Out: an `ImageSet` whose `inputs(rows)` is
a float batch (B, 3, size, size), resized on the device where the source is of another size and normalised. Features
that were computed once (N, D) travel in the same record and pass through untouched.

Nothing here writes into the stored array: the in-place normalisation of the authors' loader is only right while
forked workers copy it each epoch (KMnP/vpt src/data/datasets/tf_dataset.py:204-209).

    python -m pytest tests/vptcore/data/test_tensors.py
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from vptcore.data.augment import centre_crop, draw_places, random_crop
from vptcore.data.decode import crop_side


@dataclass(frozen=True)
class Normalise:
    """Size in pixels of the model's square input, and mean and std per channel on the [0, 1] scale.

    `resize` names how stored images reach that size, a key of `decode.RESIZES`; those that were resized when they were
    stored have it already. After `256_crop` the stored squares are 8/7 of the size and the input is cut out of them,
    from the middle, or at the `places` that are given: at random and mirrored half of the time (KMnP/vpt
    src/data/transforms.py).
    """

    size: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    resize: str = "bilinear"

    @property
    def crop(self) -> bool:
        return self.resize == "256_crop"

    @property
    def shift(self) -> int | None:
        """The largest top and left of a random crop; None where nothing is cropped."""
        return crop_side(self.size) - self.size if self.crop else None

    def __call__(
        self, images_BHWC: Tensor, dtype: torch.dtype = torch.float32, places_3B: Tensor | None = None
    ) -> Tensor:
        x_BCHW = images_BHWC.permute(0, 3, 1, 2).to(dtype)
        side = crop_side(self.size) if self.crop else self.size
        if x_BCHW.shape[-2:] != (side, side):
            x_BCHW = _tf1(x_BCHW, side) if self.resize == "tf1" else _bilinear(x_BCHW, side)
        if self.crop:
            x_BCHW = centre_crop(x_BCHW, self.size) if places_3B is None else random_crop(x_BCHW, self.size, places_3B)
        mean, std = (_per_channel(values, dtype, x_BCHW.device) for values in (self.mean, self.std))
        return (x_BCHW - mean) / std  # one grey channel becomes three by broadcasting


@lru_cache(maxsize=64)
def _per_channel(values: tuple[float, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    """(1, 3, 1, 1) on the scale of bytes. Kept on the device: making it anew would stop a GPU at every step."""
    return torch.tensor(values, dtype=dtype, device=device).view(1, 3, 1, 1) * 255


def upload(values: Tensor, device: torch.device) -> Tensor:
    """A copy of a CPU tensor on the device that the CPU does not wait for."""
    return values.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else values.to(device)


def _bilinear(x_BCHW: Tensor, side: int) -> Tensor:
    """Straight to the square between pixel centres, no antialias: stored images are never larger than the input."""
    return F.interpolate(x_BCHW, (side, side), mode="bilinear", align_corners=False)


def _tf1(x_BCHW: Tensor, side: int) -> Tensor:
    """`decode.resize_tf1`, unrounded: pixel i is read at i x scale.

    With the last row and column repeated once, and one pixel more asked for, torch's aligned corners read at
    i x (length + 1 - 1) / (side + 1 - 1), which is that.
    """
    padded = F.pad(x_BCHW, (0, 1, 0, 1), mode="replicate")
    return F.interpolate(padded, (side + 1, side + 1), mode="bilinear", align_corners=True)[..., :side, :side]


@dataclass(frozen=True)
class ImageSet:
    """Images (N, H, W, C) in uint8 or features (N, D) in float, with labels (N,), on one device."""

    images: Tensor
    labels_N: Tensor
    normalise: Normalise | None = None

    def __post_init__(self) -> None:
        if len(self.images) != len(self.labels_N):
            raise ValueError(f"{len(self.images)} images but {len(self.labels_N)} labels")
        if self.images.dtype == torch.uint8 and self.normalise is None:
            raise ValueError("uint8 images need the size, mean and std of a backbone")
        if self.images.is_floating_point() and not bool(torch.isfinite(self.images).all()):
            bad = (~torch.isfinite(self.images).flatten(1).all(1)).nonzero().flatten()
            raise ValueError(
                f"{len(bad)} of {len(self)} inputs hold NaN or infinity, the first is number {int(bad[0])}; "
                f"look at the weights or images"
            )

    def __len__(self) -> int:
        return len(self.labels_N)

    @property
    def device(self) -> torch.device:
        return self.images.device

    def part(self, rows: np.ndarray) -> ImageSet:
        """The images at these places; itself where that is all of them."""
        if len(rows) == len(self):
            return self
        at = torch.from_numpy(rows).to(self.device)
        return replace(self, images=self.images[at], labels_N=self.labels_N[at])

    def order(self) -> Tensor:
        return torch.arange(len(self), device=self.device)

    def inputs(self, rows: Tensor, places_3B: Tensor | None = None) -> Tensor:
        """Float inputs of these rows. With `places` they are trained on: each image is cropped at its own."""
        picked = self.images[rows]
        return picked if self.normalise is None else self.normalise(picked, places_3B=places_3B)

    @property
    def shift(self) -> int | None:
        """The largest top and left of its training crops; None where nothing is cropped."""
        return None if self.normalise is None else self.normalise.shift

    @staticmethod
    def of(images: np.ndarray, labels: np.ndarray, normalise: Normalise, device: str | torch.device) -> ImageSet:
        """Copy a (memory-mapped) array and its labels to the device, once."""
        return ImageSet(
            torch.from_numpy(np.array(images)).to(device),
            torch.from_numpy(np.array(labels, dtype=np.int64)).to(device),
            normalise,
        )


def draw_epoch(train: ImageSet, batch: int, shifts: Sequence[int], generator: torch.Generator) -> Tensor:
    """(1 + 3 x len(shifts), N) int64 on the CPU: an epoch's images in a random order, and below each its places.

    `shifts` has the largest shift of every random cut, in the order of the cuts. Places are drawn batch by batch.
    """
    order_N = torch.randperm(len(train), generator=generator)
    parts = []
    for rows_B in order_N.split(batch):
        places = [draw_places(shift, len(rows_B), generator) for shift in shifts]
        parts.append(torch.cat([rows_B[None], *places]))
    return torch.cat(parts, dim=1)
