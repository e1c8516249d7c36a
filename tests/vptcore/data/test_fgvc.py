"""Each layout of the FGVC sets, made by hand, against labels and splits that are written down beside it."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

from tests.vptcore.data.layouts import encode, make_folder, noise
from vptcore.data.item import Request, load
from vptcore.data.readers.fgvc import LAYOUT
from vptcore.data.sources import READERS, open_source
from vptcore.data.splits import split
from vptcore.data.tasks import FGVC


def put(root: Path, names: list[str]) -> None:
    for i, name in enumerate(names):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(encode(noise(i), "JPEG"))


def read(root: Path, classes: int, task: str = "cub200"):
    source = open_source("fgvc", Request(task, classes, root))
    return source, list(source.items)


def fails(root: Path, classes: int = 3) -> str:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the callers hold the message
        read(root, classes)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def shown(items) -> list[tuple]:
    return [(item.split, item.key, item.label) for item in items]


@pytest.fixture
def vpt(tmp_path) -> Path:
    """VPT's own files: classes with gaps, as NABirds has them."""
    names = [f"a/{i}.jpg" for i in range(6)]
    put(tmp_path / "images", names)
    labels = {"train": {"a/0.jpg": 7, "a/1.jpg": 3}, "val": {"a/2.jpg": 900}, "test": {"a/4.jpg": 900, "a/3.jpg": 3}}
    for part, values in labels.items():
        (tmp_path / f"{part}.json").write_text(json.dumps(values))
    return tmp_path


def test_vpts_split_files(vpt):
    _, items = read(vpt, 3)
    assert shown(items) == [
        ("train", "a/0.jpg", 1), ("train", "a/1.jpg", 0), ("val", "a/2.jpg", 2), ("test", "a/4.jpg", 2),
        ("test", "a/3.jpg", 0),
    ]  # fmt: skip
    assert load(items[3].image) == encode(noise(4), "JPEG")


def test_classes_may_be_names(vpt):
    for part in ("train", "val", "test"):
        (vpt / f"{part}.json").write_text(json.dumps({f"a/{part}{i}.jpg": kind for i, kind in enumerate("yxz")}))
        put(vpt, [f"a/{part}{i}.jpg" for i in range(3)])
    source, items = read(vpt, 3)
    assert source.class_names == ("x", "y", "z")
    assert [item.label for item in items] == [1, 0, 2] * 3


def test_cub_and_nabirds(tmp_path):
    put(tmp_path / "images", ["001.A/x.jpg", "001.A/y.jpg", "017.B/z.jpg", "017.B/w.jpg"])
    (tmp_path / "images.txt").write_text("1 001.A/x.jpg\n2 001.A/y.jpg\n3 017.B/z.jpg\n4 017.B/w.jpg\n")
    (tmp_path / "image_class_labels.txt").write_text("1 1\n2 1\n3 17\n4 17\n")
    (tmp_path / "train_test_split.txt").write_text("1 0\n2 1\n3 1\n4 0\n")
    (tmp_path / "classes.txt").write_text("1 Sooty A\n17 Red B\n")
    source, items = read(tmp_path, 2)
    assert source.class_names == ("Sooty A", "Red B")
    assert shown(items) == [
        ("train", "001.A/y.jpg", 0), ("train", "017.B/z.jpg", 1), ("test", "001.A/x.jpg", 0), ("test", "017.B/w.jpg", 1)
    ]  # fmt: skip
    (tmp_path / "train_test_split.txt").write_text("1 0\n2 1\n4 0\n")
    assert "no line for image 3 (017.B/z.jpg)" in fails(tmp_path, 2)
    (tmp_path / "train_test_split.txt").write_text("1 0\n1 1\n")
    assert "line 2: 1 occurs twice" in fails(tmp_path, 2)


def test_oxford_flowers(tmp_path):
    put(tmp_path / "jpg", [f"image_{i:05d}.jpg" for i in range(1, 7)])
    savemat(tmp_path / "imagelabels.mat", {"labels": np.array([[2, 1, 3, 1, 2, 3]], np.uint8)})
    splits = {"trnid": [[6, 2, 1]], "valid": [[3]], "tstid": [[5, 4]]}
    savemat(tmp_path / "setid.mat", {name: np.array(ids, np.uint16) for name, ids in splits.items()})
    _, items = read(tmp_path, 3, "oxford_flowers")
    assert [(i.split, int(i.key[6:11]), i.label) for i in items] == [
        ("train", 6, 2), ("train", 2, 0), ("train", 1, 1), ("val", 3, 2), ("test", 5, 1), ("test", 4, 0)
    ]  # fmt: skip
    savemat(tmp_path / "setid.mat", {name: np.array([[7]]) for name in splits})
    assert "trnid has image 7; labels are for 1 to 6" in fails(tmp_path)
    (tmp_path / "setid.mat").write_bytes(b"MATLAB")
    assert "setid.mat: not a readable MATLAB file" in fails(tmp_path)


def records(rows: list[tuple], fields: list[tuple]) -> np.ndarray:
    return np.array([rows], dtype=fields)


@pytest.mark.parametrize("one_file", [False, True])
def test_stanford_cars(tmp_path, one_file):
    names = np.array([["AM General", "Acura RL", "Acura TL"]], dtype=object)
    if one_file:
        put(tmp_path, [f"car_ims/{i:06d}.jpg" for i in (1, 2, 3)])
        rows = [("car_ims/000001.jpg", 3, 0), ("car_ims/000002.jpg", 1, 1), ("car_ims/000003.jpg", 2, 0)]
        annotations = records(rows, [("relative_im_path", "O"), ("class", "O"), ("test", "O")])
        savemat(tmp_path / "cars_annos.mat", {"annotations": annotations, "class_names": names})
        expected = [("train", "car_ims/000001.jpg", 2), ("train", "car_ims/000003.jpg", 1),
                    ("test", "car_ims/000002.jpg", 0)]  # fmt: skip
    else:
        put(tmp_path, ["cars_train/00001.jpg", "cars_train/00002.jpg", "cars_test/00001.jpg"])
        kind = [("class", "O"), ("fname", "O")]
        (tmp_path / "devkit").mkdir()
        train = records([(3, "00001.jpg"), (2, "00002.jpg")], kind)
        savemat(tmp_path / "devkit" / "cars_train_annos.mat", {"annotations": train})
        savemat(
            tmp_path / "devkit" / "cars_test_annos_withlabels.mat", {"annotations": records([(1, "00001.jpg")], kind)}
        )
        savemat(tmp_path / "devkit" / "cars_meta.mat", {"class_names": names})
        expected = [("train", "cars_train/00001.jpg", 2), ("train", "cars_train/00002.jpg", 1),
                    ("test", "cars_test/00001.jpg", 0)]  # fmt: skip
    source, items = read(tmp_path, 3, "stanford_cars")
    assert source.class_names == ("AM General", "Acura RL", "Acura TL")
    assert shown(items) == expected


@pytest.mark.parametrize(
    ("row", "fields", "words"),
    [
        (
            ("AM General", "00001.jpg"),
            ["class", "fname"],
            "annotation 0 has class 'AM General'; expected a whole number",
        ),
        (("00001.jpg",), ["fname"], "its annotations have no class"),
    ],
)
def test_car_lists_that_cannot_be(tmp_path, row, fields, words):
    put(tmp_path, ["cars_train/00001.jpg", "cars_test/00001.jpg"])
    annotations = records([row], [(field, "O") for field in fields])
    for name in ("train_annos", "test_annos_withlabels"):
        savemat(tmp_path / f"cars_{name}.mat", {"annotations": annotations})
    assert fails(tmp_path) == f"{tmp_path / 'cars_train_annos.mat'}: {words}"


def test_stanford_dogs(tmp_path):
    files = {"train": ["n01-Chihuahua/a.jpg", "n02-Japanese_spaniel/b.jpg"], "test": ["n02-Japanese_spaniel/c.jpg"]}
    for part, names in files.items():
        put(tmp_path / "Images", names)
        listed = np.array([[name] for name in names], dtype=object)
        labels = np.array([[1 if "n01" in name else 2] for name in names], np.uint8)
        savemat(tmp_path / f"{part}_list.mat", {"file_list": listed, "labels": labels})
    source, items = read(tmp_path, 2, "stanford_dogs")
    assert source.class_names == ("Chihuahua", "Japanese_spaniel")
    assert shown(items) == [(part, name, int("n02" in name)) for part, names in files.items() for name in names]
    listed = np.array([["n02-Japanese_spaniel/c.jpg"], ["n01-Chihuahua/a.jpg"]], dtype=object)
    savemat(tmp_path / "test_list.mat", {"file_list": listed, "labels": np.array([[1]])})
    assert "test_list.mat: 2 files but 1 labels" in fails(tmp_path, 2)
    savemat(tmp_path / "test_list.mat", {"file_list": listed, "labels": np.array([[1.5], [2]])})
    assert "'labels' is float64 of shape (2, 1); expected whole numbers" in fails(tmp_path, 2)


def test_class_folders(tmp_path):
    make_folder(tmp_path, {"train/x": 2, "train/y": 1, "test/y": 1})
    assert Counter((i.split, i.label) for i in read(tmp_path, 2)[1]) == {
        ("train", 0): 2, ("train", 1): 1, ("test", 1): 1
    }  # fmt: skip


@pytest.mark.parametrize("row", FGVC, ids=lambda row: row.id)
def test_val_is_a_tenth_of_train_rounded_up_as_vpt_has_it(row):
    if row.id == "oxford_flowers":
        return  # has a val list of its own
    sizes = {"cub200": 600, "nabirds": 2393, "stanford_dogs": 1200, "stanford_cars": 815}
    from tests.vptcore.data.test_splits import index_of

    index = index_of(row.pool, 0, 1, classes=row.classes)
    job = {"task": row.id, "train": "train", "seed": 0, "classes": row.classes}
    frame, notes = split(job, index)
    assert frame["part"].value_counts()["val"] == sizes[row.id]
    assert "the source has no val" in notes["substitutes"][0]


@pytest.mark.parametrize(
    ("part", "text", "words"),
    [
        ("train", '{"a/0.jpg": 7, "a/0.jpg": 3}', ["a/0.jpg is listed twice, in train"]),
        ("train", '{"a/4.jpg": 7}', ["a/4.jpg is listed twice, in train and test"]),
        ("train", '{"../a/0.jpg": 7}', ["'../a/0.jpg'"]),
        ("train", '{"/etc/passwd": 7}', ["'/etc/passwd'"]),
        ("train", '{"a/9.jpg": 7}', ["a/9.jpg", "not there"]),
        ("train", '{"a/0.jpg": 7.5}', ["train.json", "found a/0.jpg: 7.5"]),
        ("train", '{"a/0.jpg": "b"}', ["numbers and texts"]),
        ("train", '["a/0.jpg"]', ["train.json", "{image: class}"]),
        ("train", '{"a/0.jpg": 7', ["train.json: not JSON (line 1"]),
        ("train", '{"a/0.jpg": 3}', ["found 2 classes", "expected 3"]),
    ],
)
def test_mistakes_in_a_list(vpt, part, text, words):
    (vpt / f"{part}.json").write_text(text)
    message = fails(vpt)
    assert all(word in message for word in words), message


def test_a_missing_folder_says_what_to_put_there(tmp_path):
    assert LAYOUT in fails(tmp_path / "cub200")


@pytest.mark.parametrize("deeper", [".", "stanford_cars"])
def test_stanford_cars_as_torchvision_and_the_makers_have_it(tmp_path, deeper):
    """One list beside the images, the other in `devkit`; possibly one folder deeper, as the archive unpacks."""
    root = tmp_path / deeper
    put(root, ["cars_train/00001.jpg", "cars_train/00002.jpg", "cars_test/00001.jpg"])
    (root / "devkit").mkdir()
    kind = [("class", "O"), ("fname", "O")]
    train, test = records([(3, "00001.jpg"), (2, "00002.jpg")], kind), records([(1, "00001.jpg")], kind)
    savemat(root / "devkit" / "cars_train_annos.mat", {"annotations": train})
    savemat(root / "devkit" / "cars_test_annos.mat", {"annotations": train})
    savemat(root / "cars_test_annos_withlabels.mat", {"annotations": test})
    names = np.array([["AM General", "Acura RL", "Acura TL"]], dtype=object)
    savemat(root / "devkit" / "cars_meta.mat", {"class_names": names})
    source, items = read(tmp_path, 3, "stanford_cars")
    assert source.class_names == ("AM General", "Acura RL", "Acura TL")
    assert shown(items) == [
        ("train", "cars_train/00001.jpg", 2), ("train", "cars_train/00002.jpg", 1), ("test", "cars_test/00001.jpg", 0)
    ]  # fmt: skip
    assert load(items[2].image) == encode(noise(2), "JPEG")
    assert READERS["fgvc"].count(Request("stanford_cars", 3, tmp_path)) == 3


def test_cub_one_folder_deeper(tmp_path):
    root = tmp_path / "CUB_200_2011"
    put(root / "images", ["001.A/x.jpg", "002.B/z.jpg"])
    (tmp_path / "attributes.txt").write_text("1 has_bill_shape::curved\n")
    lists = {"images": ["001.A/x.jpg", "002.B/z.jpg"], "image_class_labels": [1, 2], "train_test_split": [1, 0]}
    for name, values in lists.items():
        (root / f"{name}.txt").write_text("".join(f"{i} {value}\n" for i, value in enumerate(values, start=1)))
    assert [item.split for item in read(tmp_path, 2)[1]] == ["train", "test"]
