"""One image from bytes or pixels to uint8 RGB, and the benchmark's resize.

In: an encoded file or an array. Out: uint8 (H, W, 3). Whatever the file's mode, a person sees the same picture:
palettes are looked up, transparency lies on white, 16 bits become 8. Imports no torch.

    python -m pytest tests/data/test_decode.py
"""

from __future__ import annotations

import io
import struct
from functools import lru_cache

import numpy as np
from PIL import Image

BROKEN = (OSError, SyntaxError, ValueError, EOFError, struct.error, Image.DecompressionBombError)


def to_rgb(image: bytes | np.ndarray) -> np.ndarray:
    """uint8 (H, W, 3). Raises ValueError if the image cannot be decoded."""
    if isinstance(image, np.ndarray):
        return _array_to_rgb(image)
    if not isinstance(image, bytes) or not image:
        raise ValueError("no image bytes")
    try:
        with Image.open(io.BytesIO(image)) as picture:
            picture.load()
            return _picture_to_rgb(picture)
    except Image.UnidentifiedImageError:
        raise ValueError("not an image in a known format") from None
    except BROKEN as error:
        raise ValueError(str(error).splitlines()[0] if str(error) else type(error).__name__) from None


def _array_to_rgb(image_HWC: np.ndarray) -> np.ndarray:
    if image_HWC.dtype != np.uint8 or image_HWC.ndim != 3 or image_HWC.shape[2] not in (1, 3):
        raise ValueError(f"pixels are {image_HWC.dtype} of shape {image_HWC.shape}; expected uint8 (H, W, 1 or 3)")
    return np.ascontiguousarray(np.broadcast_to(image_HWC, (*image_HWC.shape[:2], 3)))


def _picture_to_rgb(picture: Image.Image) -> np.ndarray:
    if picture.mode.startswith("I"):
        return _sixteen_bits(np.asarray(picture).astype(np.int64))
    if picture.mode == "F":
        raise ValueError("pixels are floats; store 8 or 16 bits per channel")
    if picture.has_transparency_data:
        on_white = Image.new("RGBA", picture.size, "white")
        picture = Image.alpha_composite(on_white, picture.convert("RGBA"))
    return np.array(picture.convert("RGB"))


def _sixteen_bits(image_HW: np.ndarray) -> np.ndarray:
    if image_HW.min() < 0 or image_HW.max() > 65535:
        raise ValueError("pixels are outside 0 to 65535; store 8 or 16 bits per channel")
    grey_HW = ((image_HW + 128) // 257).astype(np.uint8)  # rounds 65535 -> 255
    return np.repeat(grey_HW[:, :, None], 3, axis=2)


def is_grey(image_HW3: np.ndarray) -> bool:
    return bool((image_HW3 == image_HW3[:, :, :1]).all())


def resize_bilinear(image_HWC: np.ndarray, size: int) -> np.ndarray:
    """The benchmark's resize (tf.image.resize): straight to a square, bilinear between pixel centres, no antialias.

    Equals torch's F.interpolate(mode="bilinear", align_corners=False) in float, rounded to uint8 (size, size, C).
    """
    height, _, channels = image_HWC.shape
    top_S, bottom_S, down_S = _taps(height, size)
    upper_SX, lower_SX = (_along(image_HWC[rows_S], size) for rows_S in (top_S, bottom_S))
    lower_SX -= upper_SX
    lower_SX *= down_S[:, None]
    upper_SX += lower_SX
    return np.rint(upper_SX, out=upper_SX).astype(np.uint8).reshape(size, size, channels)


def _along(rows_SWC: np.ndarray, size: int) -> np.ndarray:
    """Rows stretched to `size` pixels, as float32 (S, size x C). Channels are flat: numpy gathers long rows fastest."""
    _, width, channels = rows_SWC.shape
    left_X, right_X, share_X = _flat_taps(width, size, channels)
    rows_SX = rows_SWC.reshape(len(rows_SWC), -1)
    out_SX = rows_SX.take(left_X, axis=1).astype(np.float32)
    step_SX = rows_SX.take(right_X, axis=1).astype(np.float32)
    step_SX -= out_SX
    step_SX *= share_X
    out_SX += step_SX
    return out_SX


@lru_cache(maxsize=256)
def _flat_taps(width: int, size: int, channels: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    left_S, right_S, share_S = _taps(width, size)
    channel_C = np.arange(channels)
    left_X, right_X = ((at_S[:, None] * channels + channel_C).ravel() for at_S in (left_S, right_S))
    return left_X, right_X, np.repeat(share_S, channels)


@lru_cache(maxsize=256)
def _taps(length: int, size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For each of `size` outputs the two input positions it lies between, and how far it is along."""
    at_S = np.clip((np.arange(size) + 0.5) * (length / size) - 0.5, 0, None)
    before_S = np.minimum(at_S.astype(np.int64), length - 1)
    return before_S, np.minimum(before_S + 1, length - 1), (at_S - before_S).astype(np.float32)
