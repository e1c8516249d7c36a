from __future__ import annotations

import hashlib
import io

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from tests.vptcore.data.layouts import encode, make_folder, make_parquet, make_vtab1k, make_wds, noise
from vptcore import records
from vptcore.data.arrays import prepare
from vptcore.data.decode import to_rgb


def prepared(folder, source, path=None, *, task="mine", classes=3, size=32, workers=1, max_pool=25000, **more):
    job = {
        "task": task, "source": source, "path": str(path) if path else None, "classes": classes, "size": size,
        "max_pool": max_pool, "seed": 0, "version": 1, "workers": workers,
        **more,
    }  # fmt: skip
    images, index = folder / "out" / "images.npy", folder / "out" / "rows.parquet"
    line = prepare(job, images, index)
    assert "\n" not in line
    return line, np.load(images, mmap_mode="r"), records.read_rows(index, "index"), records.read_provenance(index)


def parquet_of(path, images, splits=None):
    columns = {"image": images, "label": [i % 3 for i in range(len(images))]}
    return make_parquet(path, {**columns, "split": splits or ["train"] * (len(images) - 1) + ["test"]})


def test_images_of_one_small_size_are_kept_as_they_are(tmp_path):
    path = parquet_of(tmp_path / "mine.parquet", [encode(noise(i, 20, 30)) for i in range(7)])
    line, images, index, note = prepared(tmp_path, "parquet", path)
    assert images.dtype == np.uint8
    assert images.shape == (7, 20, 30, 3)
    for i in range(7):
        assert np.array_equal(images[i], noise(i, 20, 30))
    assert index["row"].tolist() == list(range(7))
    assert index["label"].tolist() == [0, 1, 2, 0, 1, 2, 0]
    assert index["split"].tolist() == ["train"] * 6 + ["test"]
    assert index["sha256"].tolist() == [hashlib.sha256(image.tobytes()).hexdigest() for image in images]
    assert set(zip(index["width"], index["height"], strict=True)) == {(30, 20)}
    assert line.startswith("6 train, 1 test, 3 classes, 20x30x3 kept native, ")
    assert note["inputs"]["source"]["sha256"] == records.file_sha256(path)
    assert note["counts"] == {"train": 6, "val": 0, "test": 1}
    assert not list((tmp_path / "out").glob(".*"))


@pytest.mark.parametrize("channels", [1, 3])
def test_grey_images_are_kept_with_one_channel(tmp_path, channels):
    grey = [np.repeat(noise(i, channels=1), channels, axis=2) for i in range(5)]
    path = parquet_of(tmp_path / "mine.parquet", [encode(image) for image in grey])
    _, images, index, _ = prepared(tmp_path, "parquet", path)
    assert images.shape == (5, 12, 12, 1)
    assert all(np.array_equal(images[i][..., 0], grey[i][..., 0]) for i in range(5))
    assert index["sha256"].tolist() == [hashlib.sha256(image.tobytes()).hexdigest() for image in images]


def test_one_colour_image_keeps_three_channels(tmp_path):
    images = [encode(noise(i, channels=3 if i == 3 else 1)) for i in range(5)]
    _, stored, _, _ = prepared(tmp_path, "parquet", parquet_of(tmp_path / "mine.parquet", images))
    assert stored.shape == (5, 12, 12, 3)


@pytest.mark.parametrize("sizes", [[(20, 30), (20, 30), (20, 31)], [(40, 40)] * 3, [(20, 30), (33, 10), (8, 8)]])
def test_all_other_images_get_the_benchmarks_resize(tmp_path, sizes):
    images = [noise(i, *size) for i, size in enumerate(sizes)]
    path = parquet_of(tmp_path / "mine.parquet", [encode(image) for image in images])
    line, stored, index, _ = prepared(tmp_path, "parquet", path)
    assert stored.shape == (3, 32, 32, 3)
    assert "32x32x3 resized" in line
    for image, ours in zip(images, stored, strict=True):
        x = torch.from_numpy(image).permute(2, 0, 1)[None].float()
        torchs = F.interpolate(x, (32, 32), mode="bilinear", align_corners=False)[0].permute(1, 2, 0).numpy()
        assert np.abs(ours - torchs).max() <= 1
    assert list(zip(index["height"], index["width"], strict=True)) == sizes


@pytest.mark.parametrize("side", [24, 40])
def test_workers_do_not_change_a_byte(tmp_path, side):
    root = tmp_path / "data"
    sizes = [(side, side)] * 30 + ([(side, side + 1)] if side == 24 else [])
    path = parquet_of(tmp_path / "mine.parquet", [encode(noise(i, *size), "JPEG") for i, size in enumerate(sizes)])
    runs = []
    for workers in (1, 3):
        _, _, index, note = prepared(root / str(workers), "parquet", path, workers=workers)
        runs.append(((root / str(workers) / "out" / "images.npy").read_bytes(), index, note["job_hash"]))
    assert runs[0][0] == runs[1][0]
    assert runs[0][1].equals(runs[1][1])
    assert runs[0][2] == runs[1][2]


def test_the_pool_is_capped_and_val_and_test_are_not(tmp_path):
    root = make_vtab1k(tmp_path / "t", {"train800": 9, "val200": 6, "test": 8})
    _, images, index, note = prepared(tmp_path, "vtab1k", root, max_pool=4)
    assert index["split"].tolist() == ["train"] * 4 + ["val"] * 6 + ["test"] * 8
    assert index["key"].tolist()[:4] == [f"images/train800/00000{i}.jpg" for i in range(4)]
    assert note["capped"]
    assert ["JPEG" in line for line in note["substitutes"]] == [True]
    assert np.array_equal(images[3], to_rgb((root / "images/train800/000003.jpg").read_bytes()))


@pytest.mark.parametrize("source", ["wds", "folder"])
def test_layouts_from_disk(tmp_path, source):
    if source == "wds":
        root = make_wds(tmp_path / "t", {"train": [0, 1, 2, 0, 1, 2], "test": [2, 1, 0]})
    else:
        root = make_folder(tmp_path / "t", {"train/a": 2, "train/b": 2, "train/c": 2, "test/a": 1, "test/b": 2})
    line, images, index, _ = prepared(tmp_path, source, root)
    assert line.startswith("6 train, 3 test, 3 classes, 12x12x3 kept native")
    seeds = [0, 1, 2, 3, 4, 5, 0, 1, 2] if source == "wds" else [0, 1, 0, 1, 0, 1, 0, 0, 1]
    assert all(np.array_equal(images[row], noise(seed)) for row, seed in enumerate(seeds))
    assert index["source"].unique().tolist() == [source]


def test_duplicates_and_absent_classes_are_reported(tmp_path):
    seeds = [0, 1, 1, 2, 0, 9, 2, 2]
    splits = ["train"] * 3 + ["val"] * 2 + ["test"] * 3
    path = parquet_of(tmp_path / "mine.parquet", [encode(noise(seed)) for seed in seeds], splits)
    line, _, _, note = prepared(tmp_path, "parquet", path, classes=4)
    assert note["duplicates"] == {"train-train": 1, "train-val": 1, "train-test": 0, "val-test": 2}
    # labels are 0 1 2 | 0 1 | 2 0 1
    assert note["absent_classes"] == {"train": [3], "val": [2, 3], "test": [3]}
    assert "1 duplicate inside train, 1 duplicate train-val, 2 duplicates val-test" in line
    assert "absent classes: 1 in train, 2 in val, 1 in test" in line


def test_a_test_set_of_another_size_than_the_benchmarks_is_reported(tmp_path):
    root = make_wds(tmp_path / "t", {"train": [0, 1, 2], "test": [2, 1]})
    line, _, _, note = prepared(tmp_path, "wds", root, task="kitti_distance", classes=4)
    assert note["test_expected"] == 711
    assert line.endswith("711 test images expected")


def test_embedded_tasks(tmp_path):
    line, images, index, note = prepared(tmp_path, "sklearn_digits", task="digits", classes=10)
    assert line.startswith("1,297 train, 500 test, 10 classes, 8x8x1 kept native")
    assert images.shape == (1797, 8, 8, 1)
    assert index["class_name"].tolist() == index["label"].astype(str).tolist()
    assert note["inputs"] == {}
    assert note["test_expected"] is None


@pytest.mark.parametrize("broken", ["truncated", "html", "null"])
@pytest.mark.parametrize("workers", [1, 3])
def test_a_broken_image_is_named_and_nothing_is_left_behind(tmp_path, broken, workers):
    whole = encode(noise(5, 64, 64))
    bad = {"truncated": whole[: len(whole) // 2], "html": b"<html>", "null": None}[broken]
    path = parquet_of(tmp_path / "mine.parquet", [encode(noise(i)) for i in range(5)] + [bad])
    with pytest.raises(ValueError, match=r"mine\.parquet: image row 5 cannot be decoded") as caught:
        prepared(tmp_path, "parquet", path, workers=workers)
    assert "\n" not in str(caught.value)
    assert not list((tmp_path / "out").iterdir())


def test_a_failure_leaves_the_earlier_files_as_they_were(tmp_path):
    good = parquet_of(tmp_path / "good.parquet", [encode(noise(i)) for i in range(3)])
    prepared(tmp_path, "parquet", good)
    before = {p.name: p.read_bytes() for p in (tmp_path / "out").iterdir()}
    bad = parquet_of(tmp_path / "bad.parquet", [encode(noise(0)), b"x"])
    with pytest.raises(ValueError, match="row 1"):
        prepared(tmp_path, "parquet", bad)
    assert {p.name: p.read_bytes() for p in (tmp_path / "out").iterdir()} == before


def test_an_empty_source(tmp_path):
    path = make_parquet(tmp_path / "mine.parquet", {"image": [], "label": [], "split": []})
    with pytest.raises(ValueError, match="no images found for mine"):
        prepared(tmp_path, "parquet", path)


@pytest.mark.parametrize("name", ["train/0.tar", "train/1.tar", "test/0.tar"])
def test_a_shard_of_zero_bytes_is_named_and_nothing_is_left_behind(tmp_path, name):
    root = make_wds(tmp_path / "t", {"train": [0, 1, 2], "test": [0, 1, 2]}, per_shard=2)
    (root / name).write_bytes(b"")
    with pytest.raises(ValueError, match="not a whole tar file") as caught:
        prepared(tmp_path, "wds", root)
    assert str(caught.value).startswith(f"{root / name}: ")
    assert "\n" not in str(caught.value)
    assert not list((tmp_path / "out").iterdir())


@pytest.mark.parametrize(("source", "name"), [("parquet", "mine.parquet"), ("hf", "data/test-00000-of-00001.parquet")])
def test_a_parquet_of_zero_bytes_is_named_and_nothing_is_left_behind(tmp_path, source, name):
    root = tmp_path / "t"
    (root / "data").mkdir(parents=True)
    if source == "hf":
        make_parquet(
            root / "data/train-00000-of-00001.parquet",
            {"image": [encode(noise(i)) for i in range(3)], "label": [0, 1, 2]},
        )
    (root / name).write_bytes(b"")
    with pytest.raises(ValueError, match="not a readable parquet file") as caught:
        prepared(tmp_path, source, root if source == "hf" else root / name)
    assert str(caught.value).startswith(f"{root / name}: ")
    assert "\n" not in str(caught.value)
    assert not list((tmp_path / "out").iterdir())


def test_an_empty_folder_says_what_to_put_there(tmp_path):
    (tmp_path / "mine" / "cat").mkdir(parents=True)
    with pytest.raises(ValueError, match=r"^mine: no data found in .*/mine; put there one folder of images per class"):
        prepared(tmp_path, "folder", tmp_path / "mine")
    assert not list((tmp_path / "out").iterdir())


def own_folder(root):
    """Two classes of 40 images each, above one chunk, below train and test."""
    return make_folder(root, {"train/a": 30, "train/b": 30, "test/a": 10, "test/b": 10})


BAD = ("train/a/1.png", "train/b/29.png", "test/b/3.png")


def spoiled(root):
    for name in BAD[:2]:
        (root / name).write_bytes(b"<html>")
    (root / BAD[2]).unlink()
    (root / BAD[2]).symlink_to(root / "gone.png")
    return root


@pytest.mark.parametrize("workers", [1, 3])
def test_all_bad_images_are_in_one_list(tmp_path, workers):
    root = spoiled(own_folder(tmp_path / "in"))
    with pytest.raises(ValueError, match="3 images cannot be decoded: ") as error:
        prepared(tmp_path, "folder", root, classes=2, workers=workers)
    line = str(error.value)
    assert "\n" not in line
    places = [line.index(name) for name in BAD]
    assert places == sorted(places)
    assert line.endswith("replace them, take them out, or set tasks.mine.on_bad_image: skip")
    assert "No such file" in line


@pytest.mark.parametrize("workers", [1, 3])
def test_bad_images_can_be_skipped_and_are_named(tmp_path, workers):
    root = spoiled(own_folder(tmp_path / "in"))
    line, images, index, note = prepared(tmp_path, "folder", root, classes=2, workers=workers, on_bad_image="skip")
    kept = [f"{part}/{kind}/{i}.png" for part, count in (("train", 30), ("test", 10)) for kind in "ab"
            for i in sorted(range(count), key=lambda i: f"{i}.png")]  # fmt: skip
    assert index["key"].tolist() == [key for key in kept if key not in BAD]
    assert index["row"].tolist() == list(range(77)) == list(range(len(images)))
    assert note["skipped"]["count"] == 3
    assert {key for key, _ in note["skipped"]["images"]} == set(BAD)
    assert "3 bad images skipped (train/a/1.png, " in line
    assert "3 images that cannot be decoded are left out" in note["substitutes"]
    for row in (0, 40, 76):
        number = int(index["key"][row].split("/")[-1].split(".")[0])
        assert np.array_equal(images[row], noise(number))


def test_what_is_left_out_is_in_the_line_the_metadata_and_the_captions(tmp_path):
    root = own_folder(tmp_path / "in")
    for name in ("train/a/x.tga", "train/a/y.tga", "notes.txt", "loose.png"):
        (root / name).write_bytes(b"")
    line, _, index, note = prepared(tmp_path, "folder", root, classes=2)
    assert len(index) == 80
    assert "4 files left out: 2 .tga (train/a/x.tga, train/a/y.tga), 1 .txt (notes.txt), 1 images outside" in line
    assert note["left_out"][".tga"] == {"count": 2, "names": ["train/a/x.tga", "train/a/y.tga"]}
    assert note["substitutes"] == ["3 image files are left out (2 .tga, 1 images outside class folders)"]


def turned(seed: int = 0) -> bytes:
    """A JPEG whose EXIF asks for a quarter turn."""
    picture, exif = Image.fromarray(noise(seed, 10, 20)), Image.Exif()
    exif[0x0112] = 6
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", exif=exif)
    return buffer.getvalue()


@pytest.mark.parametrize(("task", "classes", "width"), [("mine", 2, 10), ("patch_camelyon", 2, 20)])
def test_own_images_are_turned_upright_and_a_benchmarks_are_not(tmp_path, task, classes, width):
    columns = {"image": [turned(i) for i in range(4)], "label": [0, 1] * 2, "split": ["train"] * 2 + ["test"] * 2}
    path = make_parquet(tmp_path / "mine.parquet", columns)
    _, _, index, note = prepared(tmp_path, "parquet", path, task=task, classes=classes)
    assert index["width"].unique().tolist() == [width]
    assert any("the benchmark has 32,768" in line for line in note["substitutes"]) == (task == "patch_camelyon")


@pytest.mark.parametrize(("highest", "remarks"), [(4095, 1), (60_000, 0)])
def test_twelve_bits_in_sixteen_are_remarked_on(tmp_path, highest, remarks):
    deep = [np.linspace(0, highest, 144).astype(np.uint16).reshape(12, 12) + i for i in range(4)]
    deep = [np.minimum(image, highest) for image in deep]
    columns = {"image": [encode(image) for image in deep], "label": [0, 1] * 2, "split": ["train"] * 2 + ["test"] * 2}
    line, _, _, note = prepared(tmp_path, "parquet", make_parquet(tmp_path / "a.parquet", columns), classes=2)
    assert len(note["remarks"]) == remarks
    assert ("4 16-bit files whose values are all below 4,096" in line) == bool(remarks)
