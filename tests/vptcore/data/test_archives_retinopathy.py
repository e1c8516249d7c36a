"""Kaggle's retinopathy files, and their preparation beside a plain form of it."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from PIL import Image

from tests.vptcore.data.archive_layouts import fails, jpeg, make_files, make_zip, md5_order, read
from tests.vptcore.data.layouts import encode
from vptcore.data.decode import to_rgb
from vptcore.data.readers.archives.retinopathy import evened, prepared


def eye(radius: int = 60, seed: int = 0) -> np.ndarray:
    """A bright disc with noise on black, wider than high."""
    y, x = np.mgrid[: 2 * radius + 7, : 2 * radius + 31]
    inside = np.hypot(y - radius - 3, x - radius - 15) < radius
    noise = np.random.default_rng(seed).integers(60, 220, (*inside.shape, 3), dtype=np.uint8)
    return np.where(inside[..., None], noise, 0).astype(np.uint8)


def rows(folder: str, count: int) -> list[str]:
    return [f"{number}_{side}" for number in range(count // 2) for side in ("left", "right")]


def layout(root, zipped: bool, labels: str | None = None, solution: str | None = None) -> None:
    for folder in ("train", "test"):
        images = {f"{folder}/{name}.jpeg": jpeg(row) for row, name in enumerate(rows(folder, 20))}
        if zipped:
            make_zip(root / f"{folder}.zip", images)
        else:
            make_files(root, images)
    grades = [f"{name},{row % 5}" for row, name in enumerate(rows("train", 20))]
    (root / "trainLabels.csv").write_text(labels or "\n".join(["image,level", *grades]))
    usages = [f"{line},{'Public' if row < 10 else 'Private'}" for row, line in enumerate(grades)]
    (root / "retinopathy_solution.csv").write_text(solution or "\n".join(["image,level,Usage", *usages]))


@pytest.mark.parametrize("zipped", [True, False])
def test_retinopathy(tmp_path, zipped):
    layout(tmp_path, zipped)
    opened, items, images = read("diabetic_retinopathy", tmp_path, images=3)
    names = rows("train", 20)
    expected = []
    for split, tfds, part in (
        ("train", "train", names),
        ("val", "validation", names[:10]),
        ("test", "test", names[10:]),
    ):
        expected += [(f"{tfds}/{name}", split, names.index(name) % 5) for name in md5_order(tfds, part)]
    assert [(item.key, item.split, item.label) for item in items] == expected
    assert "btgraham-300" in opened.substitutes[0]
    for item, image in zip(items, images, strict=False):
        assert image == prepared(jpeg(names.index(item.key.partition("/")[2])))


def test_the_preparation_beside_a_plain_form_of_it():
    picture = eye()
    row = picture[len(picture) // 2].sum(1)
    factor = 300 / ((row > row.mean() / 10).sum() / 2)
    planes = torch.from_numpy(picture).permute(2, 0, 1)[None].double()
    size = [round(length * factor) for length in picture.shape[:2]]
    grid = torch.nn.functional.interpolate(planes, scale_factor=factor, mode="bilinear", align_corners=False)
    scaled = torch.round(grid)[0]
    taps = torch.exp(-0.5 * (torch.arange(-30, 31).double() / 10) ** 2)
    taps = taps / taps.sum()
    padded = torch.nn.functional.pad(scaled[None], (30, 30, 30, 30), mode="reflect")[0][:, None]
    blurred = torch.nn.functional.conv2d(
        torch.nn.functional.conv2d(padded, taps.view(1, 1, -1, 1)), taps.view(1, 1, 1, -1)
    )
    detail = (4 * scaled - 4 * torch.round(blurred[:, 0]) + 128).clamp(0, 255)
    y, x = (length // 2 for length in size)
    outside = np.hypot(*np.ogrid[-y : detail.shape[1] - y, -x : detail.shape[2] - x]) > 270
    plain = detail.permute(1, 2, 0).numpy()
    plain[outside] = 128
    plain = plain[y - 270 : y + 270, x - 270 : x + 270]
    ours = evened(picture).astype(int)
    assert ours.shape == plain.shape == (540, 540, 3)
    # Image and local mean are whole numbers before they are multiplied by 4: each may round the other way.
    apart = np.abs(ours - plain)
    assert apart.max() <= 8
    assert apart.mean() < 0.5
    assert (ours[:40, :40] == 128).all()  # grey outside the circle
    stored = prepared(encode(picture))
    buffer = io.BytesIO()
    Image.fromarray(evened(picture)).save(buffer, "JPEG", quality=72)
    assert stored == buffer.getvalue()
    with Image.open(io.BytesIO(stored)) as picture_out:
        assert picture_out.size == (540, 540)


def test_an_eye_that_cannot_be_scaled_is_one_line():
    with pytest.raises(ValueError, match="an image of 2000 x 1 pixels cannot be scaled by"):
        evened(np.full((1, 2000, 3), 200, np.uint8))


def test_a_dark_image_takes_its_height_for_the_radius():
    assert to_rgb(prepared(encode(np.zeros((40, 60, 3), np.uint8)))).shape == (540, 540, 3)


@pytest.mark.parametrize(
    ("labels", "solution", "words"),
    [
        ("image,grade\na,0", None, ["trainLabels.csv: no column level", "found image, grade"]),
        ("", "image,level\na,0", ["retinopathy_solution.csv: no column Usage"]),
        ("image,level\n0_left,5", None, ["trainLabels.csv: line 2: level '5' of '0_left'", "0 to 4"]),
        ("image,level\n0_left,0\n0_right,x", None, ["trainLabels.csv: line 3: level 'x'"]),
        ("image,level\n77_left,0", None, ["no image train/77_left.jpeg", "trainLabels.csv"]),
        ("image,level\n0_left,0\n0_left,0", None, ["trainLabels.csv: all: 0_left is there twice"]),
        ("image,level\n0_left,0", None, ["trainLabels.csv: all: no image of class 'mild'", "4 of 5"]),
    ],
)
def test_label_files_that_cannot_be(tmp_path, labels, solution, words):
    layout(tmp_path, True, labels or None, solution)
    message = fails("diabetic_retinopathy", tmp_path)
    assert all(word in message for word in words)


def test_a_missing_label_file(tmp_path):
    layout(tmp_path, False)
    (tmp_path / "retinopathy_solution.csv").unlink()
    message = fails("diabetic_retinopathy", tmp_path)
    assert "no retinopathy_solution.csv found" in message
    assert "Kaggle's competition rules" in message
