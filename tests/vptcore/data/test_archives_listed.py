"""DTD, Flowers102, Pets and SUN397: archives with lists of their splits."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from PIL import Image

from tests.vptcore.data.archive_layouts import fails, jpeg, make_files, make_tar, mat_bytes, md5_order, read
from tests.vptcore.data.layouts import encode, noise
from vptcore.data.decode import to_rgb
from vptcore.data.item import Request
from vptcore.data.readers.archives.listed import SUN_LISTS, sun397
from vptcore.data.readers.archives.resize import resized
from vptcore.data.readers.archives.table import find

DTD = [f"texture{c:02d}/texture{c:02d}_{i:04d}.jpg" for c in range(47) for i in range(3)]


def dtd_members(names=DTD) -> dict[str, bytes]:
    members = {f"dtd/images/{name}": jpeg(row) for row, name in enumerate(names)}
    for at, split in enumerate(("train", "val", "test")):
        members[f"dtd/labels/{split}1.txt"] = "".join(f"{name}\n" for name in names[at::3]).encode()
    return members | {"dtd/labels/train2.txt": b"other/other_0000.jpg\n", "dtd/imdb/imdb.mat": b"x"}


@pytest.mark.parametrize("layout", ["tar.gz", "plain under the name tar.gz", "folder", "the folder itself"])
def test_dtd(tmp_path, layout):
    root = tmp_path / "dtd_data"
    if "folder" in layout:
        make_files(root, dtd_members())
        root = root / "dtd" if layout.endswith("itself") else root
    else:
        make_tar(root / "dtd-r1.0.1.tar.gz", dtd_members(), "w:gz" if layout == "tar.gz" else "w")
    opened, items, images = read("dtd", root)
    expected = []
    for at, (split, tfds) in enumerate((("train", "train"), ("val", "validation"), ("test", "test"))):
        for name in md5_order(tfds, DTD[at::3]):
            expected.append((f"{tfds}/{name}", split, int(name[7:9])))
    assert [(item.key, item.split, item.label) for item in items] == expected
    assert images[0] == jpeg(DTD.index(items[0].key.removeprefix("train/")))
    assert opened.class_names[3] == "texture03"
    assert len(opened.substitutes) == 3  # sizes only


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"dtd/labels/val1.txt": None}, ["no labels/val1.txt"]),
        ({"dtd/labels/train1.txt": None}, ["no labels/train1.txt"]),
        ({"dtd/labels/train1.txt": b""}, ["labels/train1.txt: an empty file"]),
        ({f"dtd/images/{DTD[3]}": None}, [f"no image images/{DTD[3]}", "labels/train1.txt has in row 2"]),
        ({"dtd/labels/test1.txt": f"{DTD[2]}\n{DTD[2]}\n".encode()}, ["labels/test1.txt", f"{DTD[2]} is there twice"]),
        ({"dtd/labels/val1.txt": f"{DTD[1]}\n".encode()}, ["val1.txt", "no image of class 'texture01'", "46 of 47"]),
    ],
)
def test_dtd_that_is_not_whole(tmp_path, change, words):
    members = {name: data for name, data in (dtd_members() | change).items() if data is not None}
    make_tar(tmp_path / "dtd-r1.0.1.tar.gz", members)
    message = fails("dtd", tmp_path)
    assert all(word in message for word in ["dtd-r1.0.1.tar.gz", *words])


def flowers(root, count=306):
    labels = np.arange(count) % 102 + 1
    numbers = np.random.default_rng(0).permutation(
        np.concatenate([np.flatnonzero(labels == c)[k : k + 1] for k in range(3) for c in range(1, 103)]) + 1
    )
    # One image of each class per split, as setid.mat gives them: numbers from 1.
    parts = {
        key: np.sort(numbers[(numbers - 1) // 102 == at])[None] for at, key in enumerate(("trnid", "valid", "tstid"))
    }
    make_tar(root / "102flowers.tgz", {f"jpg/image_{n:05d}.jpg": jpeg(n) for n in range(1, count + 1)})
    sets = mat_bytes({key: numbers.astype(np.uint16) for key, numbers in parts.items()})
    labels = mat_bytes({"labels": labels[None].astype(np.uint8)})
    return make_files(root, {"imagelabels.mat": labels, "setid.mat": sets}), parts


def test_flowers(tmp_path):
    root, parts = flowers(tmp_path)
    _, items, images = read("oxford_flowers102", root)
    expected = []
    for split, tfds, key in (("train", "train", "trnid"), ("val", "validation", "valid"), ("test", "test", "tstid")):
        names = [f"image_{number:05d}.jpg" for number in parts[key][0]]
        expected += [(f"{tfds}/{name}", split, (int(name[6:11]) - 1) % 102) for name in md5_order(tfds, names)]
    assert [(item.key, item.split, item.label) for item in items] == expected
    assert all(image == jpeg(int(item.key[-9:-4])) for item, image in zip(items, images, strict=True))


def test_flowers_that_are_not_whole(tmp_path):
    root, parts = flowers(tmp_path)
    parts["trnid"][0, 5] = 999
    (root / "setid.mat").write_bytes(mat_bytes(parts))
    message = fails("oxford_flowers102", root)
    assert "setid.mat: trnid has image 999 in row 5" in message
    (root / "setid.mat").write_bytes(b"not a mat file")
    assert "setid.mat: not a readable MATLAB file" in fails("oxford_flowers102", root)
    (root / "setid.mat").unlink()
    message = fails("oxford_flowers102", root)
    assert "no setid.mat found" in message
    assert "15 kB" in message
    assert "102/setid.mat" in message


PETS = [(f"{'Breed' if c % 2 else 'breed'}_{c:02d}_{i}", c + 1) for c in range(37) for i in range(1, 6)]


def pets(root, lists=None, missing=()):
    lines = [f"{name} {label} {1 + label % 2} 1" for name, label in PETS]
    lists = lists or {"trainval.txt": [line for i, line in enumerate(lines) if i % 5 < 3], "test.txt": [
        line for i, line in enumerate(lines) if i % 5 >= 3]}  # fmt: skip
    images = {f"images/{name}.jpg": jpeg(row) for row, (name, _) in enumerate(PETS) if name not in missing}
    make_tar(root / "images.tar.gz", images | {"images/Abyssinian_100.mat": b"x"})
    texts = {f"annotations/{name}": "\n".join(["# a list", *text, ""]).encode() for name, text in lists.items()}
    make_tar(root / "annotations.tar.gz", texts | {"annotations/trimaps/breed_00_1.png": b"x"})
    return root, lists


def test_pets(tmp_path):
    root, lists = pets(tmp_path)
    opened, items, images = read("oxford_iiit_pet", root)
    label = dict(PETS)
    train = md5_order("train", [f"{line.split()[0]}.jpg" for line in lists["trainval.txt"]])
    test = md5_order("test", [f"{line.split()[0]}.jpg" for line in lists["test.txt"]])
    assert [item.key for item in items] == [f"train/{name}" for name in train] + [f"test/{name}" for name in test]
    assert [item.split for item in items].count("train") == len(train) * 80 // 100
    assert [item.label for item in items] == [label[name[:-4]] - 1 for name in train + test]
    assert images[0] == jpeg([name for name, _ in PETS].index(train[0][:-4]))
    assert opened.class_names[:2] == ("breed_00", "Breed_01")


def test_pets_that_are_not_whole(tmp_path):
    root, lists = pets(tmp_path)
    pets(root, {**lists, "test.txt": [*lists["test.txt"], "breed_00_9 cat 1 1"]})
    message = fails("oxford_iiit_pet", root)
    assert "annotations.tar.gz: test.txt: row " in message
    assert "'cat'" in message
    pets(root, {**lists, "test.txt": [*lists["test.txt"], "breed_00_9 38 1 1"]})
    assert "no image breed_00_9.jpg" in fails("oxford_iiit_pet", root)
    pets(root, {**lists, "test.txt": [line.replace(" 7 ", " 38 ") for line in lists["test.txt"]]})
    assert "has label 37; expected 0 to 36" in fails("oxford_iiit_pet", root)
    pets(root, missing=("breed_00_1",))
    assert "no image breed_00_1.jpg, which trainval.txt has in row 1" in fails("oxford_iiit_pet", root)
    (root / "annotations.tar.gz").unlink()
    assert "no annotations.tar.gz found" in fails("oxford_iiit_pet", root)


SUN = [
    f"/{'abc'[c % 3]}/scene{c:03d}{'/indoor' if c % 7 == 0 else ''}/sun_{i}.jpg" for c in range(397) for i in range(3)
]


def sun(root, lists=True):
    shared = {name: jpeg(row) for row, name in enumerate(SUN)}
    shared[SUN[0]] = encode(noise(0, 500, 300), "PNG")  # some are not JPEG in spite of their name, and large
    make_tar(
        root / "SUN397.tar.gz", {f"SUN397{name}": data for name, data in shared.items()} | {"SUN397/README.txt": b"x"}
    )
    if lists:
        for at, name in enumerate(SUN_LISTS.values()):
            (root / name).write_text("".join(f"{line}\n" for line in SUN[at::3]))
    return root


def test_sun(tmp_path):
    opened, items, images = read("sun397", sun(tmp_path))
    expected = []
    for at, (split, tfds) in enumerate((("train", "train"), ("val", "validation"), ("test", "test"))):
        expected += [(f"{tfds}/{name}", split) for name in md5_order(tfds, SUN[at::3])]
    assert [(item.key, item.split) for item in items] == expected
    classes = sorted({name.rpartition("/")[0] for name in SUN})
    assert list(opened.class_names) == classes
    for item in items:
        assert (
            classes[item.label]
            == item.key.removeprefix("validation")
            .removeprefix("train")
            .removeprefix("test")[1 : -len(item.key.rpartition("/")[2]) - 1]
        )
    large = images[[item.key for item in items].index(f"train/{SUN[0]}")]
    with Image.open(io.BytesIO(large)) as picture:
        assert (picture.format, picture.size) == ("JPEG", (268, 447))  # 120,000 pixels at 3 to 5
    assert "120,000 pixels" in opened.substitutes[0]


def test_sun_without_tfds_lists_is_drawn_and_said(tmp_path):
    root = sun(tmp_path, lists=False)
    found = find("sun397", root)
    one, same, other = (sun397(Request("sun397", 397, root, seed), found) for seed in (3, 3, 4))
    keys = [part.keys for part in one.parts.values()]
    assert [len(part) for part in keys] == [834, 119, 238]
    assert sorted(name for part in keys for name in part) == sorted(SUN)
    assert [part.keys for part in same.parts.values()] == keys != [part.keys for part in other.parts.values()]
    assert "drawn by the seed" in one.substitutes[1]
    assert "no image of class" in fails("sun397", root)  # three images of a class are not enough for three splits


def test_sun_with_one_list_of_three(tmp_path):
    root = sun(tmp_path)
    (root / SUN_LISTS["test"]).unlink()
    assert "no sun397_tfds_te.txt beside the other lists" in fails("sun397", root)


@pytest.mark.parametrize("factor", [0.37, 0.5, 1.0, 1.8])
def test_resized_is_torchs_bilinear(factor):
    image = noise(1, 31, 47)
    planes = torch.from_numpy(image).permute(2, 0, 1)[None].double()
    plain = torch.nn.functional.interpolate(planes, scale_factor=factor, mode="bilinear", align_corners=False)
    height, width = round(31 * factor), round(47 * factor)
    ours = resized(image, factor)
    assert ours.shape == (height, width, 3)
    # torch rounds sizes down.
    common = plain[0].permute(1, 2, 0).numpy()
    assert np.abs(ours[: common.shape[0], : common.shape[1]] - common).max() <= 1
    assert np.array_equal(to_rgb(encode(ours)), ours)
