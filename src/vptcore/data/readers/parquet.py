"""A person's own parquet: image (file bytes, or Hugging Face's {bytes, path}), label, optionally split and name.

In: the file. Out: a `Listing` from its label and split columns alone, or items in its order. Labels are whole numbers
from 0, or names, which are the classes in alphabetical order. Class names of numbers are a JSON list in the schema's
metadata key `classes`, or those that `datasets` stores.

    python -m pytest tests/vptcore/data/test_sources.py -k parquet
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq

from vptcore.data.item import SPLIT_NAMES, UNSPLIT, numbered, split_named
from vptcore.data.listing import Listed, Listing, listing_of
from vptcore.data.readers import parquet_files
from vptcore.data.remedies import first


def list_parquet(path: Path | str) -> Listing:
    """What the file holds. It never raises: a file that cannot be read is a problem."""
    try:
        with parquet_files.opened(Path(path)) as file:
            return _listing(Path(path), file)
    except (OSError, ValueError) as error:
        return Listing(str(path), problems=(str(error).removeprefix(f"{path}: "),))


def _listing(path: Path, file: pq.ParquetFile) -> Listing:
    columns = file.schema_arrow.names
    if missing := {"image", "label"} - set(columns):
        raise ValueError(f"{path}: no column {' or '.join(sorted(missing))}; found {', '.join(columns)}")
    rows = list(parquet_files.rows(path, file, [name for name in ("label", "split") if name in columns]))
    names = class_names(path, file, [row["label"] for row in rows])
    listed, problems = [], []
    for number, row in enumerate(rows):
        split = split_named(row["split"]) if "split" in row else UNSPLIT
        if split is None:
            problems.append(f"row {number}: split {row['split']!r} is unknown; choices: {', '.join(SPLIT_NAMES)}")
        elif (label := number_of(row["label"], names)) is None:
            problems.append(f"row {number}: label {row['label']!r} is not one of the {len(names)} classes")
        else:
            listed.append(Listed(split, names[label], f"row {number}"))
    found = listing_of(str(path), listed, classes=names)
    return replace(found, problems=(*first(problems), *found.problems))


def class_names(path: Path, file: pq.ParquetFile, labels: Sequence) -> tuple[str, ...]:
    """The stored names; else the distinct labels where they are texts, else '0', '1', ... up to the highest label."""
    stored = parquet_files.stored_json(path, file.schema_arrow, "classes")
    names = tuple(map(str, stored)) if isinstance(stored, list) else ()
    names = names or parquet_files.class_label(path, file.schema_arrow, "label")
    if names:
        return names
    if texts := sorted({label for label in labels if isinstance(label, str)}):
        return tuple(texts)
    return numbered(max((label for label in labels if type(label) is int and label >= 0), default=-1) + 1)


def number_of(label: object, names: Sequence[str]) -> int | None:
    """A label's class number; None for one that is no class."""
    if isinstance(label, str):
        return names.index(label) if label in names else None
    return label if type(label) is int and 0 <= label < len(names) else None
