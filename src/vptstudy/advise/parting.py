"""A person's images put into train, val and test: what belongs together on one side, few images into five folds.

In: a study whose images are prepared, what was looked at, and `--group-by`. Out: the files that tell the splits, one a
fold (none where the person's own val and test stand), and what a person should know of it.

    python -m pytest tests/vptstudy/advise/test_parting.py
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from vptcore.data.remedies import NAMED, some
from vptcore.data.told import write_told
from vptcore.records import read_provenance, read_rows
from vptstudy.advise import twins
from vptstudy.advise.folds import FEW, bundles, parts_of
from vptstudy.advise.groups import groups_of, spanned
from vptstudy.advise.look import LEAST, Look
from vptstudy.advise.twins import Twins
from vptstudy.graph import flow
from vptstudy.study import Study

CHAIN = 0.1  # of all images: a longer chain of near-duplicates says that all pictures here look alike


@dataclass(frozen=True)
class Parted:
    """`files` tell the splits, one a fold; `train` and `val` count a fold's images.

    `shared` are in two splits still, because the person's own are left as they are.
    """

    files: tuple[str, ...]
    train: int
    val: int
    shared: tuple[Twins, ...]
    lines: tuple[str, ...]

    @property
    def folds(self) -> int:
        return max(1, len(self.files))


def part(study: Study, look: Look, by: str, root: Path) -> Parted:
    """Write `root`/splits.csv, or `root`/folds/1.csv and so on.

    Raises ValueError (one line) for groups that cannot be split, and where too few images can be decoded.
    """
    files = flow.task_files(study, look.name, "train")
    index = read_rows(files["index"], "index").sort_values("row")
    _check(look, index)
    images_NHWC = np.load(files["images"], mmap_mode="r")
    groups = groups_of(look, by, index["key"].tolist(), index["class_name"].tolist())
    own, splits = frozenset(look.listing.splits), index["split"].tolist()
    stands = {"val", "test"} <= own
    pairs, told = _pairs(images_NHWC, index, "" if stands else ": on one side of every split that is drawn here")
    lines = [*_unreadable(read_provenance(files["index"])), _sizes(index), *told]
    lines += [] if stands else _of_groups(by, groups, index)
    parts = [np.array(splits, dtype=object)]
    if not stands:
        parts = parts_of(index["label"].to_numpy(), splits, bundles(len(index), pairs, groups), own=own)
    shared = tuple(twins.among(images_NHWC, index.assign(split=parts[0])))
    lines += [*_across(by, groups, parts[0]), *twins.lines(shared), *_how(parts, own)]
    counts = Counter(parts[0].tolist())
    written = () if stands else tuple(_write(root, index["key"], parts))
    return Parted(written, counts["train"], counts["val"], shared, tuple(lines))


def _check(look: Look, index: pd.DataFrame) -> None:
    """Whether what could be decoded is still enough."""
    if index["label"].nunique() < look.classes:
        lost = some(sorted(set(look.listing.classes) - set(index["class_name"])))
        raise ValueError(f"{look.path}: no image can be decoded of {lost}; replace them, or take the class out")
    if len(index) < LEAST:
        raise ValueError(f"{look.path}: {len(index)} images can be decoded; expected at least {LEAST}")


def _unreadable(note: Mapping) -> Iterator[str]:
    """The images that are left out because they cannot be decoded, the first ones by name."""
    skipped = note["skipped"]
    if count := skipped["count"]:
        named = "; ".join(f"{key}: {why}" for key, why in skipped["images"][:NAMED])
        images = "image is" if count == 1 else "images are"
        yield f"{count:,} {images} left out that cannot be decoded ({named}{'; ...' if count > NAMED else ''})"


def _sizes(index: pd.DataFrame) -> str:
    """How large the images are before they are resized, the middle one by its area."""
    areas = (index["width"] * index["height"]).to_numpy().argsort(kind="stable")
    sizes = [f"{w:,} × {h:,}" for w, h in index[["width", "height"]].to_numpy()[areas[[0, len(areas) // 2, -1]]]]
    if index[["width", "height"]].drop_duplicates().shape[0] == 1:
        return f"every image has {sizes[0]} pixels"
    smallest, middle, largest = sizes
    return f"images have from {smallest} to {largest} pixels, the middle one {middle}"


def _pairs(images_NHWC: np.ndarray, index: pd.DataFrame, kept: str) -> tuple[list[tuple[int, int]], list[str]]:
    """Places of images with the same pixels or the same picture, and a line about them; `kept` ends it."""
    exact, near = twins.within(images_NHWC, index)
    chain = Counter(bundles(len(index), [*exact, *near]).tolist()).most_common(1)[0][1]
    if near and chain > max(2, CHAIN * len(index)):
        line = f"{chain:,} pictures look alike one to the next: only those with the same pixels are kept together"
        return exact, [line, *_repeated(exact, [], kept)]
    return [*exact, *near], list(_repeated(exact, near, kept))


def _repeated(exact: Sequence[tuple[int, int]], near: Sequence[tuple[int, int]], kept: str) -> Iterator[str]:
    copies = len({later for _, later in exact})
    looks = len({later for _, later in near} - {later for _, later in exact})
    both = bool(copies and looks)
    counts = ((copies, "pixel by pixel"), (looks, "nearly"))
    kinds = [f"{count:,} {how}" if both else how for count, how in counts if count]
    if kinds:
        many = "repeats an earlier one" if copies + looks == 1 else "repeat an earlier one"
        yield f"{copies + looks:,} of the images {many} ({' and '.join(kinds)}){kept}"


def _of_groups(by: str, groups: Sequence[str], index: pd.DataFrame) -> Iterator[str]:
    if groups:
        yield f"{len(set(groups)):,} groups by {by}: each stays on one side of every split"
        if single := spanned(groups, index["class_name"].tolist()):
            yield f"classes in one group alone are trained on or tested, not both: {some(single)}"


def _across(by: str, groups: Sequence[str], part_N: np.ndarray) -> Iterator[str]:
    """Groups that the person's own splits divide."""
    parts: dict[str, set[str]] = {}
    for group, part_ in zip(groups, part_N.tolist(), strict=bool(groups)):
        parts.setdefault(group, set()).add(part_)
    if divided := sorted(group for group, of in parts.items() if len(of) > 1):
        yield f"{len(divided):,} groups by {by} are in several of your own splits ({some(divided)}): this flatters all"


def _how(parts: Sequence[np.ndarray], own: frozenset[str]) -> Iterator[str]:
    counts = Counter(parts[0].tolist())
    if len(parts) > 1:
        yield (
            f"under {FEW} images: {len(parts)} folds, and each image is tested once, by models that neither learned "
            f"from it nor were chosen by it"
        )
        return
    told = ", ".join(f"{counts[part_]:,} {part_}" for part_ in ("train", "val", "test"))
    yield f"{told}; test is opened once, at the end"


def _write(root: Path, keys: pd.Series, parts: Sequence[np.ndarray]) -> Iterator[str]:
    for number, part_N in enumerate(parts, start=1):
        file = root / "splits.csv" if len(parts) == 1 else root / "folds" / f"{number}.csv"
        file.parent.mkdir(parents=True, exist_ok=True)
        write_told(file, dict(zip(keys, part_N, strict=True)))
        yield str(file)
