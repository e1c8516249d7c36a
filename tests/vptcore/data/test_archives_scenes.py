"""CLEVR and KITTI: classes from what stands in a scene, splits by video."""

from __future__ import annotations

import json

import numpy as np
import pytest

from tests.vptcore.data.archive_layouts import clevr_members, fails, kitti_line, make_files, make_zip, md5_order, read
from tests.vptcore.data.layouts import encode, noise
from vptcore.data.readers.archives.scenes import kitti_label, kitti_splits


@pytest.mark.parametrize("task", ["clevr_count", "clevr_distance"])
@pytest.mark.parametrize("layout", ["zip", "folder"])
def test_clevr(tmp_path, task, layout):
    members = clevr_members({"train": 48, "val": 24})
    if layout == "zip":
        make_zip(tmp_path / "clevr" / "CLEVR_v1.0.zip", members)  # both tasks find it under the data set's name
    else:
        make_files(tmp_path / task, members)
    _, items, images = read(task, tmp_path / task)
    rule = {"clevr_count": lambda i: i % 8, "clevr_distance": lambda i: i % 6}[task]
    expected = []
    for tfds, split, count in (("train", "train", 48), ("validation", "val", 24)):
        names = md5_order(tfds, [f"CLEVR_{split}_{i:06d}.png" for i in range(count)])
        expected += [(f"{tfds}/{name}", rule(int(name[-10:-4]))) for name in names]
    assert [(item.key, item.label) for item in items] == expected
    assert [item.split for item in items] == ["train"] * 43 + ["val"] * 5 + ["test"] * 24
    assert all(image == encode(noise(int(item.key[-10:-4]))) for item, image in zip(items, images, strict=True))


def test_clevr_that_is_not_whole(tmp_path):
    members = clevr_members({"train": 48, "val": 24})
    path = tmp_path / "CLEVR_v1.0.zip"
    listed = "CLEVR_v1.0/scenes/CLEVR_val_scenes.json"

    def message(change: dict) -> str:
        whole = members | change
        make_zip(path, {name: data for name, data in whole.items() if data is not None})
        line = fails("clevr_count", tmp_path)
        assert str(path) in line
        return line

    assert "no scenes/CLEVR_val_scenes.json" in message({listed: None})
    assert "CLEVR_val_scenes.json: an empty file" in message({listed: b""})
    assert "not whole JSON" in message({listed: members[listed][:-30]})
    assert "no list of scenes" in message({listed: b"{}"})
    scene = json.loads(members[listed])["scenes"][0]
    assert "scene 0 cannot be read (KeyError: 'objects')" in message({listed: b'{"scenes": [{"image_filename": "a"}]}'})
    few = json.dumps({"scenes": [scene | {"objects": scene["objects"][:2]}]}).encode()
    assert "scene 0 cannot be read (ValueError: a CLEVR scene with 2 objects" in message({listed: few})
    image = "CLEVR_v1.0/images/val/CLEVR_val_000003.png"
    assert "no image images/val/CLEVR_val_000003.png, which scenes/CLEVR_val_scenes.json has in scene 3" in message(
        {image: None}
    )
    twice = json.dumps({"scenes": [scene, scene]}).encode()
    assert "CLEVR_val_000000.png is there twice" in message({listed: twice})
    assert "no image of class '4 objects'" in message({listed: json.dumps({"scenes": [scene]}).encode()})


VIDEOS = {f"2011_09_26_drive_{number:04d}_sync": 4 + number % 5 for number in range(30)}


def kitti(root, change=None, devkit="mapping/"):
    """Images of 30 videos in a random order; image i stands in row `rand[i]` of the mapping."""
    lines = [f"2011_09_26 {video} {i:010d}" for video, count in VIDEOS.items() for i in range(count)]
    rand = np.random.default_rng(0).permutation(len(lines)) + 1
    depths = [("Car", 5.0), ("Van", 15.0), ("Truck", 40.0), ("Pedestrian", 3.0), ("DontCare", -1000.0)]
    images, labels = {}, {}
    for i in range(len(lines)):
        kind, depth = depths[i % 5]
        images[f"training/image_2/{i:06d}.png"] = encode(noise(i, 4, 12))
        text = [kitti_line("Cyclist", 2.0), kitti_line("Car", 70.0), kitti_line(kind, depth)]
        labels[f"training/label_2/{i:06d}.txt"] = "\n".join(text if i % 5 < 3 else [text[0], text[2]]).encode()
    images["testing/image_2/000000.png"] = encode(noise(999))
    texts = {f"{devkit}train_rand.txt": ",".join(map(str, rand)).encode(),
             f"{devkit}train_mapping.txt": "\n".join(lines).encode(), "readme.txt": b"x"}  # fmt: skip
    for name, data in (change or {}).items():
        for members in (images, labels, texts):
            if name in members:
                members[name] = data
    packed = {"data_object_image_2.zip": images, "data_object_label_2.zip": labels, "devkit_object.zip": texts}
    for name, members in packed.items():
        make_zip(root / name, {member: data for member, data in members.items() if data is not None})
    return [lines[row - 1].split()[1] for row in rand]


def test_kitti(tmp_path):
    video_of = kitti(tmp_path)
    opened, items, images = read("kitti_distance", tmp_path)
    # By video as TFDS draws them: a tenth for test, then a tenth of the rest of them for validation.
    np.random.seed(123)
    test = set(np.random.choice(sorted(set(video_of)), 3, replace=False))
    validation = set(np.random.choice(sorted(set(video_of) - test), 3, replace=False))
    expected = []
    for split, tfds in (("train", "train"), ("val", "validation"), ("test", "test")):
        chosen = {"val": validation, "test": test}.get(split, set(video_of) - test - validation)
        names = [f"{i:06d}.png" for i, video in enumerate(video_of) if video in chosen]
        expected += [(f"{tfds}/{name}", split, (0, 1, 2, 3, 3)[int(name[:6]) % 5]) for name in md5_order(tfds, names)]
    assert [(item.key, item.split, item.label) for item in items] == expected
    assert all(image == encode(noise(int(item.key[-10:-4]), 4, 12)) for item, image in zip(items, images, strict=True))
    assert opened.class_names[3] == "no vehicle"


def test_kitti_splits_at_the_true_number_of_images(tmp_path):
    rng = np.random.default_rng(1)
    videos = [f"2011_09_{26 + n % 5}_drive_{n:04d}_sync" for n in range(142)]
    rows = [videos[i] for i in np.sort(rng.integers(0, 142, 8000))]
    rand = rng.permutation(8000)[:7481] + 1
    files = {"mapping/train_mapping.txt": "\n".join(f"2011_09_26 {video} 0" for video in rows).encode(),
             "mapping/train_rand.txt": ",".join(map(str, rand)).encode()}  # fmt: skip
    splits = kitti_splits(files, tmp_path)
    assert sorted(image for images in splits.values() for image in images) == list(range(7481))
    sets = [{rows[rand[i] - 1] for i in images} for images in splits.values()]
    assert not sets[0] & sets[1]
    assert not sets[0] & sets[2]
    assert not sets[1] & sets[2]
    assert [len(names) for names in sets[1:]] == [14, 14]


def test_kitti_labels_on_generated_scenes(tmp_path):
    rng = np.random.default_rng(0)
    kinds = ["Car", "Van", "Truck", "Pedestrian", "Person_sitting", "Cyclist", "Tram", "Misc", "DontCare"]
    for _ in range(711):
        scene = [(kinds[k], z) for k, z in zip(rng.integers(0, 9, 4), rng.uniform(0, 40, 4), strict=True)]
        near = min([round(z, 2) for kind, z in scene if kind in kinds[:3]], default=1000)
        assert kitti_label([kitti_line(*thing) for thing in scene], tmp_path, "0") == (
            3 if near == 1000 else int(near > 8) + int(near > 20)
        )


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"training/image_2/000007.png": None}, ["data_object_image_2.zip", "000007.png", "devkit_object.zip counts"]),
        ({"training/label_2/000007.txt": None}, ["data_object_label_2.zip", "000007.txt"]),
        ({"training/label_2/000007.txt": b"Car 1 2 3"}, ["000007.txt: row 1", "'Car 1 2 3'"]),
        ({"training/label_2/000007.txt": kitti_line("Horse", 3).encode()}, ["000007.txt: row 1", "Horse"]),
        ({"mapping/train_mapping.txt": None}, ["devkit_object.zip: no mapping/train_mapping.txt"]),
        ({"mapping/train_rand.txt": b"1,2,900"}, ["train_rand.txt: entry 3: '900'"]),
        ({"mapping/train_rand.txt": b"1,cat"}, ["train_rand.txt: entry 2: 'cat'"]),
        ({"mapping/train_rand.txt": b"0"}, ["train_rand.txt: entry 1: '0'"]),
    ],
)
def test_kitti_that_is_not_whole(tmp_path, change, words):
    kitti(tmp_path, change)
    message = fails("kitti_distance", tmp_path)
    assert all(word in message for word in words)


def test_kitti_without_its_devkit(tmp_path):
    kitti(tmp_path)
    (tmp_path / "devkit_object.zip").unlink()
    message = fails("kitti_distance", tmp_path)
    assert "no devkit_object.zip found" in message
    assert "https://s3.eu-central-1.amazonaws.com/avg-kitti/devkit_object.zip" in message
    assert "63.8 kB" in message
