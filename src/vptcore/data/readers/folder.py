"""A folder of images per class, optionally below train, val and test: what `listing.list_folder` finds in it.

In: a `Request` with the folder's path. Out: items by split, class and name; classes are the folders' names in
alphabetical order. A test set that the folder does not name is drawn, a fifth of each class.

    python -m pytest tests/vptcore/data/test_sources.py -k folder
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from vptcore.data.item import Request, Source
from vptcore.data.listing import is_image, list_folder
from vptcore.data.reader import Reader, located
from vptcore.data.readers.own import source_of_listing
from vptcore.data.walk import is_litter


def open_folder(request: Request) -> Source:
    return open_listed(replace(request, path=located(READER, request)))


def open_listed(request: Request) -> Source:
    """The images of the class folders at `request.path`."""
    return source_of_listing(list_folder(request.path), Path(request.path), request)


def has_images(root: Path) -> bool:
    """Whether an image is below `root`, found without looking further than the first."""
    for _, folders, names in os.walk(root, followlinks=True):
        folders[:] = [name for name in folders if not is_litter(name)]
        if any(is_image(name) and not is_litter(name) for name in names):
            return True
    return False


READER = Reader(
    "folder", "one folder of images per class, optionally below train, val and test", open_folder, own=True,
    count=lambda request: list_folder(request.path).total, look=list_folder, holds=has_images,
)  # fmt: skip
