from __future__ import annotations

import io

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tests.vptcore.data.layouts import encode, noise, tf1_by_hand
from vptcore.data.decode import (
    crop_side,
    decoded,
    is_grey,
    resize_256_crop,
    resize_antialias,
    resize_bilinear,
    resize_tf1,
    to_rgb,
)


def saved(picture: Image.Image, form: str = "PNG", **options) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, form, **options)
    return buffer.getvalue()


@settings(max_examples=150, deadline=None)
@given(st.integers(1, 90), st.integers(1, 90), st.integers(1, 64), st.integers(0, 2**32 - 1))
def test_resize_equals_torch(height, width, size, seed):
    image = noise(seed, height, width)
    ours = resize_bilinear(image, size)
    assert ours.dtype == np.uint8
    for dtype in (torch.float64, torch.float32):
        x = torch.from_numpy(image).permute(2, 0, 1)[None].to(dtype)
        expected = F.interpolate(x, (size, size), mode="bilinear", align_corners=False, antialias=False)
        assert np.abs(ours - expected[0].permute(1, 2, 0).numpy()).max() <= 1


def test_resize_to_the_same_size_changes_nothing():
    assert np.array_equal(resize_bilinear(noise(0, 17, 17), 17), noise(0, 17, 17))


def test_plain_files_and_arrays():
    assert np.array_equal(to_rgb(encode(noise(1))), noise(1))
    assert np.array_equal(to_rgb(noise(1)), noise(1))
    grey = noise(2, channels=1)
    assert np.array_equal(to_rgb(encode(grey)), np.repeat(grey, 3, axis=2))
    assert np.array_equal(to_rgb(grey), np.repeat(grey, 3, axis=2))
    assert is_grey(to_rgb(grey))
    assert not is_grey(noise(1))


def test_palette():
    picture = Image.fromarray(noise(3)).quantize(8)
    assert np.array_equal(to_rgb(saved(picture)), np.asarray(picture.convert("RGB")))


def test_transparency_lies_on_white():
    rgba = np.dstack([noise(4), noise(5, channels=1)])
    alpha = rgba[..., 3:] / 255
    expected = rgba[..., :3] * alpha + 255 * (1 - alpha)
    assert np.abs(to_rgb(saved(Image.fromarray(rgba))) - expected).max() <= 1
    opaque = np.dstack([noise(4), np.full((12, 12), 255, np.uint8)])
    assert np.array_equal(to_rgb(saved(Image.fromarray(opaque))), noise(4))
    palette = Image.new("P", (2, 1))
    palette.putpalette([255, 0, 0, 0, 255, 0])
    palette.putdata([0, 1])
    assert to_rgb(saved(palette, transparency=0)).tolist() == [[[255, 255, 255], [0, 255, 0]]]


def test_cmyk():
    picture = Image.new("CMYK", (4, 4), (0, 255, 255, 0))
    red = to_rgb(saved(picture, "JPEG", quality=100))[0, 0].tolist()
    assert red[0] > 240
    assert max(red[1:]) < 15


@pytest.mark.parametrize("form", ["PNG", "TIFF"])
def test_sixteen_bits(form):
    values = np.array([[0, 257, 30000, 65535]], np.uint16)
    assert to_rgb(saved(Image.fromarray(values), form))[..., 0].tolist() == [[0, 1, round(30000 / 257), 255]]


def test_one_bit():
    picture = Image.fromarray(np.array([[True, False]]))
    assert to_rgb(saved(picture))[..., 0].tolist() == [[255, 0]]


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF"])
def test_truncated_files(form):
    data = encode(noise(0, 64, 64), form)
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - Pillow words it differently for each format
        to_rgb(data[: len(data) // 2])
    assert "\n" not in str(caught.value)


def test_what_is_no_image():
    with pytest.raises(ValueError, match="known format"):
        to_rgb(b"<html>not found</html>")
    for nothing in (b"", None):
        with pytest.raises(ValueError, match="no image bytes"):
            to_rgb(nothing)
    with pytest.raises(ValueError, match="floats"):
        to_rgb(saved(Image.fromarray(np.zeros((2, 2), np.float32)), "TIFF"))
    with pytest.raises(ValueError, match="0 to 65535"):
        to_rgb(saved(Image.fromarray(np.full((2, 2), 70000, np.int32)), "TIFF"))
    with pytest.raises(ValueError, match="float64"):
        to_rgb(np.zeros((2, 2, 3)))
    with pytest.raises(ValueError, match=r"\(2, 2, 4\)"):
        to_rgb(np.zeros((2, 2, 4), np.uint8))


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 90), st.integers(1, 90), st.integers(8, 64), st.integers(0, 2**32 - 1))
def test_antialias_equals_torch_within_a_level(height, width, size, seed):
    image = noise(seed, height, width)
    x = torch.from_numpy(image).permute(2, 0, 1)[None].double()
    expected = F.interpolate(x, (size, size), mode="bilinear", align_corners=False, antialias=True)
    assert np.abs(resize_antialias(image, size) - expected[0].permute(1, 2, 0).numpy()).max() <= 1.01


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 24), st.integers(0, 2**32 - 1))
def test_tf1_equals_the_form_by_hand(height, width, size, seed):
    image = noise(seed, height, width)
    ours = resize_tf1(image, size)
    assert ours.dtype == np.uint8
    assert np.abs(ours - tf1_by_hand(image, size)).max() <= 0.501


def test_tf1_repeats_the_last_row_and_column():
    """Twice as large: every second pixel is a source's own, and the picture ends on its last pixel twice."""
    image = noise(5, 4, 4)
    ours = resize_tf1(image, 8)
    assert np.array_equal(ours[::2, ::2], image)
    assert np.array_equal(ours[-1], ours[-2])
    assert np.array_equal(ours[:, -1], ours[:, -2])


@settings(max_examples=60, deadline=None)
@given(st.integers(20, 90), st.integers(20, 90), st.sampled_from([14, 21, 28]), st.integers(0, 2**32 - 1))
def test_256_crop_equals_torchvisions(height, width, size, seed):
    """Resize(256) and CenterCrop(224) at a smaller scale, on the same image."""
    from torchvision.transforms import functional as V

    image, side = noise(seed, height, width), crop_side(size)
    picture = V.center_crop(V.resize(Image.fromarray(image), side), [size, size])
    ours = resize_256_crop(image, size)
    assert ours.shape == (side, side, 3)
    assert np.array_equal(V.center_crop(Image.fromarray(ours), [size, size]), picture)


def test_the_sides_of_vpts_transforms():
    assert [crop_side(size) for size in (224, 384, 448)] == [256, 438, 512]


def with_pillow(data: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(data)) as picture:
        return np.asarray(picture.convert("RGB"))


@settings(max_examples=80, deadline=None)
@given(
    st.integers(1, 90), st.integers(1, 90), st.sampled_from([0, 1, 2]), st.sampled_from([1, 50, 75, 95, 100]),
    st.booleans(), st.sampled_from([1, 3]), st.integers(0, 2**32 - 1),
)  # fmt: skip
def test_jpeg_files_have_pillows_pixels(height, width, subsampling, quality, progressive, channels, seed):
    picture = Image.fromarray(
        np.squeeze(noise(seed, height, width, channels), 2) if channels == 1 else noise(seed, height, width)
    )
    data = saved(picture, "JPEG", subsampling=subsampling, quality=quality, progressive=progressive)
    assert np.array_equal(to_rgb(data), with_pillow(data))


def test_a_jpeg_is_not_turned_by_its_orientation():
    exif = Image.Exif()
    exif[0x0112] = 6  # a camera held on its side
    data = saved(Image.fromarray(noise(6, 8, 24)), "JPEG", exif=exif)
    assert np.array_equal(to_rgb(data), with_pillow(data))
    assert to_rgb(data).shape == (8, 24, 3)


def test_only_whole_jpegs_in_three_colours_pass_pillow_by(monkeypatch):
    plain = saved(Image.fromarray(noise(7)), "JPEG")
    others = [
        plain + b"\0",  # something behind the end: to Pillow it is no less whole
        saved(Image.fromarray(noise(7)[..., 0]), "JPEG"),
        saved(Image.new("CMYK", (4, 4)), "JPEG"),
        saved(Image.fromarray(noise(7)), "WEBP"),
    ]
    opened = []
    monkeypatch.setattr(Image, "open", lambda file, real=Image.open: opened.append(file) or real(file))
    to_rgb(plain)
    assert not opened
    for data in others:
        to_rgb(data)
    assert len(opened) == len(others)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 12 * 12 - 1)
    with pytest.warns(Image.DecompressionBombWarning):
        to_rgb(plain)


@pytest.mark.parametrize("end", [b"", b"\xff\xd9"])
def test_a_jpeg_whose_data_lacks_is_one_line(end):
    data = saved(Image.fromarray(noise(0, 64, 64)), "JPEG")
    header = data[: data.index(b"\xff\xda")]
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - who finds it depends on the end
        to_rgb(header + end)
    assert "\n" not in str(caught.value)


FORMS = {"JPEG": {"quality": 95}, "PNG": {}, "WEBP": {"lossless": True}, "TIFF": {}, "AVIF": {"quality": 100}}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_format_is_turned_alike(form, orientation):
    """EXIF 2.32, 4.6.5: what row 0 and column 0 of the stored picture are of the one to be seen."""
    seen = np.kron(np.arange(1, 7, dtype=np.uint8).reshape(2, 3) * 40, np.ones((16, 16), np.uint8))
    seen = np.repeat(seen[..., None], 3, axis=2)
    stored = {
        1: seen, 2: seen[:, ::-1], 3: seen[::-1, ::-1], 4: seen[::-1], 5: seen.transpose(1, 0, 2),
        6: np.rot90(seen, 1), 7: seen[::-1, ::-1].transpose(1, 0, 2), 8: np.rot90(seen, -1),
    }[orientation]  # fmt: skip
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = saved(Image.fromarray(np.ascontiguousarray(stored)), form, exif=exif, **FORMS[form])
    for upright, expected in ((True, seen), (False, stored)):
        ours = to_rgb(data, upright=upright)
        assert ours.shape == expected.shape
        assert np.abs(ours.astype(int) - expected).max() <= 12


def test_the_bits_of_a_sixteen_bit_image():
    deep = np.arange(16, dtype=np.uint16).reshape(4, 4) * 273
    assert decoded(saved(Image.fromarray(deep)))[1] == 12
    assert decoded(saved(Image.fromarray(deep * 16)))[1] == 16
    assert decoded(encode(noise(0)))[1] == 0


@pytest.mark.parametrize(("height", "width"), [(3, 50), (40, 900), (900, 40), (7, 90)])
def test_a_long_image_is_cut_before_it_is_resized_and_is_the_same(height, width):
    image, short = noise(0, height, width), min(height, width)
    whole_size = int(256 * width / short), int(256 * height / short)
    whole = np.array(Image.fromarray(image).resize(whole_size, Image.Resampling.BILINEAR))
    top, left = (round((length - 224) / 2) - 16 for length in whole.shape[:2])
    ours = resize_256_crop(image, 224)
    assert np.abs(ours.astype(int) - whole[top : top + 256, left : left + 256]).max() <= 1


def test_a_line_of_pixels_needs_no_gigabytes():
    image = np.repeat(np.arange(20_000, dtype=np.uint16).reshape(1, -1, 1) // 100, 3, axis=2).astype(np.uint8)
    assert set(np.unique(resize_256_crop(image, 224))) <= {99, 100}


def test_heic_is_decoded_where_its_package_is_there():
    """A lossless one against its own pixels; `pip install 'vptcore[heic]'` brings it."""
    pillow_heif = pytest.importorskip("pillow_heif")
    pixels = np.random.default_rng(0).integers(0, 256, (24, 32, 3), dtype=np.uint8)
    file = io.BytesIO()
    heif = pillow_heif.from_pillow(Image.fromarray(pixels))
    heif.save(file, quality=-1, chroma=444, matrix_coefficients=0)
    found = to_rgb(file.getvalue())
    assert found.shape == pixels.shape
    assert np.abs(found.astype(int) - pixels).max() <= 2
