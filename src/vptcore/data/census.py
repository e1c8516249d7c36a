"""What a reader of the results should know of a task's prepared images: counts, gaps, duplicates, what is left out.

In: the index rows of a preparation. Out: notes for the index's metadata, and the summary's line.

    python -m pytest tests/vptcore/data/test_arrays.py
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from vptcore.data.item import SPLITS
from vptcore.data.remedies import left_out_line
from vptcore.wording import plural

LISTED = 20  # duplicates, bad images and files left out that are named in the metadata
PAIRS = (("train", "train"), ("train", "val"), ("train", "test"), ("val", "test"))
TWELVE_BITS = (
    "16-bit files whose values are all below 4,096: 12-bit data, which is decoded nearly black; write the values 16 "
    "times as large"
)


def census(rows: list[dict], classes: int, max_pool: int, expected_test: int) -> dict:
    """Counts, absent classes, duplicates, and `test_expected`, the benchmark's test images where they are not here.

    `duplicates` counts the images of the second split whose pixels also occur in the first, or earlier in the same one;
    `duplicate_keys` names some, and `label_conflicts` counts those whose label differs.
    """
    by_split = {split: [row for row in rows if row["split"] == split] for split in SPLITS}
    labels = {split: {row["label"] for row in part} for split, part in by_split.items()}
    first = {split: {row["sha256"]: row for row in reversed(part)} for split, part in by_split.items()}
    twins = {f"{a}-{b}": list(_twins(first[a], by_split[b])) for a, b in PAIRS}
    return {
        "counts": {split: len(part) for split, part in by_split.items()},
        "absent_classes": {s: sorted(set(range(classes)) - found) for s, found in labels.items() if found},
        "duplicates": {pair: len(found) for pair, found in twins.items()},
        "duplicate_keys": {p: [[a["key"], b["key"]] for a, b in found[:LISTED]] for p, found in twins.items() if found},
        "label_conflicts": {p: sum(a["label"] != b["label"] for a, b in found) for p, found in twins.items()},
        "label_range": [min(row["label"] for row in rows), max(row["label"] for row in rows)] if rows else [],
        "capped": len(by_split["train"]) == max_pool,
        "test_expected": expected_test if expected_test and expected_test != len(by_split["test"]) else None,
    }


def _twins(first: Mapping[str, dict], rows: Iterable[dict]) -> Iterable[tuple[dict, dict]]:
    """(image of the first split, image) for each of `rows` with the pixels of another image there."""
    for row in rows:
        other = first.get(row["sha256"])
        if other is not None and other is not row:
            yield other, row


def of_source(left_out: Mapping[str, Sequence[str]], skipped: Mapping[str, str], remarks: Sequence[str]) -> dict:
    """What of a source is not among the rows: files by reason, bad images by key, and what else is worth knowing."""
    return {
        "left_out": {why: {"count": len(names), "names": list(names[:LISTED])} for why, names in left_out.items()},
        "skipped": {"count": len(skipped), "images": list(map(list, list(skipped.items())[:LISTED]))},
        "remarks": list(remarks),
    }


def of_bits(bits: Counter) -> tuple[str, ...]:
    """The remark on 16-bit images of which none uses more than 12 bits."""
    return (f"{bits[12]:,} {TWELVE_BITS}",) if bits[12] and not bits[16] else ()


def lines(notes: Mapping, left_out: Mapping[str, Sequence[str]]) -> list[str]:
    """The summary's parts on gaps, duplicates and what is left out."""
    parts = []
    if absent := {split: len(classes) for split, classes in notes["absent_classes"].items() if classes}:
        parts.append("absent classes: " + ", ".join(f"{n} in {split}" for split, n in absent.items()))
    for pair, count in notes["duplicates"].items():
        if count:
            parts.append(f"{plural(count, 'duplicate')} {'inside train' if pair == 'train-train' else pair}")
    if conflicts := sum(notes["label_conflicts"].values()):
        parts.append(f"{conflicts} of them with another label")
    if skipped := notes["skipped"]["count"]:
        named = ", ".join(key for key, _ in notes["skipped"]["images"][:3])
        parts.append(f"{plural(skipped, 'bad image')} skipped ({named}{', ...' if skipped > 3 else ''})")
    parts += [line for line in (left_out_line(left_out), *notes["remarks"]) if line]
    if notes["test_expected"]:
        parts.append(f"{notes['test_expected']:,} test images expected")
    return parts
