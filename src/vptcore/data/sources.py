"""The readers of the layouts that image data sets come in, and what every reader's items must be.

In: a source's name and a `Request` (task, number of classes, path). Out: a `Source`: class names and `Item`s of key,
split, label and image, lazily, in the source's own order. Every mistake in the data ends in a ValueError of one line
that names the file and the row or key.

    python -m pytest tests/vptcore/data/test_sources.py
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from vptcore.choices import choose_one
from vptcore.data.item import SPLIT_NAMES, SPLITS, Item, Request, Source
from vptcore.data.listing import Listing
from vptcore.data.reader import Reader, located
from vptcore.data.readers import (
    csv,
    embedded_parquet,
    fgvc,
    folder,
    hf,
    original,
    parquet,
    shapes,
    sklearn_digits,
    tfds,
    vtab1k,
    wds,
)

READERS: dict[str, Reader] = {
    row.name: row
    for row in (
        sklearn_digits.READER,
        embedded_parquet.READER,
        shapes.READER,
        parquet.READER,
        csv.READER,
        folder.READER,
        vtab1k.READER,
        wds.READER,
        original.READER,
        fgvc.READER,
        hf.READER,
        tfds.READER,
    )
}
# Of a person's own images, classes can be counted without decoding one.
LISTED = {row.name: row.look for row in READERS.values() if row.look}


def open_source(source: str, request: Request) -> Source:
    """Open `source`; every item is checked on its way: split, label in [0, classes), at most `max_train` in train."""
    choose_one(f"tasks.{request.task}.source", source, READERS)
    opened = READERS[source].open(request)
    if len(opened.class_names) != request.classes:
        found, some = len(opened.class_names), ", ".join(opened.class_names[:3])
        expected = f"expected {request.classes} for {request.task}"
        raise ValueError(f"{opened.where}: found {found} classes ({some}, ...), {expected}")
    return replace(opened, items=_checked(opened, request))


def locate(source: str, request: Request) -> Path:
    """The folder or file a source is read from. Raises ValueError that says what is missing and what to put where."""
    return located(READERS[source], request)


def is_there(source: str, request: Request) -> bool:
    """Whether `locate` would find the images. A disk that cannot be read has none."""
    try:
        locate(source, request)
    except (OSError, ValueError):
        return False
    return True


def look(source: str, path: Path | str) -> Listing:
    """What a person's own images are, without decoding one: classes, images per class and split, what is wrong.

    `source` is folder, csv, parquet or hf. It never raises: a path that is not there is among the listing's problems.
    """
    reader = READERS[str(choose_one("source", source, LISTED))]
    places = reader.places(Request("", 0, Path(path))) if reader.is_file else []
    return LISTED[source](next((place for place in places if place.is_file()), path))


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
