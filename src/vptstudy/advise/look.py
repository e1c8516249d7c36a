"""What a person brought, before anything is decoded: which source it is, classes and counts, and a name for the study.

In: a folder, a csv, a parquet, or a data set's folder from the Hub. Out: a `Look`, whose lines are said first; or a
ValueError of one line with every problem and its remedy.

    python -m pytest tests/vptstudy/advise
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from vptcore.data.listing import Listing
from vptcore.data.remedies import left_out_line, some, stop_for
from vptcore.data.sources import look as listing_of
from vptcore.data.tasks import TASKS
from vptcore.records import digest

EXPECTED = "a folder of class folders, a csv of paths and labels, a parquet, or a data set's folder from the Hub"
LEAST = 20  # images; with fewer there is nothing to hold back
SKEWED = 4.0  # the largest class over the smallest, from which accuracy alone misleads


@dataclass(frozen=True)
class Look:
    """`source` and `path` as a config takes them; `name` is the study's and the task's."""

    name: str
    source: str
    path: str
    listing: Listing

    @property
    def classes(self) -> int:
        return len(self.listing.classes)

    @property
    def is_skewed(self) -> bool:
        counts = [self.listing.of_class(name) for name in self.listing.classes]
        return max(counts) > SKEWED * max(1, min(counts))


def look(path: Path, name: str = "") -> Look:
    """Raises ValueError (one line) for a path that holds no labelled images, or too few."""
    source = source_of(path)
    listing = listing_of(source, path)
    stop_for(listing)
    if listing.total < LEAST:
        raise ValueError(
            f"{path}: {listing.total} images; expected at least {LEAST}, some to learn from and some to test"
        )
    return Look(name or name_for(path), source, str(path), listing)


def source_of(path: Path) -> str:
    """The source of a person's own images (data.sources.READERS) by what is at the path."""
    if not path.exists():
        raise ValueError(f"{path}: no such file or folder; expected {EXPECTED}")
    if path.is_dir():
        return "hf" if not listing_of("folder", path).images and listing_of("hf", path).images else "folder"
    source = path.suffix.lower().removeprefix(".")
    if source not in ("csv", "parquet"):
        raise ValueError(f"{path}: a {source or 'nameless'} file; expected {EXPECTED}")
    return source


def name_for(path: Path) -> str:
    """A study's name from a path: 'My photos (été)' gives my_photos_ete; a shipped task's name gets _own.

    A name without a Latin letter or a digit is told from others by four digits of its hash.
    """
    stem = path.resolve().stem
    plain = unicodedata.normalize("NFKD", stem).encode("ascii", "ignore").decode()
    words = re.sub(r"[^a-z0-9]+", "_", plain.lower()).strip("_") or f"images_{digest(stem)[:4]}"
    words = words if words[:1].isalpha() else f"images_{words}"
    return f"{words}_own" if words in TASKS or words in ("vtab", "fgvc", "embedded") else words


def lines(found: Look) -> Iterator[str]:
    """What a person should know of the images, a line each."""
    listing = found.listing
    counts = sorted(((listing.of_class(name), name) for name in listing.classes), reverse=True)
    (most, largest), (fewest, smallest) = counts[0], counts[-1]
    each = f"{fewest:,}" if fewest == most else f"{fewest:,} ({smallest}) to {most:,} ({largest})"
    yield f"{listing.total:,} images in {found.classes} classes ({some(listing.classes)}): {each} a class"
    if "test" in listing.splits:
        parts = ", ".join(f"{listing.in_split(split):,} {split}" for split in listing.splits)
        yield f"your own splits: {parts}"
    else:
        yield "no test folder"
    if found.is_skewed:
        yield "classes differ much in size: balanced accuracy (every class counts the same) is given beside accuracy"
    if left := left_out_line(listing.left_out):
        yield left
    yield from listing.remarks
