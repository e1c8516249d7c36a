"""Images that a csv lists: one row each with its path and its label, and its split where the csv says so.

In: a csv with a heading (`path,label` or `image,class,split`; commas, semicolons or tabs), paths relative to it. Out: a
`Listing`, or items in the csv's order. Labels are names or numbers; sorted, they are the classes 0, 1, ...

    python -m pytest tests/vptcore/data/test_csv.py
"""

from __future__ import annotations

import csv
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from vptcore.data.item import SPLIT_NAMES, UNSPLIT, Request, Source, read_text, split_named
from vptcore.data.listing import Listed, Listing, listing_of
from vptcore.data.reader import Reader, located, with_suffix
from vptcore.data.readers.own import source_of_listing
from vptcore.data.remedies import first, some
from vptcore.wording import plural

PATHS = ("path", "image", "image_path", "file", "filename", "file_name")
LABELS = ("label", "class", "class_name", "category", "target")
SPLIT_COLUMNS = ("split", "set", "subset", "partition")
DELIMITERS = ",;\t"


def list_csv(path: Path | str) -> Listing:
    """What the csv lists. It never raises: a csv that cannot be read is a problem."""
    try:
        listed, problems = _rows(Path(path))
    except OSError as error:
        return Listing(str(path), problems=(f"cannot be read ({error.strerror})",))
    except ValueError as error:
        return Listing(str(path), problems=(str(error).removeprefix(f"{path}: "),))
    root, names = Path(path).parent, [image.name for image in listed]
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        problems.append(f"{plural(len(twice), 'image')} listed more than once ({some(twice)}); keep one row of each")
    gone = tuple(name for name in names if not os.path.isfile(root / name))
    if names and len(gone) == len(names):
        problems.append(
            f"none of its {plural(len(names), 'file')} is there ({some(gone)}); paths are relative to {root}"
        )
    found = listing_of(str(path), listed, dead=gone, classes=classes_of(image.kind for image in listed))
    return replace(found, problems=(*problems, *found.problems))


def classes_of(labels: Iterable[str]) -> tuple[str, ...]:
    """The distinct labels in the order of their numbers: as numbers where all are whole ones, else as text."""
    distinct = set(labels)
    return tuple(sorted(distinct, key=int if all(label.isdecimal() for label in distinct) else str))


def _rows(path: Path) -> tuple[list[Listed], list[str]]:
    """The images of the csv in its order, and what is wrong with single rows."""
    lines = read_text(path).removeprefix("\ufeff").splitlines()
    if not lines:
        raise ValueError(f"{path}: it is empty; expected a heading such as path,label")
    delimiter = max(DELIMITERS, key=lines[0].count)
    heading, *rows = csv.reader(lines, delimiter=delimiter)
    image, label = _column(heading, PATHS), _column(heading, LABELS)
    split = next((heading.index(name) for name in heading if name.strip().lower() in SPLIT_COLUMNS), None)
    listed, problems = [], []
    for number, row in enumerate(rows, start=2):
        if not any(row):
            continue
        wrong = _wrong(row, heading, image, label, split)
        if wrong:
            problems.append(f"row {number}: {wrong}")
        else:
            where = UNSPLIT if split is None else split_named(row[split].strip())
            listed.append(Listed(where, row[label].strip(), row[image].strip()))
    return listed, first(problems)


def _wrong(row: Sequence[str], heading: Sequence[str], image: int, label: int, split: int | None) -> str:
    if len(row) != len(heading):
        return f"{len(row)} values, the heading has {len(heading)}"
    if not row[image].strip() or not row[label].strip():
        return f"no {heading[image if not row[image].strip() else label].strip()}"
    if split is not None and not split_named(row[split].strip()):
        return f"split {row[split]!r} is unknown; choices: {', '.join(SPLIT_NAMES)}"
    return ""


def _column(heading: Sequence[str], wanted: Sequence[str]) -> int:
    names = [name.strip().lower() for name in heading]
    found = next((names.index(name) for name in wanted if name in names), None)
    if found is None:
        raise ValueError(f"no column {' or '.join(wanted)} in its heading; found {', '.join(heading)}")
    return found


def open_csv(request: Request) -> Source:
    path = located(READER, request)
    return source_of_listing(list_csv(path), path.parent, request)


READER = Reader(
    "csv", "a csv with the columns path and label, optionally split; paths are relative to it", open_csv, own=True,
    count=lambda request: list_csv(request.path).total, look=list_csv, is_file=True, holds=Path.is_file,
    places=with_suffix(".csv"), names=lambda path: [image.name for image in list_csv(path).images],
)  # fmt: skip
