"""CLEVR and KITTI: classes worked out from what is in a scene.

In: the found archives or folders. Out: the class names and TFDS's splits, keyed by image file name as TFDS keys them.
The rules from objects to classes are in `data.labels`.

    python -m pytest tests/vptcore/data/test_archives_scenes.py
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np

from vptcore.data.item import Request
from vptcore.data.readers.archives.files import Entries, below, entries, lines, read
from vptcore.data.readers.archives.order import Original, Part
from vptcore.data.readers.labels import clevr_count, clevr_distance, kitti_distance

CLEVR_NAMES = {
    "clevr_count": tuple(f"{objects} objects" for objects in range(3, 11)),
    "clevr_distance": ("to 8", "to 8.5", "to 9", "to 9.5", "to 10", "beyond 10"),
}
KITTI_NAMES = ("to 8 m", "to 20 m", "beyond 20 m", "no vehicle")
KITTI_TYPES = ("Car", "Van", "Truck", "Pedestrian", "Person_sitting", "Cyclist", "Tram", "Misc")
KITTI_SEED, KITTI_SHARE = 123, 10  # TFDS's seed for the videos, and per cent of them for test and for validation


def clevr(request: Request, found: dict[str, Path]) -> Original:
    """Rendered scenes; the benchmark's test is the owners' val, for their test has no scenes."""
    (path,) = found.values()
    files = below(entries(path), "scenes/CLEVR_train_scenes.json", path)
    parts = {split: _clevr_part(request.task, path, files, name) for split, name in
             (("train", "train"), ("validation", "val"))}  # fmt: skip
    return Original(CLEVR_NAMES[request.task], parts)


def _clevr_part(task: str, path: Path, files: Entries, split: str) -> Part:
    listed = f"scenes/CLEVR_{split}_scenes.json"
    if listed not in files:
        raise ValueError(f"{path}: no {listed} in it; this is not the original archive, or not all of it")
    names, labels = [], []
    where = f"{path}: {listed}"
    for row, scene in enumerate(_json_items(read(files[listed], where), "scenes", where)):
        try:
            name = str(scene["image_filename"])
            labels.append(_clevr_label(task, scene["objects"]))
        except (KeyError, TypeError, IndexError, ValueError) as error:
            raise ValueError(f"{where}: scene {row} cannot be read ({type(error).__name__}: {error})") from None
        if f"images/{split}/{name}" not in files:
            raise ValueError(f"{path}: no image images/{split}/{name}, which {listed} has in scene {row}")
        names.append(name)
    return Part(where, names, labels, lambda row: files[f"images/{split}/{names[row]}"])


def _clevr_label(task: str, objects: list[dict]) -> int:
    if task == "clevr_count":
        return clevr_count(len(objects))
    return clevr_distance(np.array([thing["pixel_coords"] for thing in objects], float))


def _json_items(data: bytes, key: str, where: str) -> Iterator[dict]:
    """The members of the list under `key`, one at a time: all of CLEVR's scenes together take gigabytes as objects."""
    text = data.decode("utf-8", "replace")
    decode = json.JSONDecoder().raw_decode
    at = text.find("[", text.find(f'"{key}"')) + 1
    if f'"{key}"' not in text or not at:
        raise ValueError(f"{where}: no list of {key} in it")
    while True:
        while text[at : at + 1] in (" ", ",", "\n", "\r", "\t"):
            at += 1
        if text[at : at + 1] == "]":
            return
        try:
            item, at = decode(text, at)
        except ValueError as error:
            raise ValueError(f"{where}: not whole JSON ({error}); download it again") from None
        yield item


def kitti(request: Request, found: dict[str, Path]) -> Original:
    """Street scenes; the splits are drawn by video, so that no video is in two of them."""
    images_path, labels_path, devkit_path = (
        found[name] for name in ("data_object_image_2.zip", "data_object_label_2.zip", "devkit_object.zip")
    )
    images, labels = _training(images_path, "image_2"), _training(labels_path, "label_2")
    devkit = below(entries(devkit_path), "mapping/train_rand.txt", devkit_path)
    parts = {}
    for split, numbers in kitti_splits(devkit, devkit_path).items():
        names = [f"{number:06d}" for number in numbers]
        for name in names:
            for path, files, file in ((images_path, images, f"{name}.png"), (labels_path, labels, f"{name}.txt")):
                if file not in files:
                    raise ValueError(f"{path}: no training/.../{file}, which {devkit_path.name} counts")
        found_labels = [kitti_label(lines(labels, f"{name}.txt", labels_path), labels_path, name) for name in names]
        keys = [f"{name}.png" for name in names]
        parts[split] = Part(str(images_path), keys, found_labels, partial(_kitti_image, images, keys))
    return Original(KITTI_NAMES, parts)


def _kitti_image(images: Entries, keys: list[str], row: int):
    return images[keys[row]]


def _training(path: Path, folder: str) -> Entries:
    """The files of the training half by name; the testing half has the same names."""
    ours = {name: entry for name, entry in entries(path).items() if Path(name).parent.name == folder}
    return {Path(name).name: entry for name, entry in ours.items() if "testing" not in Path(name).parts}


def kitti_label(text: list[str], path: Path, name: str) -> int:
    """The class of a scene from its label file's lines: type, 7 numbers of the box, 3 of size, x y z, rotation."""
    types, places = [], []
    for row, line in enumerate(text, start=1):
        fields = line.split()
        if not fields or fields[0] == "DontCare":
            continue
        try:
            kind = KITTI_TYPES.index(fields[0])
            x, y, z = map(float, fields[11:14])  # too few are a ValueError too
        except ValueError:
            raise ValueError(f"{path}: {name}.txt: row {row}: {line[:60]!r} is not a KITTI label") from None
        types.append(kind)
        places.append((x, y, z))
    return kitti_distance(types, places)


def kitti_splits(devkit: Entries, path: Path) -> dict[str, list[int]]:
    """Image numbers of each split: TFDS draws a tenth of the videos for test, then a tenth for validation."""
    mapping = lines(devkit, "mapping/train_mapping.txt", path)
    rand = " ".join(lines(devkit, "mapping/train_rand.txt", path)).replace(",", " ").split()
    videos: dict[str, list[int]] = {}
    for image, line in enumerate(rand):
        try:
            video = mapping[int(line) - 1].split()[1] if int(line) > 0 else None
        except (ValueError, IndexError):
            video = None
        if video is None:
            raise ValueError(
                f"{path}: mapping/train_rand.txt: entry {image + 1}: {line!r} is no row of train_mapping.txt"
            )
        videos.setdefault(video, []).append(image)
    draw = np.random.RandomState(KITTI_SEED)
    count = max(1, KITTI_SHARE * len(videos) // 100)
    test = set(draw.choice(sorted(videos), count, replace=False).tolist())
    validation = (
        set(draw.choice(sorted(set(videos) - test), count, replace=False).tolist()) if len(videos) > 1 else set()
    )
    splits: dict[str, list[int]] = {"train": [], "validation": [], "test": []}
    for video, images in videos.items():
        splits["test" if video in test else "validation" if video in validation else "train"] += images
    return splits
