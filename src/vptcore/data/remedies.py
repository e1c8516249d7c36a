"""What is wrong with a person's images, or worth knowing, and what to do about it: one line each.

In: a `Listing` whose images are counted. Out: lines. A problem stops the preparation before anything is decoded; a
remark goes into its summary.

    python -m pytest tests/vptcore/data/test_listing.py
"""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from vptcore.data.item import HEIC_SUFFIXES, split_named
from vptcore.wording import are_verb, plural

if TYPE_CHECKING:
    from vptcore.data.listing import Listing
    from vptcore.data.walk import Tree

NAMED = 3  # names given of a longer list
# Suffixes of images that are not decoded here.
PICTURES = HEIC_SUFFIXES | {".tga", ".svg", ".psd", ".jxl", ".exr", ".dng", ".nef", ".cr2", ".arw", ".npy", ".dcm"}
HEIC_REMEDY = "pip install pillow-heif"
# ASCII's and the line and paragraph separators: a name with one of them would not stay on its line.
CONTROL = frozenset(map(chr, (*range(32), *range(127, 160), 0x2028, 0x2029)))
DRAWN_TEST = "a fifth of each class's train images is drawn for test"


def left_out_line(left_out: Mapping[str, Sequence[str]]) -> str:
    """'6 files left out: 4 .heic (cat/1.heic, ...; pip install pillow-heif), 2 .txt (a.txt, b.txt)'; '' for none."""
    total = sum(map(len, left_out.values()))
    parts = []
    for why, names in left_out.items():
        remedy = f"; {HEIC_REMEDY}" if why in HEIC_SUFFIXES else ""
        parts.append(f"{len(names):,} {why} ({some(names)}{remedy})")
    return f"{plural(total, 'file')} left out: {', '.join(parts)}" if total else ""


def left_out_images(left_out: Mapping[str, Sequence[str]]) -> str:
    """The images alone among the files left out, for captions: '4 image files are left out (4 .heic)'; '' for none."""
    counts = {why: len(names) for why, names in left_out.items() if why in PICTURES or why.startswith("images")}
    parts = ", ".join(f"{count:,} {why}" for why, count in counts.items())
    total = sum(counts.values())
    return f"{plural(total, 'image file')} {are_verb(total)} left out ({parts})" if counts else ""


def of_folders(listing: Listing, found: Tree, depth: int, top: int) -> tuple[str, ...]:
    """The problems of folders; `depth` folders are above a class folder, `top` above the whole set."""
    unreadable = [f"folder {name} cannot be read ({why})" for name, why in found.unreadable]
    if listing.images:
        return (*unreadable, *_unlabelled(listing, top), *_empty(listing, found, depth))
    loose = sum(len(names) for why, names in listing.left_out.items() if why.startswith("images"))
    if not loose:
        return (*unreadable, "no images in it")
    into = "move the images of each class into a folder of its name, or list them in a csv (source: csv)"
    return (*unreadable, f"{plural(loose, 'image')} and no class folders, so they have no labels; {into}")


def _unlabelled(listing: Listing, top: int) -> list[str]:
    """Split folders with images and no class folders, such as a competition's test set."""
    tops = Counter(
        name.split("/")[top]
        for why, names in listing.left_out.items() if why.startswith("images")
        for name in names if name.count("/") == top + 1
    )  # fmt: skip
    return [
        f"{folder} has {plural(count, 'image')} and no class folders, so they have no labels; sort them into class "
        f"folders, or move {folder} away" + (f": {DRAWN_TEST}" if split == "test" else "")
        for folder, count in tops.items()
        if listing.splits and (split := split_named(folder)) and split not in listing.splits
    ]


def _empty(listing: Listing, found: Tree, depth: int) -> list[str]:
    """Class folders without one image, where images are trained on."""
    beside = {image.name.split("/")[0] for image in listing.images if image.split != "test" and image.split != "val"}
    filled = {"/".join(image.name.split("/")[: depth + 1]) for image in listing.images}
    filled |= {name for name, _ in found.unreadable}
    lines = []
    for folder in found.folders:
        is_class = folder.count("/") == depth and (depth == 0 or folder.split("/")[0] in beside)
        if is_class and folder not in filled:
            inside = Counter(os.path.splitext(f)[1].lower() for f in found.files if f.startswith(f"{folder}/"))
            has = ", ".join(f"{count:,} {suffix or 'without a suffix'}" for suffix, count in inside.items())
            remedy = HEIC_REMEDY if HEIC_SUFFIXES & set(inside) else "add images or remove the folder"
            lines.append(f"class folder {folder} has no image{f' (it has {has})' if has else ''}; {remedy}")
    return lines


def of_images(listing: Listing) -> tuple[str, ...]:
    """The problems that images from any source can have."""
    lines = []
    if len(listing.classes) == 1:
        lines.append(f"one class alone ({listing.classes[0]}); expected at least two")
    alike = defaultdict(list)
    for name in listing.classes:
        alike[name.strip().casefold()].append(name)
    lines += [
        f"classes {' and '.join(map(repr, names))} differ in case or blanks alone; give them one name or two"
        for names in alike.values() if len(names) > 1
    ]  # fmt: skip
    if listing.splits and "train" not in listing.splits:
        lines.append(f"no train images; found {', '.join(listing.splits)}")
    if odd := [image.name for image in listing.images if not _is_utf8(image.name)]:
        shown = some([os.fsencode(name).decode("latin-1") for name in odd])
        lines.append(
            f"{plural(len(odd), 'file name')} not in UTF-8 (as Latin-1: {shown}); rename them, for example with "
            "convmv -f latin1 -t utf-8 -r --notest"
        )
    names = [*(image.name for image in listing.images), *listing.classes]
    if broken := [repr(name) for name in dict.fromkeys(names) if not CONTROL.isdisjoint(name)]:
        lines.append(
            f"line breaks or other control characters in {plural(len(broken), 'file or class name')} ({some(broken)}); "
            "rename them"
        )
    return tuple(lines)


def remarks(listing: Listing) -> tuple[str, ...]:
    lines = []
    if single := [name for name in listing.classes if listing.of_class(name) == 1]:
        where = "stands in one split alone" if listing.splits else "is trained on, never tested"
        lines.append(
            f"{plural(len(single), 'class', 'classes')} of one image ({some(single)}) that {where}; add images"
        )
    if listing.splits and "test" not in listing.splits:
        lines.append(f"no test split: {DRAWN_TEST}; name a folder or split test to choose it yourself")
    return tuple(lines)


def stop_for(listing: Listing) -> None:
    """Raise ValueError (one line) with all of a listing's problems."""
    if listing.problems:
        raise ValueError(f"{listing.where}: {'; '.join(listing.problems)}")


def some(names: Sequence[str]) -> str:
    return ", ".join(names[:NAMED]) + (", ..." if len(names) > NAMED else "")


def first(problems: Sequence[str]) -> list[str]:
    """The first of many problems of one kind, and how many more there are."""
    more = len(problems) - NAMED
    return [*problems[:NAMED], f"{more:,} more rows like these"] if more > 0 else list(problems)


def _is_utf8(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
