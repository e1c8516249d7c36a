"""Prepared images put into parts: copies and groups on one side, the person's own splits as they are, files that
stay."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from tests.vptstudy.advise.test_twins import brighter, picture
from vptcore.data import arrays
from vptcore.data.told import read_told
from vptstudy.advise import rungs
from vptstudy.advise.look import look
from vptstudy.advise.parting import part
from vptstudy.config.resolve import load_study
from vptstudy.graph import flow


@pytest.fixture
def prepared(tmp_path, monkeypatch):
    """A function: of {path: pixels} what `part` finds, and the splits of each of its files."""
    monkeypatch.chdir(tmp_path)

    def parted(pictures: dict[str, np.ndarray], by: str = ""):
        for path, pixels in pictures.items():
            (tmp_path / "pets" / path).parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(tmp_path / "pets" / path)
        found = look(tmp_path / "pets")
        setting = rungs.Setting(found, "results", "vit_mini_cifar10", device="cpu")
        study = load_study(rungs.images(setting))
        files = flow.task_files(study, "pets", "train")
        job = {"version": 1, "task": "pets", "source": "folder", "path": str(tmp_path / "pets"), "size": 32, "seed": 0,
               "classes": found.classes, "max_pool": 1000, "resize": "antialias", "signature": "",
               "on_bad_image": setting.tasks["pets"]["on_bad_image"]}  # fmt: skip
        for file in files.values():
            Path(file).parent.mkdir(parents=True, exist_ok=True)
        arrays.prepare(job, files["images"], files["index"])
        one = part(study, found, by, Path("results/pets"))
        return one, [read_told(file) for file in one.files]

    return parted


def plain(count: int, where: str = "{kind}/{number}.png") -> dict[str, np.ndarray]:
    return {where.format(kind="ab"[k % 2], number=k, group=k // 4): picture(k) for k in range(count)}


def test_few_images_make_five_folds_and_each_is_tested_once(prepared):
    one, folds = prepared(plain(60))
    assert (one.folds, len(folds), one.files[0]) == (5, 5, "results/pets/folds/1.csv")
    tests = pd.DataFrame(folds).eq("test").sum()
    assert (tests == 1).all()
    assert (one.train, one.val) == (38, 10)
    assert any("5 folds" in line for line in one.lines)


def test_copies_and_likenesses_stay_together_and_are_counted(prepared):
    pictures = plain(60)
    pictures["a/copy.png"] = pictures["a/0.png"]
    pictures["b/like.png"] = brighter(pictures["b/1.png"])
    one, folds = prepared(pictures)
    for told in folds:
        assert told["a/copy.png"] == told["a/0.png"]
        assert told["b/like.png"] == told["b/1.png"]
    assert any("2 of the images repeat an earlier one (1 pixel by pixel and 1 nearly)" in line for line in one.lines)


def test_images_that_cannot_be_decoded_are_left_out_by_name(prepared, tmp_path):
    (tmp_path / "pets" / "a").mkdir(parents=True)
    for name in ("torn", "empty", "page", "late"):
        (tmp_path / "pets" / "a" / f"{name}.jpg").write_bytes(b"no picture" * (name != "empty"))
    one, folds = prepared(plain(24))
    assert one.lines[0].startswith("4 images are left out that cannot be decoded (a/empty.jpg: ")
    assert one.lines[0].endswith("; ...)")
    assert {len(told) for told in folds} == {24}


def test_a_class_or_a_folder_that_cannot_be_decoded_is_one_line(prepared, tmp_path):
    (tmp_path / "pets" / "c").mkdir(parents=True)
    for number in range(8):
        (tmp_path / "pets" / "c" / f"{number}.jpg").write_bytes(b"no picture")
    with pytest.raises(ValueError, match=r"pets: no image can be decoded of c; replace them, or take the class out"):
        prepared(plain(24))
    for number in range(8):
        (tmp_path / "pets" / "c" / f"{number}.jpg").unlink()
        (tmp_path / "pets" / "a" / f"torn_{number}.jpg").write_bytes(b"no picture")
    (tmp_path / "pets" / "c").rmdir()
    for number in range(8, 24):
        (tmp_path / "pets" / "ab"[number % 2] / f"{number}.png").unlink()
    with pytest.raises(ValueError, match=r"pets: 14 images can be decoded; expected at least 20"):
        prepared({f"b/more_{k}.png": picture(40 + k) for k in range(6)})


def test_one_copy_is_counted_once(prepared):
    pictures = plain(60)
    pictures["a/copy.png"] = pictures["a/0.png"]
    one, _ = prepared(pictures)
    assert any("1 of the images repeats an earlier one (pixel by pixel): on one side" in line for line in one.lines)


def test_sizes_are_told_as_they_were_before_the_resize(prepared):
    pictures = plain(20)
    height, width = pictures["a/0.png"].shape[:2]
    one, _ = prepared(pictures)
    assert one.lines[0] == f"every image has {width} × {height} pixels"
    wide, small = np.zeros((7, 1200, 3), np.uint8), np.zeros((3, 2, 3), np.uint8)
    one, _ = prepared(pictures | {"a/wide.png": wide, "b/small.png": small})
    assert one.lines[0] == f"images have from 2 × 3 to 1,200 × 7 pixels, the middle one {width} × {height}"


def test_no_group_is_on_two_sides(prepared):
    one, folds = prepared(plain(80, "{kind}/g{group}/{number}.png"), "parent")
    for told in folds:
        sides = pd.Series(told).groupby([str(Path(key).parent) for key in told]).nunique()
        assert (sides == 1).all()
    assert any("40 groups by parent" in line for line in one.lines)


def test_ones_own_test_stays_and_what_is_in_it_and_in_train_is_said(prepared):
    pictures = {f"train/{key}": pixels for key, pixels in plain(40).items()}
    pictures |= {f"test/{key}": pixels for key, pixels in plain(10, "{kind}/t{number}.png").items()}
    one, (told,) = prepared(pictures)
    assert {key for key, split in told.items() if split == "test"} == {key for key in told if key.startswith("test")}
    assert sum(split == "val" for split in told.values()) == 8
    assert any("10 images of test are also in train" in line or "of test are also in val" in line for line in one.lines)
    assert sum(twins.exact for twins in one.shared) == 10


def test_where_all_pictures_look_alike_only_copies_are_kept_together(prepared):
    base = picture(1).astype(int)
    pictures = {f"{'ab'[k % 2]}/{k}.png": np.clip(base + k // 8, 0, 255).astype(np.uint8) for k in range(40)}
    one, folds = prepared(pictures)
    assert any("look alike one to the next" in line for line in one.lines)
    assert all(set(told.values()) == {"train", "val", "test"} for told in folds)


def test_where_ones_own_val_and_test_stand_nothing_is_written(prepared):
    parts = {"train": plain(24), "val": plain(4, "{kind}/v{number}.png"), "test": plain(6, "{kind}/t{number}.png")}
    pictures = {f"{part}/{key}": pixels for part, some in parts.items() for key, pixels in some.items()}
    one, folds = prepared(pictures)
    assert (one.files, one.folds, folds) == ((), 1, [])
    assert (one.train, one.val) == (24, 4)
    assert {(twin.earlier, twin.later): twin.exact for twin in one.shared} == {
        ("train", "val"): 4,
        ("train", "test"): 6,
    }
    assert any(line == "10 of the images repeat an earlier one (pixel by pixel)" for line in one.lines)
