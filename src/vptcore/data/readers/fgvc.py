"""The five FGVC sets as people have them: VPT's split files, or the lists that their makers publish.

In: a folder with the images and one of these beside them, or one folder deeper. Out: items in the lists' own order;
classes are the sorted labels, as VPT numbers them. A set without a val list has none here: `splits` cuts a tenth of
train (rounded up, which gives VPT's sizes) and says so. Without any list the folder is read as class folders.

- train.json, test.json and possibly val.json, {image: class} (KMnP/vpt src/data/datasets/json_dataset.py)
- images.txt, image_class_labels.txt, train_test_split.txt (CUB-200-2011, NABirds)
- setid.mat, imagelabels.mat (Oxford Flowers)
- cars_train_annos.mat, cars_test_annos_withlabels.mat; or cars_annos.mat (Stanford Cars)
- train_list.mat, test_list.mat (Stanford Dogs)

    python -m pytest tests/vptcore/data/test_fgvc.py
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

import numpy as np

from vptcore.data.item import Item, Request, Source, capped, numbered, read_text
from vptcore.data.listing import list_folder
from vptcore.data.reader import Reader, located
from vptcore.data.readers import matlab
from vptcore.data.readers.folder import has_images, open_listed

LAYOUT = (
    "the images with train.json, val.json and test.json of {image: class}, or the makers' lists (images.txt, "
    "image_class_labels.txt, train_test_split.txt; setid.mat, imagelabels.mat; cars_train_annos.mat, "
    "cars_test_annos_withlabels.mat; train_list.mat, test_list.mat), or class folders below train and test"
)
LISTS_IN = (".", "annotations", "lists", "devkit", "splits")
IMAGES_IN = (".", "images", "Images", "jpg", "cars_train", "cars_test")


FEW = 8  # folders below the root: where there are more they are classes
Find = Callable[[str], Path]


@dataclass(frozen=True)
class Lists:
    """(split, image, class) of every image, and the names of the classes where the lists have them."""

    entries: list[tuple[str, str, object]]
    names: dict[object, str]


def open_fgvc(request: Request) -> Source:
    """A set by its lists, or by class folders."""
    request = replace(request, path=located(READER, request))
    return read_fgvc(request) or open_listed(request)


def locate(root: Path) -> tuple[Path, Find, Callable[[Find], Lists]] | None:
    """The folder of a set, what finds a list by name below it, and the function that reads its lists; None for none.

    The set may be one folder deeper, as archives unpack, and its lists in several folders: Stanford Cars has one of
    its two beside `devkit`.
    """
    deeper = sorted(path for path in root.iterdir() if path.is_dir() and path.name not in {*LISTS_IN, *IMAGES_IN})
    for base in (root, *(deeper if len(deeper) <= FEW else ())):
        find = _list_finder(base)
        for needs, read in LAYOUTS.items():
            if all(find(name).is_file() for name in needs):
                return base, find, read
    return None


def _list_finder(base: Path) -> Find:
    def find(name: str) -> Path:
        places = [base / below / name for below in LISTS_IN]
        return next((place for place in places if place.is_file()), base / name)

    return find


def read_fgvc(request: Request) -> Source | None:
    """The set at `request.path`, or None if it has no list."""
    found = locate(Path(request.path))
    if found is None:
        return None
    root, find_list, read = found
    lists = read(find_list)
    label = _numbers(root, lists.entries)
    _check_keys(root, lists.entries)
    names = tuple(str(lists.names.get(name, name)) for name in label)
    if all(name.isdigit() for name in names):
        names = numbered(len(names))
    parts = sorted(((split, (image, kind)) for split, image, kind in lists.entries), key=lambda p: ORDER[p[0]])
    find = _finder(root)
    items = (Item(image, split, label[kind], find(image, root)) for split, (image, kind) in capped(parts, request))
    return Source(str(root), names, items)


ORDER = {"train": 0, "val": 1, "test": 2}


def _numbers(folder: Path, entries: Iterable[tuple[str, str, object]]) -> dict[object, int]:
    """Class -> label: the sorted classes from 0."""
    kinds = {kind for _, _, kind in entries}
    if len({type(kind) for kind in kinds}) > 1:
        raise ValueError(f"{folder}: classes are numbers and texts ({', '.join(map(repr, list(kinds)[:4]))}, ...)")
    return {kind: number for number, kind in enumerate(sorted(kinds))}


def _check_keys(folder: Path, entries: Iterable[tuple[str, str, object]]) -> None:
    seen: dict[str, str] = {}
    for split, image, _ in entries:
        path = PurePosixPath(image)
        if path.is_absolute() or ".." in path.parts:
            raise ValueError(f"{folder}: the list names {image!r}; expected a path below the folder")
        if image in seen:
            both = split if seen[image] == split else f"{seen[image]} and {split}"
            raise ValueError(f"{folder}: {image} is listed twice, in {both}; take one out")
        seen[image] = split


def _finder(root: Path) -> Callable[[str, Path], Path]:
    """Image name -> its file. The folder that held the last image is tried first."""
    places = [root / below for below in IMAGES_IN]

    def find(image: str, folder: Path) -> Path:
        for place in places:
            if (place / image).is_file():
                places.remove(place)
                places.insert(0, place)
                return place / image
        tried = ", ".join(IMAGES_IN[1:])
        raise ValueError(f"{root / image}: listed in {folder} but not there (nor below {tried})")

    return find


def _json(find: Find) -> Lists:
    entries = []
    for split in ORDER:
        path = find(f"{split}.json")
        if split == "val" and not path.is_file():
            continue
        try:
            labels = json.loads(read_text(path), object_pairs_hook=list)
        except json.JSONDecodeError as error:
            raise ValueError(f"{path}: not JSON (line {error.lineno}: {error.msg})") from None
        is_pairs = isinstance(labels, list) and all(isinstance(p, tuple) and len(p) == 2 for p in labels)
        wrong = [p for p in labels if isinstance(p[1], bool) or not isinstance(p[1], int | str)] if is_pairs else []
        if not is_pairs or wrong:
            found = f"; found {wrong[0][0]}: {wrong[0][1]!r}" if wrong else ""
            raise ValueError(f"{path}: expected {{image: class}} with a number or a name for each{found}")
        entries += [(split, image, kind) for image, kind in labels]
    return Lists(entries, {})


def _texts(find: Find) -> Lists:
    """CUB-200-2011 and NABirds: three files of 'ID VALUE' lines."""
    images, kinds, trained = (dict(_lines(find(name))) for name in TEXTS)
    for name, found in zip(TEXTS[1:], (kinds, trained), strict=True):
        if missing := [key for key in images if key not in found]:
            raise ValueError(f"{find(name)}: no line for image {missing[0]} ({images[missing[0]]})")
    wrong = [key for key in images if not kinds[key].isdigit() or trained[key] not in ("0", "1")]
    if wrong:
        key = wrong[0]
        raise ValueError(
            f"{find(TEXTS[0])}: image {key} has class {kinds[key]!r}, train {trained[key]!r}; expected numbers"
        )
    entries = [("train" if trained[key] == "1" else "test", images[key], int(kinds[key])) for key in images]
    names = dict(_lines(find("classes.txt"))) if find("classes.txt").is_file() else {}
    return Lists(entries, {int(kind): name for kind, name in names.items() if kind.isdigit()})


TEXTS = ("images.txt", "image_class_labels.txt", "train_test_split.txt")


def _lines(path: Path) -> Iterator[tuple[str, str]]:
    seen = set()
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        key, _, value = line.strip().partition(" ")
        if not value:
            raise ValueError(f"{path}: line {number} is {line!r}; expected 'ID VALUE'")
        if key in seen:
            raise ValueError(f"{path}: line {number}: {key} occurs twice")
        seen.add(key)
        yield key, value


def _flowers(find: Find) -> Lists:
    """Oxford Flowers: image numbers per split, from 1, and the class of every image. VPT's train, val and test."""
    (kinds,) = matlab.whole_numbers(find("imagelabels.mat"), "labels")
    splits, entries = {"trnid": "train", "valid": "val", "tstid": "test"}, []
    for (name, split), numbers in zip(splits.items(), matlab.whole_numbers(find("setid.mat"), *splits), strict=True):
        for number in numbers.tolist():
            if not 1 <= number <= len(kinds):
                raise ValueError(f"{find('setid.mat')}: {name} has image {number}; labels are for 1 to {len(kinds)}")
            entries.append((split, f"image_{number:05d}.jpg", int(kinds[number - 1])))
    return Lists(entries, {})


def _cars(find: Find) -> Lists:
    """Stanford Cars: one record per image with its class, a file for train and one for test."""
    entries = []
    for split, name in (("train", "cars_train_annos.mat"), ("test", "cars_test_annos_withlabels.mat")):
        # Both folders number their images from 00001.jpg.
        found = _records(find(name), "fname", "class")
        entries += [(split, f"cars_{split}/{image}", int(kind)) for image, kind in found]
    return Lists(entries, _car_names(find("cars_meta.mat")))


def _cars_in_one(find: Find) -> Lists:
    found = _records(find("cars_annos.mat"), "relative_im_path", "class", "test")
    entries = [("test" if test else "train", str(image), int(kind)) for image, kind, test in found]
    return Lists(entries, _car_names(find("cars_annos.mat")))


def _car_names(path: Path) -> dict[object, str]:
    names = matlab.arrays(path, "class_names")[0].ravel() if path.is_file() else []
    return {number: str(_scalar(name)) for number, name in enumerate(names, start=1)}


def _dogs(find: Find) -> Lists:
    entries, names = [], {}
    for split in ("train", "test"):
        path = find(f"{split}_list.mat")
        (files,), (kinds,) = matlab.arrays(path, "file_list"), matlab.whole_numbers(path, "labels")
        if files.size != len(kinds):
            raise ValueError(f"{path}: {files.size:,} files but {len(kinds):,} labels")
        for image, kind in zip(map(str, map(_scalar, files.ravel())), kinds.tolist(), strict=True):
            entries.append((split, image, kind))
            names[kind] = PurePosixPath(image).parent.name.partition("-")[2] or str(kind)
    return Lists(entries, names)


def _records(path: Path, *fields: str) -> list[tuple]:
    """The values of `fields` in every record of a MATLAB file's `annotations`; class and test are whole numbers."""
    (records,) = matlab.arrays(path, "annotations")
    if lacking := set(fields) - set(records.dtype.names or ()):
        raise ValueError(f"{path}: its annotations have no {' or '.join(sorted(lacking))}")
    found = []
    for row, record in enumerate(records.ravel()):
        values = [_scalar(record[field]) for field in fields]
        for field, value in zip(fields, values, strict=True):
            if field in NUMBERS and (np.ndim(value) or np.asarray(value).dtype.kind not in "iu"):
                raise ValueError(f"{path}: annotation {row} has {field} {str(value)!r}; expected a whole number")
        found.append(tuple(values))
    return found


NUMBERS = ("class", "test")


def _scalar(value):
    """The one value inside MATLAB's nested cells."""
    while isinstance(value, np.ndarray) and value.size == 1:
        value = value.ravel()[0]
    return value


LAYOUTS: dict[tuple[str, ...], Callable[[Find], Lists]] = {
    ("train.json", "test.json"): _json,
    TEXTS: _texts,
    ("setid.mat", "imagelabels.mat"): _flowers,
    ("cars_train_annos.mat", "cars_test_annos_withlabels.mat"): _cars,
    ("cars_annos.mat",): _cars_in_one,
    ("train_list.mat", "test_list.mat"): _dogs,
}


def _count(request: Request) -> int:
    found = locate(Path(request.path))
    if found is None:
        return list_folder(request.path).total
    _, find_list, read = found
    return len(read(find_list).entries)


READER = Reader("fgvc", LAYOUT, open_fgvc, holds=has_images, count=_count)
