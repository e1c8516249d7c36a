"""Data sets whose archives hold lists of their splits: DTD, Flowers102, Pets and SUN397.

In: the found archives or folders. Out: the class names and TFDS's splits, keyed by file name as TFDS keys them.

    python -m pytest tests/vptcore/data/test_archives_listed.py
"""

from __future__ import annotations

import io
from pathlib import Path, PurePosixPath

import numpy as np
from PIL import Image as Pillow

from vptcore.data.decode import to_rgb
from vptcore.data.item import Deferred, Image, Request, load, numbered, read_text
from vptcore.data.readers import matlab
from vptcore.data.readers.archives.files import Entries, below, entries, lines
from vptcore.data.readers.archives.order import Original, Part
from vptcore.data.readers.archives.resize import resized

SUN_LISTS = {"train": "sun397_tfds_tr.txt", "validation": "sun397_tfds_va.txt", "test": "sun397_tfds_te.txt"}
SUN_SHARES = {"train": 0.7, "validation": 0.1, "test": 0.2}  # of TFDS's own random partition
SUN_PIXELS, SUN_QUALITY = 120_000, 72
SUN_REDUCED = (
    "images are reduced to 120,000 pixels as TFDS does, but by this package: equal but for OpenCV's and JPEG's versions"
)
SUN_DRAWN = "no sun397_tfds_*.txt: the splits are drawn by the seed, not the benchmark's"


def _part(where: Path, files: Entries, names: list[str], labels: list[int], listed: str, folder: str = "") -> Part:
    """A split whose images are `folder` + name; a listed image that is not there is an error."""
    for row, name in enumerate(names, start=1):
        if folder + name not in files:
            raise ValueError(f"{where}: no image {folder}{name}, which {listed} has in row {row}")
    return Part(f"{where}: {listed}", names, labels, lambda row: files[folder + names[row]])


def dtd(request: Request, found: dict[str, Path]) -> Original:
    """Textures; the first of its ten partitions."""
    (path,) = found.values()
    files = below(entries(path), "labels/train1.txt", path)
    listed = {split: f"labels/{name}1.txt" for split, name in
              (("train", "train"), ("validation", "val"), ("test", "test"))}  # fmt: skip
    images = {
        split: [line.strip() for line in lines(files, name, path) if line.strip()] for split, name in listed.items()
    }
    classes = sorted({name.split("/")[0] for names in images.values() for name in names})
    label = {name: number for number, name in enumerate(classes)}
    parts = {
        split: _part(path, files, names, [label[name.split("/")[0]] for name in names], listed[split], "images/")
        for split, names in images.items()
    }
    return Original(tuple(classes), parts)


def oxford_flowers102(request: Request, found: dict[str, Path]) -> Original:
    """Flowers; setid.mat numbers the images of each split, imagelabels.mat has their classes from 1."""
    labels_path, sets_path = found["imagelabels.mat"], found["setid.mat"]
    (labels_N,) = matlab.whole_numbers(labels_path, "labels")
    images = found["102flowers.tgz"]
    files = {PurePosixPath(name).name: entry for name, entry in entries(images).items()}
    parts = {}
    splits = {"trnid": "train", "valid": "validation", "tstid": "test"}
    for (key, split), numbers_N in zip(splits.items(), matlab.whole_numbers(sets_path, *splits), strict=True):
        wrong = np.flatnonzero((numbers_N < 1) | (numbers_N > len(labels_N)))
        if len(wrong):
            row = wrong[0]
            raise ValueError(
                f"{sets_path}: {key} has image {numbers_N[row]} in row {row}; {len(labels_N):,} have labels"
            )
        names = [f"image_{number:05d}.jpg" for number in numbers_N.tolist()]
        parts[split] = _part(images, files, names, (labels_N[numbers_N - 1] - 1).tolist(), f"{sets_path.name} {key}")
    return Original(numbered(request.classes), parts)


def oxford_iiit_pet(request: Request, found: dict[str, Path]) -> Original:
    """Cats and dogs; a line of the lists is 'Abyssinian_100 1 1 1': name, class from 1, species, breed."""
    lists_path, path = found["annotations.tar.gz"], found["images.tar.gz"]
    lists = below(entries(lists_path), "trainval.txt", lists_path)
    files = {PurePosixPath(name).name: entry for name, entry in entries(path).items()}
    names: dict[int, str] = {}
    parts = {}
    for split, listed in (("train", "trainval.txt"), ("test", "test.txt")):
        images, labels = [], []
        for row, line in enumerate(lines(lists, listed, lists_path), start=1):
            fields = line.split()
            if not fields or line.startswith("#"):
                continue
            if len(fields) < 2 or not fields[1].isdigit():
                at = f"{lists_path}: {listed}: row {row}"
                raise ValueError(
                    f"{at}: label {' '.join(fields[1:2])!r} is not a whole number; expected 'NAME CLASS ...'"
                )
            images.append(f"{fields[0]}.jpg")
            labels.append(int(fields[1]) - 1)
            names.setdefault(labels[-1], fields[0].rpartition("_")[0])
        parts[split] = _part(path, files, images, labels, listed)
    return Original(tuple(names.get(label, str(label)) for label in range(request.classes)), parts)


def sun397(request: Request, found: dict[str, Path]) -> Original:
    """Scenes, in TFDS's random partition of the whole; its three lists are TFDS's, not the owners'."""
    path = found["SUN397.tar.gz"]
    # Names from the letter folder on, as the lists have them: /a/abbey/sun_aaalbzqrimafwbiv.jpg
    inside = entries(path)
    files = {f"/{name[name.index(top) :]}": entry for name, entry in inside.items() if (top := _letter(name))}
    given = {split: found[name] for split, name in SUN_LISTS.items() if name in found}
    if len(given) not in (0, len(SUN_LISTS)):
        lacking = next(name for name in SUN_LISTS.values() if name not in found)
        raise ValueError(
            f"{next(iter(given.values())).parent}: no {lacking} beside the other lists of sun397_tfds_*.txt"
        )
    splits = {split: read_text(listed).split() for split, listed in given.items()} or _drawn(files, request.seed)
    classes = sorted({_scene(name) for names in splits.values() for name in names})
    label = {name: number for number, name in enumerate(classes)}
    parts = {}
    for split, names in splits.items():
        part = _part(path, files, names, [label[_scene(name)] for name in names], SUN_LISTS[split])
        parts[split] = Part(
            part.where, names, part.labels, lambda row, part=part: Deferred(reduced, (part.image(row),))
        )
    return Original(tuple(classes), parts, (SUN_REDUCED,) if given else (SUN_REDUCED, SUN_DRAWN))


def _letter(name: str) -> str:
    """The part of a name that starts with its letter folder, 'a/', if it is an image of a scene."""
    parts = PurePosixPath(name).parts
    at = next((i for i, part in enumerate(parts[:-2]) if len(part) == 1), None)
    return "/".join(parts[at:]) if at is not None and name.lower().endswith(".jpg") else ""


def _scene(name: str) -> str:
    return name.rpartition("/")[0]


def _drawn(files: Entries, seed: int) -> dict[str, list[str]]:
    names = np.asarray(sorted(files), dtype=object)
    order = np.random.default_rng(seed).permutation(len(names))
    train, validation = (round(SUN_SHARES[split] * len(names)) for split in ("train", "validation"))
    cut = np.split(names[order], [train, train + validation])
    return {split: part.tolist() for split, part in zip(SUN_SHARES, cut, strict=True)}


def reduced(image: Image) -> bytes:
    """An image as TFDS stores SUN397's: at most 120,000 pixels, bilinear without antialias, JPEG of quality 72."""
    pixels_HW3 = to_rgb(load(image))
    height, width = pixels_HW3.shape[:2]
    if height * width > SUN_PIXELS:
        pixels_HW3 = resized(pixels_HW3, (SUN_PIXELS / (height * width)) ** 0.5)
    buffer = io.BytesIO()
    Pillow.fromarray(pixels_HW3).save(buffer, "JPEG", quality=SUN_QUALITY)
    return buffer.getvalue()
