"""EuroSAT, RESISC45 and Caltech101: a folder of images per class."""

from __future__ import annotations

import numpy as np
import pytest

from tests.vptcore.data.archive_layouts import fails, jpeg, make_files, make_tar, make_zip, md5_order, read
from tests.vptcore.data.test_archives_order import EUROSAT_SIZES, RESISC_CLASSES

EUROSAT = [(name, f"{name}_{i}.jpg") for name in EUROSAT_SIZES for i in range(1, 11)]
RESISC = [(name, f"{name}_{i:03d}.jpg") for name in RESISC_CLASSES for i in range(1, 11)]


@pytest.mark.parametrize(
    ("task", "rows", "layout"),
    [
        ("eurosat", EUROSAT, "EuroSAT.zip:2750/"), ("eurosat", EUROSAT, "EuroSAT_RGB.zip:EuroSAT_RGB/"),
        ("eurosat", EUROSAT, "2750/"), ("eurosat", EUROSAT, ""), ("resisc45", RESISC, "NWPU-RESISC45/"),
        ("resisc45", RESISC, "NWPU-RESISC45.zip:NWPU-RESISC45/"),
    ],
)  # fmt: skip
def test_class_folders(tmp_path, task, rows, layout):
    archive, _, top = layout.rpartition(":")
    members = {f"{top}{folder}/{name}": jpeg(row) for row, (folder, name) in enumerate(rows)}
    if archive:
        make_zip(tmp_path / archive, members)
    else:
        make_files(tmp_path, members)
    opened, items, images = read(task, tmp_path)
    keys = [f"{folder}_{name}" for folder, name in rows]
    order = md5_order("train", keys)
    count = len(rows)
    assert [item.key for item in items] == [f"train/{key}" for key in order]
    assert [item.split for item in items] == (
        ["train"] * (count * 60 // 100) + ["val"] * (count * 20 // 100) + ["test"] * (count // 5)
    )
    classes = sorted({folder for folder, _ in rows})
    assert opened.class_names == tuple(classes)
    for key, item, image in zip(order, items, images, strict=True):
        row = keys.index(key)
        assert item.label == classes.index(rows[row][0])
        assert image == jpeg(row)


def test_class_folders_that_are_not_whole(tmp_path):
    members = {f"2750/{folder}/{name}": jpeg(0) for folder, name in EUROSAT}
    path = make_zip(tmp_path / "EuroSAT.zip", {name: data for name, data in members.items() if "/River/" not in name})
    assert "found 9 classes" in fails("eurosat", tmp_path)
    make_zip(path, {"2750/readme.txt": b"x"})
    assert "no .jpg below class folders" in fails("eurosat", tmp_path)
    path.write_bytes(b"")
    assert "an empty file" in fails("eurosat", tmp_path)
    path.unlink()
    message = fails("eurosat", tmp_path)
    assert "no EuroSAT.zip found" in message
    assert "94.3 MB" in message


CALTECH = {f"{'Thing' if c % 2 else 'thing'}_{c:03d}": 31 + c % 3 for c in range(101)} | {"BACKGROUND_Google": 33}


def caltech_members(sizes=CALTECH) -> dict[str, bytes]:
    return {f"101_ObjectCategories/{name}/image_{i:04d}.jpg": f"{name} {i}".encode()
            for name, count in sizes.items() for i in range(1, count + 1)} | {
        "101_ObjectCategories/BACKGROUND_Google/tmp": b"x"}  # fmt: skip


@pytest.mark.parametrize("layout", ["zip", "tar", "zip unpacked", "folder"])
def test_caltech101(tmp_path, layout):
    inner = make_tar(tmp_path / "made" / "101_ObjectCategories.tar.gz", caltech_members())
    root = tmp_path / "caltech101"
    if layout == "zip":
        more = {"caltech-101/Annotations.tar": b"x", "__MACOSX/caltech-101/._101_ObjectCategories.tar.gz": b"x"}
        make_zip(root / "caltech-101.zip", {"caltech-101/101_ObjectCategories.tar.gz": inner.read_bytes()} | more)
    elif layout == "folder":
        make_files(root, caltech_members())
    else:
        make_files(root, {f"{'caltech-101/' if 'unpacked' in layout else ''}{inner.name}": inner.read_bytes()})
    opened, items, images = read("caltech101", root)
    draw = np.random.RandomState(1234)
    train, test = [], []
    for name in sorted(CALTECH, key=str.lower):
        files = [f"{name}/image_{i:04d}.jpg" for i in range(1, CALTECH[name] + 1)]
        chosen = set(draw.choice(files, 30, replace=False))
        train += chosen
        test += set(files) - chosen
    train, test = md5_order("train", train), md5_order("test", test)
    assert len(train) == 3060
    assert [item.key for item in items] == [f"train/{key}" for key in train] + [f"test/{key}" for key in test]
    assert [item.split for item in items].count("val") == 306
    classes = sorted(name.lower() for name in CALTECH)
    assert opened.class_names == tuple(classes)
    for item, image in zip(items, images, strict=True):
        _, name, file = item.key.split("/")
        assert item.label == classes.index(name.lower())
        assert image == f"{name} {int(file[6:10])}".encode()
    assert "file system" in opened.substitutes[0]


def test_caltech101_with_too_few_images(tmp_path):
    make_tar(tmp_path / "101_ObjectCategories.tar.gz", caltech_members(CALTECH | {"thing_004": 29}))
    assert "class 'thing_004' has 29 images; expected at least 30" in fails("caltech101", tmp_path)
