"""One image from bytes or pixels to uint8 RGB, and the ways to bring it to the model's size.

In: an encoded file or an array. Out: uint8 (H, W, 3). Whatever the file's mode, a person sees the same picture:
palettes are looked up, transparency lies on white, 16 bits become 8. Imports no torch.

    python -m pytest tests/data/test_decode.py
"""

from __future__ import annotations

import io
import struct
import threading
from collections.abc import Callable
from functools import lru_cache

import numpy as np
import pyarrow as pa
from PIL import Image

BROKEN = (OSError, SyntaxError, ValueError, EOFError, struct.error, Image.DecompressionBombError)


def to_rgb(image: bytes | np.ndarray) -> np.ndarray:
    """uint8 (H, W, 3). Raises ValueError if the image cannot be decoded."""
    return _array_to_rgb(image) if isinstance(image, np.ndarray) else _decoded(image, np.array)


def to_pixels(image: bytes | np.ndarray) -> np.ndarray:
    """Like `to_rgb`, but (H, W, 3 or 4): a fourth channel is Pillow's padding, left there to save a copy."""
    return _array_to_rgb(image) if isinstance(image, np.ndarray) else _decoded(image, _without_copy)


def _decoded(image: bytes, to_array: Callable[[Image.Image], np.ndarray]) -> np.ndarray:
    if not isinstance(image, bytes) or not image:
        raise ValueError("no image bytes")
    try:
        with Image.open(io.BytesIO(image)) as picture:
            picture.load()
            return _picture_to_rgb(picture, to_array)
    except Image.UnidentifiedImageError:
        raise ValueError("not an image in a known format") from None
    except BROKEN as error:
        raise ValueError(str(error).splitlines()[0] if str(error) else type(error).__name__) from None


def _array_to_rgb(image_HWC: np.ndarray) -> np.ndarray:
    if image_HWC.dtype != np.uint8 or image_HWC.ndim != 3 or image_HWC.shape[2] not in (1, 3):
        raise ValueError(f"pixels are {image_HWC.dtype} of shape {image_HWC.shape}; expected uint8 (H, W, 1 or 3)")
    return np.ascontiguousarray(np.broadcast_to(image_HWC, (*image_HWC.shape[:2], 3)))


def _picture_to_rgb(picture: Image.Image, to_array: Callable[[Image.Image], np.ndarray]) -> np.ndarray:
    if picture.mode.startswith("I"):
        return _sixteen_bits(np.asarray(picture).astype(np.int64))
    if picture.mode == "F":
        raise ValueError("pixels are floats; store 8 or 16 bits per channel")
    if picture.has_transparency_data:
        on_white = Image.new("RGBA", picture.size, "white")
        picture = Image.alpha_composite(on_white, picture.convert("RGBA"))
    return to_array(picture if picture.mode == "RGB" else picture.convert("RGB"))


def _without_copy(picture: Image.Image) -> np.ndarray:
    """Pillow's own memory, four bytes a pixel; a copy of three where it lies in several blocks (from 16 MB on)."""
    try:
        flat = pa.array(picture).values
    except ValueError:
        return np.array(picture)
    return np.frombuffer(flat.buffers()[1], np.uint8).reshape(picture.height, picture.width, 4)


def _sixteen_bits(image_HW: np.ndarray) -> np.ndarray:
    if image_HW.min() < 0 or image_HW.max() > 65535:
        raise ValueError("pixels are outside 0 to 65535; store 8 or 16 bits per channel")
    grey_HW = ((image_HW + 128) // 257).astype(np.uint8)  # rounds 65535 -> 255
    return np.repeat(grey_HW[:, :, None], 3, axis=2)


def is_grey(image_HW3: np.ndarray) -> bool:
    return bool((image_HW3 == image_HW3[:, :, :1]).all())


def resize_bilinear(image_HWC: np.ndarray, size: int) -> np.ndarray:
    """The benchmark's resize (tf.image.resize): straight to a square, bilinear between pixel centres, no antialias.

    Equals torch's F.interpolate(mode="bilinear", align_corners=False) in float, rounded to uint8 (size, size, C). Of
    four channels the last is left out.
    """
    height, width, channels = image_HWC.shape
    kept = min(channels, 3)
    rows_R, top_S, bottom_S, down_S = _row_taps(height, size)
    left_X, right_X, share_X = _column_taps(width, size, channels, kept)
    image_RX = image_HWC.reshape(height, width * channels)
    if len(rows_R) < height:
        image_RX = image_RX.take(rows_R, axis=0)
    shape_RX = len(rows_R), size * kept
    bytes_RX = _scratch("bytes", shape_RX, np.uint8)
    across_RX, step_RX = (_scratch(name, shape_RX, np.float32) for name in ("across", "step"))
    for taken_RX, columns_X in ((across_RX, left_X), (step_RX, right_X)):
        image_RX.take(columns_X, axis=1, out=bytes_RX, mode="clip")
        np.copyto(taken_RX, bytes_RX)
    _lerp(across_RX, step_RX, share_X)
    upper_SX, lower_SX = (_scratch(name, (size, size * kept), np.float32) for name in ("upper", "lower"))
    across_RX.take(top_S, axis=0, out=upper_SX, mode="clip")
    across_RX.take(bottom_S, axis=0, out=lower_SX, mode="clip")
    _lerp(upper_SX, lower_SX, down_S[:, None])
    return np.rint(upper_SX, out=upper_SX).astype(np.uint8).reshape(size, size, kept)


def _lerp(first: np.ndarray, second: np.ndarray, share: np.ndarray) -> None:
    """first += (second - first) * share, in place; `second` is used up."""
    np.subtract(second, first, out=second)
    np.multiply(second, share, out=second)
    np.add(first, second, out=first)


_threads = threading.local()


def _scratch(name: str, shape: tuple[int, int], dtype: type) -> np.ndarray:
    """Memory that each thread keeps from image to image: fresh pages would cost as much as the arithmetic."""
    count, kept = shape[0] * shape[1], _threads.__dict__
    if name not in kept or kept[name].size < count:
        kept[name] = np.empty(count, dtype)
    return kept[name][:count].reshape(shape)


@lru_cache(maxsize=1024)
def _row_taps(height: int, size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """The input rows that are needed, and for each output row which two of those it lies between, and how far along."""
    top_S, bottom_S, down_S = _taps(height, size)
    rows_R = np.unique(np.concatenate([top_S, bottom_S]))
    return rows_R, np.searchsorted(rows_R, top_S), np.searchsorted(rows_R, bottom_S), down_S


@lru_cache(maxsize=1024)
def _column_taps(width: int, size: int, channels: int, kept: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The same for columns, with the channels laid flat: numpy gathers along one long axis fastest."""
    left_S, right_S, share_S = _taps(width, size)
    left_X, right_X = ((at_S[:, None] * channels + np.arange(kept)).ravel() for at_S in (left_S, right_S))
    return left_X, right_X, np.repeat(share_S, kept)


def _taps(length: int, size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For each of `size` outputs the two input positions it lies between, and how far it is along."""
    at_S = np.clip((np.arange(size) + 0.5) * (length / size) - 0.5, 0, None)
    before_S = np.minimum(at_S.astype(np.int64), length - 1)
    return before_S, np.minimum(before_S + 1, length - 1), (at_S - before_S).astype(np.float32)


def resize_antialias(image_HWC: np.ndarray, size: int) -> np.ndarray:
    """Straight to a square, bilinear with antialias, as Pillow and torchvision resize by default."""
    return np.array(_picture(image_HWC).resize((size, size), Image.Resampling.BILINEAR))


def resize_256_crop(image_HWC: np.ndarray, size: int) -> np.ndarray:
    """The middle square of the image with its shorter side at 256 for a model of 224 pixels (8/7 of any `size`).

    FGVC's resize (KMnP/vpt src/data/transforms.py): bilinear with antialias, aspect kept. Returns (8/7 size, 8/7 size,
    3): the crop to `size`, random in training and from the middle otherwise, is made on the device.
    """
    side = crop_side(size)
    height, width = image_HWC.shape[:2]
    short = min(height, width)
    # Floor division, as torchvision.transforms.Resize computes the longer side.
    height, width = int(side * height / short), int(side * width / short)
    picture = _picture(image_HWC).resize((width, height), Image.Resampling.BILINEAR)
    # So that the crop from the middle of this square is the crop from the middle of the whole image.
    top, left = (round((length - size) / 2) - round((side - size) / 2) for length in (height, width))
    return np.array(picture.crop((left, top, left + side, top + side)))


def crop_side(size: int) -> int:
    """The square that crops of `size` are taken from: 256 for 224, 438 for 384, 512 for 448."""
    return size * 8 // 7


def _picture(image_HWC: np.ndarray) -> Image.Image:
    return Image.fromarray(np.ascontiguousarray(image_HWC[..., :3]))


RESIZES: dict[str, Callable[[np.ndarray, int], np.ndarray]] = {
    "bilinear": resize_bilinear,
    "antialias": resize_antialias,
    "256_crop": resize_256_crop,
}
