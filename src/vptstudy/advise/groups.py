"""Images that belong together and stay on one side of every split: of one patient, plot, camera, day.

In: what a person brought, `--group-by`, and the images' keys. Out: a group an image; or a ValueError of one line.

    vptcore advise scans.csv --group-by patient
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import pandas as pd

from vptcore.choices import choose_one
from vptcore.data.readers import hf, parquet_files
from vptcore.data.readers.columns import IMAGES, LABELS, Shard, one_table
from vptcore.data.readers.csv import DELIMITERS, PATHS
from vptstudy.advise.folds import FOLDS
from vptstudy.advise.look import Look

PARENT = "parent"
MOST = 0.6  # of all images in one group: a fifth for test and a fifth for val must come from the others
TABLES = {
    "csv": lambda path: _csv(path),
    "parquet": lambda path: _columns(one_table(path)),
    "hf": lambda path: _columns(hf.shards(path)),
}


def groups_of(look: Look, by: str, keys: Sequence[str], labels: Sequence[str]) -> list[str]:
    """The group of each key: the folder above the image for `parent`, else the column's value. Empty without `by`."""
    if not by:
        return []
    found = _parents(keys) if by == PARENT else _column(look, by, keys)
    _check(by, found, labels)
    return found


def check(look: Look, by: str) -> None:
    """The same errors before an image is decoded, where keys and labels are known by then."""
    if look.source in ("parquet", "hf"):
        table, keys = TABLES[look.source](Path(look.path))
        labels = [str(label) for label in table[next(name for name in LABELS if name in table)]]
    elif look.source in ("folder", "csv"):
        keys, labels = ([getattr(image, what) for image in look.listing.images] for what in ("name", "kind"))
    else:
        return
    groups_of(look, by, keys, labels)


def _parents(keys: Sequence[str]) -> list[str]:
    return [str(PurePosixPath(key).parent) for key in keys]


def _column(look: Look, by: str, keys: Sequence[str]) -> list[str]:
    if look.source not in TABLES:
        raise ValueError(f"--group-by {by}: {look.path} has no columns; write {PARENT} for the folder above each image")
    table, key = TABLES[look.source](Path(look.path))
    if by not in table.columns:
        choose_one("--group-by", by, [PARENT, *map(str, table.columns)])
    of_key = dict(zip(key, table[by].astype(str), strict=True))
    return [of_key[one] for one in keys]


def _csv(path: Path) -> tuple[pd.DataFrame, list[str]]:
    heading = path.read_text(encoding="utf-8").removeprefix("\ufeff").partition("\n")[0]
    table = pd.read_csv(path, sep=max(DELIMITERS, key=heading.count), dtype=str, keep_default_na=False)
    named = {str(name).strip().lower(): name for name in table.columns}
    return table, [text.strip() for text in table[next(named[name] for name in PATHS if name in named)]]


def _columns(shards: Sequence[Shard]) -> tuple[pd.DataFrame, list[str]]:
    """Every column but the images, of all tables; a row's key is its name, or its table's and its number."""
    keys, rows = [], []
    for shard in shards:
        wanted = [name for name in parquet_files.schema_of(shard.path).names if name not in IMAGES]
        found = list(parquet_files.rows(shard.path, wanted))
        keys += [str(row.get("name") or f"{shard.name}{number}") for number, row in enumerate(found)]
        rows += found
    return pd.DataFrame(rows), keys


def _check(by: str, groups: Sequence[str], labels: Sequence[str]) -> None:
    if len(spanned(groups, labels)) == len(set(labels)):
        raise ValueError(
            f"--group-by {by}: every class lies in one group alone and could not be both trained on and tested; group "
            f"by what occurs in several classes, or put folders below the class folders"
        )
    counts = Counter(groups)
    (largest, most), *_ = counts.most_common(1)
    if most > MOST * len(groups):
        raise ValueError(
            f"--group-by {by}: {most:,} of {len(groups):,} images are in one group ({largest}), which would stand on "
            f"one side of every split; group by something finer"
        )
    if len(counts) < 2 * FOLDS:
        raise ValueError(
            f"--group-by {by}: {len(counts)} groups; expected at least {2 * FOLDS}, to train on some, choose by others "
            f"and test on others again; group by something finer"
        )


def spanned(groups: Sequence[str], labels: Sequence[str]) -> list[str]:
    """The classes whose images are all in one group: they are trained on and never tested, or the other way round."""
    found: dict[str, set[str]] = {}
    for group, label in zip(groups, labels, strict=True):
        found.setdefault(label, set()).add(group)
    return sorted(label for label, of_label in found.items() if len(of_label) == 1)
