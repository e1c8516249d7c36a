"""Splits that a file tells, in place of those that a source names or that are drawn from it.

In: a csv with the columns key and split, a row an image, and a task's index. Out: the index with its column split as
the file has it. Raises ValueError (one line) for a file that does not fit the images.

    python -m pytest tests/vptcore/data/test_told.py
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from vptcore.data.item import SPLIT_NAMES, split_named
from vptcore.data.readers.own import DRAWN
from vptcore.data.remedies import some
from vptcore.records import write_text
from vptcore.wording import plural

COLUMNS = ("key", "split")


def as_told(index: pd.DataFrame, path: Path | str) -> pd.DataFrame:
    """`index` (columns key, split and others) with the splits of the file."""
    told = read_told(path)
    keys = index["key"].tolist()
    if lacking := [key for key in keys if key not in told]:
        raise ValueError(f"{path}: no row for {plural(len(lacking), 'image')} ({some(lacking)}); add one for each")
    if unknown := sorted(set(told) - set(keys)):
        raise ValueError(f"{path}: {len(unknown):,} of its images are not there ({some(unknown)}); take them out")
    return index.assign(split=[told[key] for key in keys])


def read_told(path: Path | str) -> dict[str, str]:
    """{key: train, val or test}."""
    try:
        rows = pd.read_csv(path, dtype=str, keep_default_na=False)
    except (OSError, ValueError) as error:
        raise ValueError(f"{path}: not a readable csv ({str(error).splitlines()[0]})") from None
    if missing := [name for name in COLUMNS if name not in rows.columns]:
        raise ValueError(f"{path}: no column {missing[0]}; found {', '.join(rows.columns)}")
    splits = [split_named(split) for split in rows["split"]]
    for number, (split, text) in enumerate(zip(splits, rows["split"], strict=True), start=2):
        if split is None:
            raise ValueError(f"{path}: row {number}: split {text!r} is unknown; choices: {', '.join(SPLIT_NAMES)}")
    if twice := sorted(rows.loc[rows["key"].duplicated(), "key"]):
        raise ValueError(f"{path}: {plural(len(twice), 'image')} listed twice ({some(twice)}); keep one row of each")
    return dict(zip(rows["key"], splits, strict=True))


def write_told(path: Path, told: Mapping[str, str]) -> None:
    """The file of these splits, where it says otherwise: one that stays the same keeps its time."""
    text = pd.DataFrame(told.items(), columns=COLUMNS).to_csv(index=False, lineterminator="\n")
    if not path.is_file() or path.read_text(encoding="utf-8") != text:
        write_text(path, text)


def is_drawn(line: str) -> bool:
    """Whether a line of `substitutes` says how a reader drew the test images."""
    return line.startswith(DRAWN.partition("{")[0])


def noted(substitutes: list[str], path: Path | str) -> list[str]:
    """What a caption says of the images, with where their splits are from in place of how a reader drew them."""
    return [*(line for line in substitutes if not is_drawn(line)), f"splits as {Path(path).name} has them"]
