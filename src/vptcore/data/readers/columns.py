"""Images and labels in columns: one table or many, with splits by file, by column, or none.

In: `Shard`s, each a table and the split that its name gives it. Out: a `Listing` from the label and split columns
alone, or a `Source` in the tables' order. Labels are whole numbers from 0, or texts, which are the classes in
alphabetical order.

    python -m pytest tests/vptcore/data/test_sources.py tests/vptcore/data/test_hf.py
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from vptcore.data.item import SPLIT_NAMES, UNSPLIT, Item, Request, Source, numbered, split_named
from vptcore.data.listing import Listed, Listing, listing_of
from vptcore.data.readers import parquet_files
from vptcore.data.readers.own import DRAWN, kept_rows, with_test
from vptcore.data.remedies import DRAWN_TEST, first, stop_for

IMAGES, LABELS = ("image", "img"), ("label", "labels", "fine_label")


@dataclass(frozen=True)
class Shard:
    """One table: its path, its split if its name says so, and what its rows are called: `name` and their number."""

    path: Path
    split: str | None
    name: str


def one_table(path: Path) -> list[Shard]:
    """The shards of a table by itself, whose splits are a column or none."""
    return [Shard(path, None, "row ")]


@dataclass(frozen=True)
class _Columns:
    """What the first shard calls its columns, and the class names that it stores."""

    image: str
    label: str
    names: tuple[str, ...]


def list_columns(where: Path | str, shards: Sequence[Shard], classes: int | None = None) -> Listing:
    """What the tables hold, where there may be `classes` of them. Raises ValueError (one line) for a broken table."""
    columns = _columns(shards[0].path)
    rows = [(shard, *row) for shard in shards for row in _labels(shard, columns)]
    names = _names(columns, [label for *_, label in rows], classes)
    number = {name: name_number for name_number, name in enumerate(names)}
    listed, wrong = [], []
    for shard, row, split, label in rows:
        key = f"{shard.name}{row}"
        if (named := split_named(split)) is None and split != UNSPLIT:
            wrong.append((None, f"{key}: split {split!r} is unknown; choices: {', '.join(SPLIT_NAMES)}"))
        elif reason := _wrong(label, number, len(names)):
            wrong.append((named, f"{key}: {reason}"))
        else:
            kind = label if isinstance(label, str) else names[label]
            listed.append(Listed(named or UNSPLIT, kind, key))
    found = listing_of(str(where), listed, classes=names)
    return replace(found, problems=(*_problems(wrong, found), *found.problems))


def open_columns(where: Path, shards: Sequence[Shard], request: Request) -> Source:
    """The images of the tables; their labels and splits are read, and held to the classes, before the first image."""
    listing = list_columns(where, shards, request.classes)
    stop_for(listing)
    label = {name: number for number, name in enumerate(listing.classes)}
    labels = [label[image.kind] for image in listing.images]
    names = [image.name for image in listing.images]
    splits, drawn = with_test([image.split for image in listing.images], labels, request.seed, names)
    kept = set(kept_rows(splits, labels, request, names))
    substitutes = (DRAWN.format(where.name),) if drawn else ()
    items = _items(shards, splits, labels, kept)
    return Source(str(where), listing.classes, items, substitutes, remarks=listing.remarks)


def named(folder: Path, shards: Sequence[Shard]) -> list[str]:
    """The images that tables name in place of holding them, as they are found from `folder`; none of a broken table."""
    try:
        column = _columns(shards[0].path).image if shards else ""
        return [
            str(shard.path.parent.relative_to(folder) / name)
            for shard in shards for name in parquet_files.named_images(shard.path, column)
        ]  # fmt: skip
    except (OSError, ValueError, KeyError):
        return []


def count(shards: Sequence[Shard]) -> int:
    return sum(parquet_files.count(shard.path) for shard in shards)


def _items(shards: Sequence[Shard], splits: Sequence[str], labels: Sequence[int], kept: set[int]) -> Iterator[Item]:
    image, row = _columns(shards[0].path).image, 0
    for shard in shards:
        wanted = [name for name in (image, "name") if name in parquet_files.schema_of(shard.path).names]
        for number, values in enumerate(parquet_files.rows(shard.path, wanted)):
            if row in kept:
                picture = parquet_files.picture(values[image], shard.path.parent)
                yield Item(str(values.get("name") or f"{shard.name}{number}"), splits[row], labels[row], picture)
            row += 1


def _columns(path: Path) -> _Columns:
    schema = parquet_files.schema_of(path)
    image, label = (next((name for name in wanted if name in schema.names), None) for wanted in (IMAGES, LABELS))
    for found, wanted in ((image, IMAGES), (label, LABELS)):
        if found is None:
            raise ValueError(f"{path}: no column {' or '.join(wanted)}; found {', '.join(schema.names)}")
    return _Columns(image, label, parquet_files.class_names(path, schema, label))


def _labels(shard: Shard, columns: _Columns) -> Iterator[tuple[int, object, object]]:
    """(row, split, label) of each row of a table."""
    there = parquet_files.schema_of(shard.path).names
    if missing := {columns.image, columns.label} - set(there):
        raise ValueError(f"{shard.path}: no column {' or '.join(sorted(missing))}, which the first shard has")
    by_column = shard.split is None and "split" in there
    wanted = [columns.label, "split"] if by_column else [columns.label]
    for row, values in enumerate(parquet_files.rows(shard.path, wanted)):
        yield row, values["split"] if by_column else shard.split or UNSPLIT, values[columns.label]


def _names(columns: _Columns, labels: Sequence, classes: int | None) -> tuple[str, ...]:
    """The stored names; else the texts that are labels; else '0', '1', ... up to `classes` or the highest label."""
    if columns.names:
        return columns.names
    if texts := sorted({label for label in labels if isinstance(label, str)}):
        return tuple(texts)
    return numbered(classes or max((label for label in labels if type(label) is int), default=-1) + 1)


def _wrong(label: object, number: dict[str, int], classes: int) -> str:
    if isinstance(label, str):
        return "" if label in number else f"label {label!r} is none of the class names"
    if type(label) is not int:
        return f"label {label!r} is not a whole number; expected 0 to {classes - 1}"
    return "" if 0 <= label < classes else f"label {label} is out of range; expected 0 to {classes - 1}"


def _problems(wrong: Sequence[tuple[str | None, str]], found: Listing) -> list[str]:
    """The wrong rows; a test split in which every row is wrong is one without labels, as competitions publish it."""
    in_test = Counter(split for split, _ in wrong)["test"]
    if in_test and not found.in_split("test") and found.in_split("train"):
        line = f"test has {in_test:,} rows and not one label; take them out ({DRAWN_TEST}), or add their labels"
        return [line, *first([text for split, text in wrong if split != "test"])]
    return first([text for _, text in wrong])
