"""A person's own parquet: image (file bytes, a path, or Hugging Face's {bytes, path}), label, optionally split, name.

In: the file. Out: items in its order. Class names of numbers are a JSON list in the schema's metadata key `classes`, or
those that `datasets` stores. A test set that it does not name is drawn, a fifth of each class.

    python -m pytest tests/vptcore/data/test_sources.py -k parquet
"""

from __future__ import annotations

from pathlib import Path

from vptcore.data.item import Request, Source
from vptcore.data.listing import Listing
from vptcore.data.reader import Reader, located, with_suffix
from vptcore.data.readers import columns, parquet_files


def open_parquet(request: Request) -> Source:
    path = located(READER, request)
    return columns.open_columns(path, columns.one_table(path), request)


def list_parquet(path: Path | str) -> Listing:
    """What the file holds. It never raises: a file that cannot be read is a problem."""
    try:
        return columns.list_columns(path, columns.one_table(Path(path)))
    except ValueError as error:
        return Listing(str(path), problems=(str(error).removeprefix(f"{path}: "),))


READER = Reader(
    "parquet", "one parquet file with the columns image and label, optionally split and name", open_parquet, own=True,
    count=lambda request: parquet_files.count(Path(request.path)), look=list_parquet, is_file=True,
    holds=Path.is_file, places=with_suffix(".parquet"),
    names=lambda path: columns.named(path.parent, columns.one_table(path)),
)  # fmt: skip
