"""One image from bytes or pixels to uint8 RGB, and the ways to bring it to the model's size.

In: an encoded file or an array. Out: uint8 (H, W, 3). Whatever the file's mode, a person sees the same picture:
palettes are looked up, transparency is laid on white, 16 bits become 8. EXIF's orientation is followed on demand.

    python -m pytest tests/vptcore/data/test_decode.py
"""

from __future__ import annotations

import io
import struct
from collections.abc import Callable
from functools import cache
from importlib.util import find_spec
from types import ModuleType

import numpy as np
from PIL import ExifTags, Image, ImageOps

BROKEN = (OSError, SyntaxError, ValueError, EOFError, struct.error, Image.DecompressionBombError)

JPEG_START, JPEG_END = b"\xff\xd8", b"\xff\xd9"
HEIC_BRANDS = (b"heic", b"heix", b"hevc", b"heim", b"mif1")
# EXIF's orientation: what undoes the turn that it asks for.
TURNED_BACK = {
    2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_90, 7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}  # fmt: skip
TWELVE_BITS = 4095
LONG = 8  # times the shorter side: an image that is longer is cut before it is resized
FRAMES = (0xC0, 0xC1, 0xC2)  # baseline, extended and progressive, all with Huffman codes


def to_rgb(image: bytes | np.ndarray, *, upright: bool = False) -> np.ndarray:
    """uint8 (H, W, 3), turned as EXIF says if `upright`. Raises ValueError if the image cannot be decoded."""
    return decoded(image, upright=upright)[0]


def decoded(image: bytes | np.ndarray, *, upright: bool = False) -> tuple[np.ndarray, int]:
    """`to_rgb`, and the bits of a 16-bit image that are used: 12 where none is above 4,095, else 16; 0 for others."""
    if isinstance(image, np.ndarray):
        return _array_to_rgb(image), 0
    if not isinstance(image, bytes) or not image:
        raise ValueError("no image bytes")
    try:
        if _is_plain_jpeg(image):
            return _jpeg(image, upright), 0
        _learn_heic(image)
        with Image.open(io.BytesIO(image)) as picture:
            return _picture_to_rgb(_loaded(picture, upright))
    except Image.UnidentifiedImageError:
        raise ValueError("not an image in a known format") from None
    except BROKEN as error:
        raise ValueError(str(error).splitlines()[0] if str(error) else type(error).__name__) from None


def _loaded(picture: Image.Image, upright: bool) -> Image.Image:
    """The picture turned upright, or as it is stored: Pillow turns TIFF as it loads it, and no other format."""
    orientation = picture.getexif().get(ExifTags.Base.Orientation, 1)
    picture.load()
    if picture.format != "TIFF":
        return ImageOps.exif_transpose(picture) if upright and orientation != 1 else picture
    turned = TURNED_BACK.get(orientation)
    return picture if upright or turned is None else picture.transpose(turned)


def _learn_heic(image: bytes) -> None:
    """Teach Pillow .heic, where the package for it is there."""
    if image[4:8] == b"ftyp" and image[8:12] in HEIC_BRANDS and find_spec("pillow_heif"):
        import pillow_heif

        pillow_heif.register_heif_opener()


def _is_plain_jpeg(image: bytes) -> bool:
    """Whether the frame header (ITU T.81, B.2.2) has three components, and no more pixels than Pillow takes unasked.

    A file that ends too soon is Pillow's too: OpenCV would take it for whole and fill up with grey.
    """
    if not image.startswith(JPEG_START) or not image.endswith(JPEG_END):
        return False
    at = len(JPEG_START)
    while at + 9 < len(image) and image[at] == 0xFF:
        marker, length = struct.unpack_from(">BH", image, at + 1)
        if marker in FRAMES:
            height, width, components = struct.unpack_from(">HHB", image, at + 5)
            return components == 3 and height * width <= (Image.MAX_IMAGE_PIXELS or 0)
        at += 2 + length
    return False


def _jpeg(image: bytes, upright: bool) -> np.ndarray:
    """Pillow's pixels: its decoder is OpenCV's, which has no second copy to make of them."""
    cv2 = opencv()
    as_stored = 0 if upright else cv2.IMREAD_IGNORE_ORIENTATION
    pixels_HW3 = cv2.imdecode(np.frombuffer(image, np.uint8), cv2.IMREAD_COLOR_RGB | as_stored)
    if pixels_HW3 is None:
        raise ValueError("broken data in a JPEG file")
    return pixels_HW3


def _array_to_rgb(image_HWC: np.ndarray) -> np.ndarray:
    if image_HWC.dtype != np.uint8 or image_HWC.ndim != 3 or image_HWC.shape[2] not in (1, 3):
        raise ValueError(f"pixels are {image_HWC.dtype} of shape {image_HWC.shape}; expected uint8 (H, W, 1 or 3)")
    return np.ascontiguousarray(np.broadcast_to(image_HWC, (*image_HWC.shape[:2], 3)))


def _picture_to_rgb(picture: Image.Image) -> tuple[np.ndarray, int]:
    if picture.mode.startswith("I"):
        return _sixteen_bits(np.asarray(picture).astype(np.int64))
    if picture.mode == "F":
        raise ValueError("pixels are floats; store 8 or 16 bits per channel")
    if picture.has_transparency_data:
        on_white = Image.new("RGBA", picture.size, "white")
        picture = Image.alpha_composite(on_white, picture.convert("RGBA"))
    return np.array(picture if picture.mode == "RGB" else picture.convert("RGB")), 0


def _sixteen_bits(image_HW: np.ndarray) -> tuple[np.ndarray, int]:
    if image_HW.min() < 0 or image_HW.max() > 65535:
        raise ValueError("pixels are outside 0 to 65535; store 8 or 16 bits per channel")
    grey_HW = ((image_HW + 128) // 257).astype(np.uint8)  # rounds 65535 -> 255
    return np.repeat(grey_HW[:, :, None], 3, axis=2), 12 if image_HW.max() <= TWELVE_BITS else 16


def is_grey(image_HW3: np.ndarray) -> bool:
    return bool((image_HW3 == image_HW3[:, :, :1]).all())


def resize_bilinear(image_HW3: np.ndarray, size: int) -> np.ndarray:
    """Straight to a square, bilinear between pixel centres, no antialias: what tf.image.resize of TensorFlow 2 does.

    Within 1/255 of torch's F.interpolate(mode="bilinear", align_corners=False) in float: OpenCV's weights have 11
    bits. Returns uint8 (size, size, 3).
    """
    return opencv().resize(image_HW3, (size, size))


def resize_tf1(image_HW3: np.ndarray, size: int) -> np.ndarray:
    """Straight to a square as TensorFlow 1 does it: bilinear without antialias and without pixel centres.

    The source of pixel i is i x scale, between its floor and the next pixel, so the picture moves up and left by half
    of (scale - 1) pixels and the last row and column repeat. The authors' loader resizes so (`tf.compat.v1`'s
    tf.image.resize, KMnP/vpt src/data/datasets/tf_dataset.py:5,150). Returns uint8 (size, size, 3).
    """
    x_HW3 = _between(_between(image_HW3, size, axis=0), size, axis=1)
    return np.rint(x_HW3).astype(np.uint8)


def _between(image_HW3: np.ndarray, size: int, axis: int) -> np.ndarray:
    """float32: one axis read at i x scale for i below `size`."""
    length = image_HW3.shape[axis]
    at = np.arange(size) * (length / size)
    low = at.astype(int)
    share = np.expand_dims((at - low).astype(np.float32), tuple(i for i in range(3) if i != axis))
    near = image_HW3.take(low, axis).astype(np.float32)
    far = image_HW3.take(np.minimum(low + 1, length - 1), axis)
    return near + share * (far - near)


@cache
def opencv() -> ModuleType:
    """OpenCV, imported when it is first needed (0.1 s). Each call stays on its thread: a job's workers are counted."""
    import cv2

    cv2.setNumThreads(1)
    return cv2


def resize_antialias(image_HWC: np.ndarray, size: int) -> np.ndarray:
    """Straight to a square, bilinear with antialias, as Pillow and torchvision resize by default."""
    return np.array(_picture(image_HWC).resize((size, size), Image.Resampling.BILINEAR))


def resize_256_crop(image_HWC: np.ndarray, size: int) -> np.ndarray:
    """The middle square of the image with its shorter side at 256 for a model of 224 pixels (8/7 of any `size`).

    FGVC's resize (KMnP/vpt src/data/transforms.py): bilinear with antialias, aspect kept. Returns (8/7 size, 8/7 size,
    3): the crop to `size`, random in training and from the middle otherwise, is made on the device.
    """
    side = crop_side(size)
    short = min(image_HWC.shape[:2])
    # Floor division, as torchvision.transforms.Resize computes the longer side.
    height, width = (int(side * length / short) for length in image_HWC.shape[:2])
    # So that the crop from the middle of this square is the crop from the middle of the whole image.
    top, left = (round((length - size) / 2) - round((side - size) / 2) for length in (height, width))
    picture, square = _picture(image_HWC), (left, top, left + side, top + side)
    if max(height, width) <= LONG * side:
        return np.array(picture.resize((width, height), Image.Resampling.BILINEAR).crop(square))
    # Cut first: resized whole, an image of 1 x 20,000 pixels would take 4 GB.
    (x, y), (x_scale, y_scale) = picture.size, (picture.width / width, picture.height / height)
    box = (left * x_scale, top * y_scale, min((left + side) * x_scale, x), min((top + side) * y_scale, y))
    return np.array(picture.resize((side, side), Image.Resampling.BILINEAR, box=box))


def crop_side(size: int) -> int:
    """The square that crops of `size` are taken from: 256 for 224, 438 for 384, 512 for 448."""
    return size * 8 // 7


def _picture(image_HWC: np.ndarray) -> Image.Image:
    return Image.fromarray(image_HWC)


RESIZES: dict[str, Callable[[np.ndarray, int], np.ndarray]] = {
    "bilinear": resize_bilinear,
    "tf1": resize_tf1,
    "antialias": resize_antialias,
    "256_crop": resize_256_crop,
}
