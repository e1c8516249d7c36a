"""CLIP-benchmark's webdataset shards: nshards.txt and 0.tar, 1.tar, ... with s0000000.webp and s0000000.cls per image.

In: a folder with the shards of one split. Out: key, label text and place of each sample's image; the worker that
decodes it reads it straight from the tar, and nothing is unpacked to disk.

    python -m pytest tests/vptcore/data/test_sources.py -k wds
"""

from __future__ import annotations

import re
import tarfile
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from vptcore.data import vtab
from vptcore.data.item import Item, Range, Request, Source, numbered, read_text, whole_number
from vptcore.data.reader import Reader, located
from vptcore.data.readers.labels import dsprites_bins

MEMBER = re.compile(r"(s\d{7,})\.(webp|png|jpg|jpeg|cls)")


def samples(folder: Path) -> Iterator[tuple[str, str, Range]]:
    """(shard and key, label text, image) of every sample of a split, shard by shard."""
    shard_of: dict[str, str] = {}
    for number in range(shard_count(folder)):
        shard = folder / f"{number}.tar"
        for key, label, image in read_shard(shard):
            if key in shard_of:
                raise ValueError(f"{shard}: {key} occurs in {shard_of[key]} too; fetch the task again")
            shard_of[key] = shard.name
            yield f"{shard.name}:{key}", label, image


def shard_count(folder: Path) -> int:
    text = read_text(folder / "nshards.txt").strip()
    if not text.isdigit():
        raise ValueError(f"{folder / 'nshards.txt'}: found {text[:40]!r}, expected the number of shards")
    return int(text)


def count(folder: Path) -> int:
    """The number of samples of a split. Keys run on from shard to shard, so that only the last shard is gone through.

    All are, where the shards' first keys are not in that order. Raises ValueError (one line) for a broken shard.
    """
    shards = [folder / f"{number}.tar" for number in range(shard_count(folder))]
    starts = [next((int(key[1:]) for key, _, _ in read_shard(shard)), -1) for shard in shards]
    if starts[:1] != [0] or starts != sorted(set(starts)):
        return sum(1 for _ in samples(folder))
    return starts[-1] + sum(1 for _ in read_shard(shards[-1]))


def read_shard(path: Path) -> Iterator[tuple[str, str, Range]]:
    """(key, label text, image) of one tar. Members with any other name, links and lone members are errors."""
    waiting: dict[str, dict[str, bytes | Range]] = {}
    try:
        with tarfile.open(path, "r:") as tar:
            for member in tar:
                match = MEMBER.fullmatch(member.name.removeprefix("./"))
                if not match or not member.isfile():
                    expected = "a file named like s0000000.webp or s0000000.cls"
                    raise ValueError(f"{path}: member {member.name!r} is not {expected}")
                key, suffix = match.groups()
                sample = waiting.setdefault(key, {})
                part = "label" if suffix == "cls" else "image"
                if part in sample:
                    raise ValueError(f"{path}: {key} has two members that are its {part}")
                at = Range(path, member.offset_data, member.size)
                sample[part] = tar.extractfile(member).read() if part == "label" else at
                if len(sample) == 2:
                    del waiting[key]
                    yield key, sample["label"].decode("ascii", "replace"), sample["image"]
    except FileNotFoundError:
        raise ValueError(f"{path}: no such shard, though nshards.txt counts it; fetch the task again") from None
    except (tarfile.TarError, EOFError, OSError) as error:
        raise ValueError(f"{path}: not a whole tar file ({error}); delete it and fetch the task again") from None
    if not _is_closed(path):
        raise ValueError(f"{path}: the tar file breaks off before its end mark; delete it and fetch the task again")
    if waiting:
        key, sample = next(iter(waiting.items()))
        raise ValueError(f"{path}: {key} has no {'image' if 'label' in sample else '.cls'}")


def _is_closed(path: Path) -> bool:
    """Whether the two closing blocks of zeros are there: tarfile takes an archive that breaks off early as whole."""
    with open(path, "rb") as file:
        file.seek(-min(1024, path.stat().st_size), 2)
        return file.read() == bytes(1024)


def binned(label: int, raw: int, at: str) -> int:
    """A raw dSprites class as one of 16; `at` names the sample in the error for a class that does not exist."""
    if not 0 <= label < raw:
        raise ValueError(f"{at}: label {label} is out of range; the shards have the raw classes 0 to {raw - 1}")
    return int(dsprites_bins(label, raw))


def class_names(path: Path) -> tuple[str, ...]:
    """The lines of classnames.txt; empty if there is none."""
    return tuple(read_text(path).splitlines()) if path.is_file() else ()


def wds(request: Request) -> Source:
    """VTAB's webdatasets have no val200: `splits` takes the next 200 train rows instead."""
    root = located(READER, request)
    names = class_names(root / "classnames.txt")
    return Source(
        str(root), names if len(names) == request.classes else numbered(request.classes), _items(root, request)
    )


def _items(root: Path, request: Request) -> Iterator[Item]:
    # The export keeps dSprites' raw classes (CLIP_benchmark's builder passes no num_classes); VTAB scores 16 bins.
    raw = vtab.ROWS[request.task].raw if request.task in vtab.ROWS else 0
    for split in ("train", "test"):
        all_samples = samples(root / split)
        for key, label, image in islice(all_samples, request.max_train) if split == "train" else all_samples:
            at = f"{root}: {split}/{key}"
            number = whole_number(label, at)
            yield Item(f"{split}/{key}", split, binned(number, raw, at) if raw else number, image)


READER = Reader(
    "wds", "CLIP-benchmark's shards: train and test, each with nshards.txt, 0.tar, 1.tar, ...", wds,
    needs=("train/nshards.txt", "test/nshards.txt"), lacks_val=True,
    count=lambda request: sum(count(Path(request.path) / split) for split in ("train", "test")),
    fetched=("*.txt", "train/nshards.txt", "train/*.tar", "test/nshards.txt", "test/*.tar"),
)  # fmt: skip
