"""Readers of the layouts that image data sets come in. Each yields the same record, lazily, in the source's own order.

In: a `Request` (task, number of classes, path). Out: a `Source`: class names and `Item`s of key, split, label and
image. Every mistake in the data ends in a ValueError of one line that names the file and the row or key.

    python -m pytest tests/vptcore/data/test_sources.py
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from importlib import resources
from itertools import islice
from pathlib import Path, PurePosixPath

import numpy as np
import pyarrow.parquet as pq

from vptcore.choices import choose_one
from vptcore.data.item import (
    IMAGE_SUFFIXES,
    SPLIT_NAMES,
    SPLITS,
    Item,
    Request,
    Source,
    capped,
    drawn_splits,
    numbered,
    read_text,
    whole_number,
)
from vptcore.data.listing import Listing, list_folder
from vptcore.data.readers import fgvc, hf, parquet_files, shapes, tfds, wds
from vptcore.data.readers.csv import list_csv
from vptcore.data.readers.parquet import list_parquet
from vptcore.data.tasks import FETCHED

OWN_TEST_SHARE = 0.2  # of a person's images that come without a split
DIGITS_TEST = 500

# What a task is called in the folders of the NOAH family (NOAH data/vtab-source/get_vtab1k.py).
VTAB1K_FOLDERS = {
    "cifar100": "cifar", "clevr_distance": "clevr_dist", "kitti_distance": "kitti",
    "dsprites_location": "dsprites_loc", "dsprites_orientation": "dsprites_ori",
    "smallnorb_azimuth": "smallnorb_azi", "smallnorb_elevation": "smallnorb_ele",
}  # fmt: skip
VTAB1K_LISTS = {"train": "train800.txt", "val": "val200.txt", "test": "test.txt"}
VTAB1K_NEEDS = tuple(VTAB1K_LISTS.values())
LOSSY = "images are JPEG of quality 75, the benchmark's are lossless: small ones suffer, CIFAR-100 by about 10 points"
WDS_NEEDS = ("train/nshards.txt", "test/nshards.txt")

# source: the files that must be there, and the layout in words.
LAYOUTS: dict[str, tuple[tuple[str, ...], str]] = {
    "parquet": ((), "one parquet file with the columns image and label, optionally split and name"),
    "folder": ((), "one folder of images per class, optionally below train, val and test"),
    "fgvc": ((), fgvc.LAYOUT),
    "hf": ((), hf.LAYOUT),
    "tfds": ((), "data sets that tensorflow_datasets has prepared (its data_dir)"),
    "vtab1k": (VTAB1K_NEEDS, "train800.txt, val200.txt, test.txt with lines 'images/.../000000.jpg LABEL'"),
    "wds": (WDS_NEEDS, "CLIP-benchmark's shards: train and test, each with nshards.txt, 0.tar, 1.tar, ..."),
}


Reader = Callable[[Request], Source]


def open_source(source: str, request: Request) -> Source:
    """Open `source`; every item is checked on its way: split, label in [0, classes), at most `max_train` in train."""
    choose_one(f"tasks.{request.task}.source", source, READERS)
    opened = READERS[source](request)
    if len(opened.class_names) != request.classes:
        found, some = len(opened.class_names), ", ".join(opened.class_names[:3])
        expected = f"expected {request.classes} for {request.task}"
        raise ValueError(f"{opened.where}: found {found} classes ({some}, ...), {expected}")
    return replace(opened, items=_checked(opened, request))


def look(source: str, path: Path | str) -> Listing:
    """What a person's own images are, without decoding one: classes, images per class and split, what is wrong.

    `source` is folder, csv or parquet. It never raises: a path that is not there is among the listing's problems.
    """
    listed = LISTED[str(choose_one("source", source, LISTED))]
    return listed(path)


def locate(source: str, request: Request) -> Path:
    """The folder or file a source is read from. Raises ValueError that says what is missing and what to put where."""
    if source == "original":
        from vptcore.data.readers import archives

        return archives.locate(request)
    needs, layout = LAYOUTS[source]
    tried = _places(source, request)
    for path in tried:
        if _is_there(source, path) and all((path / name).is_file() for name in needs):
            return path
    missing = next((name for name in needs if tried and not (tried[0] / name).is_file()), "data")
    looked = " and ".join(str(path) for path in tried) or f"no path (the config has no tasks.{request.task}.path)"
    fetch = f", or run `vptcore data fetch {request.task}`" if source in FETCHED else ""
    raise ValueError(f"{request.task}: no {missing} found in {looked}; put there {layout}{fetch}")


def _is_there(source: str, path: Path) -> bool:
    """Whether a file, or a folder with something in it that the source's reader looks for, lies at `path`."""
    if source == "parquet":
        return path.is_file()
    if source == "hf":
        return path.is_dir() and bool(hf.shards(path))
    if source in ("folder", "fgvc"):
        return any(_is_image(name) for _, _, names in os.walk(path, followlinks=True) for name in names)
    return path.is_dir() and any(path.iterdir())


def _is_image(name: str) -> bool:
    return os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES and not name.startswith(".")


def _places(source: str, request: Request) -> list[Path]:
    if request.path is None:
        return []
    path = Path(request.path)
    if source == "parquet":
        return [path, path.with_name(f"{path.name}.parquet")]
    if source == "vtab1k" and path.name == request.task:
        noah = VTAB1K_FOLDERS.get(request.task, request.task)
        return list(dict.fromkeys([path, path.with_name(noah), path.parent / "vtab-1k" / noah]))
    return [path]


def _checked(source: Source, request: Request) -> Iterator[Item]:
    train, keys = 0, set()
    for item in source.items:
        at = f"{source.where}: {item.key}"
        if item.key in keys:
            raise ValueError(f"{at}: two images have this key; rename one or take it out")
        keys.add(item.key)
        if item.split not in SPLITS:
            raise ValueError(f"{at}: split {item.split!r} is unknown; choices: {', '.join(SPLIT_NAMES)}")
        if isinstance(item.label, bool) or not isinstance(item.label, (int, np.integer)):
            raise ValueError(f"{at}: label {item.label!r} is not a whole number; expected 0 to {request.classes - 1}")
        if not 0 <= item.label < request.classes:
            raise ValueError(f"{at}: label {item.label} is out of range; expected 0 to {request.classes - 1}")
        train += item.split == "train"
        if request.max_train is None or item.split != "train" or train <= request.max_train:
            yield item


def sklearn_digits(request: Request) -> Source:
    """The 1,797 digits that scikit-learn ships, 8x8 grey; 500 of them, drawn by the seed, are test."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    pixels_NHW1 = np.rint(digits.images[..., None] * (255 / 16)).astype(np.uint8)
    splits = drawn_splits(len(digits.target), DIGITS_TEST, request.seed)
    rows = zip(splits, digits.target.tolist(), pixels_NHW1, strict=True)
    items = (Item(f"row {row}", *values) for row, values in enumerate(rows))
    return Source("sklearn.datasets.load_digits", numbered(10), items)


def shapes_source(request: Request) -> Source:
    """The tasks that `shapes` draws."""
    choose_one("shapes task", request.task, shapes.TASKS)
    drawn = shapes.images(request.task, request.seed)
    items = (Item(f"{split}/{i:05d}", split, label, pixels) for i, (split, pixels, label) in enumerate(drawn))
    return Source("vptcore.data.readers.shapes", shapes.CLASS_NAMES[request.task], items)


def embedded_parquet(request: Request) -> Source:
    """A parquet that ships with the package, `assets/<task>.parquet`."""
    return _parquet(Path(str(resources.files("vptcore") / "assets" / f"{request.task}.parquet")), request)


def parquet(request: Request) -> Source:
    """A person's own parquet: image (file bytes, or Hugging Face's {bytes, path}), label, optionally split and name."""
    return _parquet(locate("parquet", request), request)


def _parquet(path: Path, request: Request) -> Source:
    file = parquet_files.opened(path)
    columns = file.schema_arrow.names
    if missing := {"image", "label"} - set(columns):
        raise ValueError(f"{path}: no column {' or '.join(sorted(missing))}; found {', '.join(columns)}")
    stored = parquet_files.stored_json(path, file.schema_arrow, "classes")
    names = tuple(map(str, stored)) if isinstance(stored, list) else numbered(request.classes)
    return Source(str(path), names, _parquet_items(path, file, columns, request.seed))


def _parquet_items(path: Path, file: pq.ParquetFile, columns: list[str], seed: int) -> Iterator[Item]:
    count = file.metadata.num_rows
    drawn = None if "split" in columns else drawn_splits(count, round(count * OWN_TEST_SHARE), seed)
    wanted = [name for name in ("image", "label", "split", "name") if name in columns]
    for row, values in enumerate(parquet_files.rows(path, file, wanted)):
        image = values["image"]
        split = drawn[row] if drawn else SPLIT_NAMES.get(values["split"], values["split"])
        image = image.get("bytes") if isinstance(image, dict) else image
        yield Item(str(values.get("name") or f"row {row}"), split, values["label"], image)


def folder(request: Request) -> Source:
    """Class folders, in alphabetical order classes 0, 1, ...; splits from folders above them, or drawn by the seed."""
    root = locate("folder", request)
    # Only if all are named so: `train` may well be a class beside `bus`.
    is_split = all(path.name in SPLIT_NAMES for path in _folders(root))
    above = [(SPLIT_NAMES[path.name], path) for path in _folders(root)] if is_split else []
    above.sort(key=lambda pair: SPLITS.index(pair[0]))
    names = sorted({path.name for _, part in above or [("train", root)] for path in _folders(part)})
    if above:
        parts = [(split, path) for split, part in above for path in _images(part, names)]
    else:
        paths = _images(root, names)
        drawn = drawn_splits(len(paths), round(len(paths) * OWN_TEST_SHARE), request.seed)
        parts = list(zip(drawn, paths, strict=True))
    label = {name: number for number, name in enumerate(names)}
    items = (
        Item(path.relative_to(root).as_posix(), split, label[path.parent.name], path)
        for split, path in capped(parts, request)
    )
    return Source(str(root), tuple(names), items)


def _folders(root: Path) -> list[Path]:
    return sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))


def _images(root: Path, names: list[str]) -> list[Path]:
    folders = (root / name for name in names if (root / name).is_dir())
    return [folder / file for folder in folders for file in sorted(os.listdir(folder)) if _is_image(file)]


def vtab1k(request: Request) -> Source:
    """The folders of NOAH, SSF, RepAdapter and others: exact train800 and val200, as JPEG."""
    root = locate("vtab1k", request)
    parts = [(split, line) for split, name in VTAB1K_LISTS.items() for line in _listed(root / name)]
    items = (_listed_item(root, split, *line) for split, line in capped(parts, request))
    lossy = any(name.lower().endswith((".jpg", ".jpeg")) for _, (name, _) in parts)
    return Source(str(root), numbered(request.classes), items, (LOSSY,) if lossy else ())


def _listed(path: Path) -> list[tuple[str, int]]:
    lines = []
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        name, _, label = line.strip().rpartition(" ")
        if not name or PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
            raise ValueError(f"{path}: line {number} is {line!r}; expected 'images/.../000000.jpg LABEL'")
        lines.append((name, whole_number(label, f"{path}: line {number}")))
    return lines


def _listed_item(root: Path, split: str, name: str, label: int) -> Item:
    if not (root / name).is_file():
        raise ValueError(f"{root / name}: listed in {VTAB1K_LISTS[split]} but not there")
    return Item(name, split, label, root / name)


def wds_source(request: Request) -> Source:
    """CLIP-benchmark's webdatasets of VTAB. They have no val200: `splits` takes the next 200 train rows instead."""
    root = locate("wds", request)
    raw = wds.RAW_CLASSES.get(request.task)

    def items() -> Iterator[Item]:
        for split in ("train", "test"):
            samples = wds.samples(root / split)
            for key, label, image in islice(samples, request.max_train) if split == "train" else samples:
                at = f"{root}: {split}/{key}"
                number = whole_number(label, at)
                yield Item(f"{split}/{key}", split, wds.binned(number, raw, at) if raw else number, image)

    names = wds.class_names(root / "classnames.txt")
    return Source(str(root), names if len(names) == request.classes else numbered(request.classes), items())


def fgvc_source(request: Request) -> Source:
    """An FGVC set by its lists, or by class folders."""
    locate("fgvc", request)
    return fgvc.read_fgvc(request) or folder(request)


def hf_source(request: Request) -> Source:
    """A repository of the Hugging Face Hub, downloaded."""
    return hf.read_hf(locate("hf", request), request)


def original(request: Request) -> Source:
    """The archives as their makers publish them.

    `vptcore.data.readers.archives` gives `open_original(request) -> Source`, and `locate(request) -> Path` that raises
    the one line on what is missing and what to put where.
    """
    from vptcore.data.readers.archives import open_original

    return open_original(request)


LISTED: dict[str, Callable[[Path | str], Listing]] = {
    "folder": list_folder, "csv": list_csv, "parquet": list_parquet,
}  # fmt: skip
READERS: dict[str, Reader] = {
    "sklearn_digits": sklearn_digits,
    "embedded_parquet": embedded_parquet,
    "shapes": shapes_source,
    "parquet": parquet,
    "folder": folder,
    "vtab1k": vtab1k,
    "wds": wds_source,
    "original": original,
    "fgvc": fgvc_source,
    "hf": hf_source,
    "tfds": tfds.read_tfds,
}
