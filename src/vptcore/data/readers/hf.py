"""Data sets as the Hugging Face Hub and `datasets` keep them: tables with an image and a label column.

In: a folder as `huggingface_hub` downloads a repository (`data/train-00000-of-00002.parquet`, `train/0000.parquet`, or
one file per split), or as `Dataset.save_to_disk` writes it (`train/data-00000-of-00001.arrow`). Out: items in the
shards' order, splits from the file names, class names from the stored features. `datasets` itself is not needed.

    python -m pytest tests/vptcore/data/test_hf.py
"""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path

from vptcore.data.item import SPLITS, Request, Source, split_named
from vptcore.data.listing import Listing
from vptcore.data.reader import Reader, located
from vptcore.data.readers import columns
from vptcore.data.readers.columns import Shard

LAYOUT = "parquet files whose names or folders say train, validation or test, with an image and a label column"
CACHED = "cache-"  # what `datasets` leaves beside its .arrow files


def open_hf(request: Request) -> Source:
    root = located(READER, request)
    return columns.open_columns(root, shards(root), request)


def list_hf(root: Path | str) -> Listing:
    """What the folder holds. It never raises: tables that cannot be read are a problem."""
    try:
        found = shards(Path(root))
        return columns.list_columns(root, found) if found else Listing(str(root), problems=(f"no {LAYOUT}",))
    except (OSError, ValueError) as error:
        return Listing(str(root), problems=(str(error).removeprefix(f"{root}: "),))


def names(root: Path) -> list[str]:
    """The images that its tables name, wherever they lie."""
    try:
        return columns.named(root, shards(root))
    except (OSError, ValueError):  # two configurations
        return []


def shards(root: Path) -> list[Shard]:
    """Every table by split and name; those that name no split only where none does.

    Raises ValueError for two configurations of one data set: their images are the same ones.
    """
    found = [(path, *_split_of(path.relative_to(root))) for path in _tables(root)]
    if any(split for _, split, _ in found):
        found = [row for row in found if row[1]]
    before = defaultdict(set)
    for _, split, prefix in found:
        before[split].add(prefix)
    if any(len(prefixes) > 1 for prefixes in before.values()):
        configs = sorted({prefix.strip("/-_.") or "." for _, _, prefix in found})
        raise ValueError(
            f"{root}: {len(configs)} configurations ({', '.join(configs)}), each with its own copy of the images; move "
            "one of them into a folder of its own and give that as path"
        )
    ranked = sorted(found, key=lambda row: SPLITS.index(row[1]) if row[1] else 0)
    return [Shard(path, split, f"{path.relative_to(root).as_posix()}:") for path, split, _ in ranked]


def _tables(root: Path) -> list[Path]:
    found = [path for suffix in ("parquet", "arrow") for path in root.rglob(f"*.{suffix}")]
    return sorted(path for path in found if not _is_hidden(path.relative_to(root)))


def _is_hidden(relative: Path) -> bool:
    return relative.name.startswith(CACHED) or any(part.startswith(".") for part in relative.parts)


def _split_of(relative: Path) -> tuple[str | None, str]:
    """The split that a table's name says last, and what comes before it: the configuration, if there are several."""
    name = relative.as_posix()
    words = [(split_named(word[0]), word.start()) for word in re.finditer("[A-Za-z]+", name)]
    split, start = next(((split, start) for split, start in reversed(words) if split), (None, 0))
    return split, name[:start]


READER = Reader(
    "hf", LAYOUT, open_hf, own=True, count=lambda request: columns.count(shards(Path(request.path))), look=list_hf,
    fetched=("*.parquet", "**/*.parquet", "README.md"), holds=lambda path: path.is_dir() and bool(_tables(path)),
    names=names,
)  # fmt: skip
