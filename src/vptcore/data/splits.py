"""Which images a train size uses: the VTAB-1k split, seeded subsets of other sizes, one image per class, or all.

In: a job (task, train, seed, classes, version) and the task's index. Out: rows of kind `splits`, part train, val,
final or test, and notes: what had to be substituted, which classes are absent.

    python -m pytest tests/vptcore/data/test_splits.py
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd

from vptcore import records
from vptcore.choices import choose_one
from vptcore.data.item import spread
from vptcore.data.one_shot import SELECTIONS, drawn, of_pick
from vptcore.data.sources import READERS
from vptcore.data.tasks import VTAB
from vptcore.data.told import as_told, noted
from vptcore.jobs.provenance import provenance

VTAB_TRAIN, VTAB_VAL = 800, 200
ONE_SHOT, WHOLE_TRAIN = "one_shot", "train"
VAL_PART = 10  # one in ten of the whole train split, where the source has no val
VTAB_IDS = frozenset(task.id for task in VTAB)


def split(
    job: dict, index: pd.DataFrame, images: np.ndarray | None = None, substitutes: Iterable[str] = ()
) -> tuple[pd.DataFrame, dict]:
    """The rows (part, row) of a train size, each part in its own order, and notes on them.

    Parts are train, val and test, and for the authors' one-shot finals, which draw anew, final. Further one-shot picks
    (`job["picks"]`) are train_2, train_3, ..., or final_2, ...

    `job["train"]` is a number of train images, 'one_shot' or 'train'. `job["told"]` names a file whose splits stand in
    the place of the index's (`told`). `images` is the task's array, for one-shot rules
    that look at it; `substitutes` are those of the source, to which this split's are added. Raises ValueError with the
    counts if there are too few images.
    """
    task, train, substitutes = job["task"], str(job["train"]), list(substitutes)
    if job.get("told"):
        index, substitutes = as_told(index, job["told"]), noted(substitutes, job["told"])
    rows = {name: index.loc[index["split"] == name, "row"].to_numpy() for name in ("train", "val", "test")}
    if not len(rows["test"]):
        raise ValueError(f"{task}: no test images; the index has {_counts(rows)}")
    own = _own(index)
    if train == str(VTAB_TRAIN) and task in VTAB_IDS:
        rows = _in_order(job, own, rows, substitutes)
        chosen = _vtab(task, rows, substitutes)
    elif train == ONE_SHOT:
        chosen = _one_shot(job, _one_shot_pools(job, rows, substitutes, own), index.set_index("row")["label"], images)
    elif train == WHOLE_TRAIN:
        chosen = _whole_train(job, rows, substitutes, own)
    elif train.isdigit() and int(train) >= 4:
        chosen = _sized(job, rows, int(train), own)
    else:
        known = f"a number of images from 4 on (a quarter as many are val), {ONE_SHOT!r} or {WHOLE_TRAIN!r}"
        raise ValueError(f"{task}: train size {train!r} is unknown; expected {known}")
    named = chosen if isinstance(chosen, dict) else dict(zip(("train", "val"), chosen, strict=True))
    parts = named | {"test": rows["test"]}
    frames = [pd.DataFrame({"part": part, "row": picked}) for part, picked in parts.items()]
    notes = {"substitutes": substitutes, "absent_classes": _absent(job, index, parts)}
    return pd.concat(frames, ignore_index=True), notes


def run(job: dict, index_path: Path | str, out_path: Path | str, images_path: Path | str | None = None) -> str:
    """`split` from the index file to a rows file; return a summary of one line."""
    started = time.time()
    images = np.load(images_path, mmap_mode="r") if images_path else None
    of_source = records.read_provenance(index_path).get("substitutes", ())
    frame, notes = split(job, records.read_rows(index_path, "index"), images, of_source)
    told = {"told": job["told"]} if job.get("told") else {}
    inputs = {"index": index_path} | ({"images": images_path} if images_path else {}) | told
    note = provenance(job, inputs, started=started, **notes)
    records.write_rows(out_path, "splits", frame, note)
    counts = frame["part"].value_counts()
    line = ", ".join(f"{counts.get(part, 0):,} {part}" for part in notes["absent_classes"])
    absent = [
        f"{part} lacks {len(labels)} of {job['classes']} classes"
        for part, labels in notes["absent_classes"].items()
        if labels
    ]
    return "; ".join([line, *notes["substitutes"], *absent])


def _own(index: pd.DataFrame) -> pd.DataFrame | None:
    """The source, label and key of each row of a person's own images; None for a benchmark's."""
    source = index["source"].iloc[0]
    return index.set_index("row")[["source", "label", "key"]] if source in READERS and READERS[source].own else None


def pool_order(job: dict, rows: dict[str, np.ndarray], own: pd.DataFrame | None = None) -> np.ndarray:
    """The train and val rows in the seeded order that sizes and one-shot picks are taken from."""
    return _shuffled(job, np.concatenate([rows["train"], rows["val"]]), own)


def _shuffled(job: dict, rows: np.ndarray, own: pd.DataFrame | None = None) -> np.ndarray:
    """A seeded order: of a person's own images by their names and every class alike, so that one more moves few."""
    if own is None:
        return np.random.default_rng(job["seed"]).permutation(np.sort(rows))
    picked = own.loc[np.sort(rows)]
    return picked.index.to_numpy()[spread(picked["label"], job["seed"], picked["key"])]


def _in_order(job: dict, own: pd.DataFrame | None, rows: dict[str, np.ndarray], substitutes: list[str]) -> dict:
    """The rows of a benchmark's source as they are; those of a person's own in a seeded order, every class alike.

    A folder's first 800 images would be those of its first classes.
    """
    if own is None:
        return rows
    source = own["source"].iloc[0]
    substitutes.append(f"train800 and val200 are drawn, every class alike: source {source} lacks the benchmark's order")
    return {part: picked if part == "test" else _shuffled(job, picked, own) for part, picked in rows.items()}


def _vtab(task: str, rows: dict[str, np.ndarray], substitutes: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """train800 and val200: the first rows of the source's splits, in its own order, without stratification."""
    train, val = rows["train"], rows["val"]
    if not len(val):
        val = train[VTAB_TRAIN : VTAB_TRAIN + VTAB_VAL]
        substitutes.append(f"val200 is train[{VTAB_TRAIN}:{VTAB_TRAIN + VTAB_VAL}]: the source has no val images")
    if len(train) < VTAB_TRAIN or len(val) < VTAB_VAL:
        wanted = f"{VTAB_TRAIN} train and {VTAB_VAL} val"
        raise ValueError(f"{task}: too few images for {wanted}; the index has {_counts(rows)}")
    return train[:VTAB_TRAIN], val[:VTAB_VAL]


def _sized(
    job: dict, rows: dict[str, np.ndarray], train: int, own: pd.DataFrame | None
) -> tuple[np.ndarray, np.ndarray]:
    """4:1 train to val (paper §4.4). Train grows from a permutation's front, val from its back: sizes are nested."""
    order, val = pool_order(job, rows, own), train // 4
    if train + val > len(order):
        needs = f"{train:,} train and {val:,} val images need a pool of {train + val:,}"
        raise ValueError(f"{job['task']}: {needs}; the index has {_counts(rows)}; choose a smaller size")
    return order[:train], order[len(order) - val :]


def _one_shot_pools(
    job: dict, rows: dict[str, np.ndarray], substitutes: list[str], own: pd.DataFrame | None
) -> list[np.ndarray]:
    """What one-shot images are picked from, in a seeded order: one pool for train and val, or one for each.

    `pool: vtab1k` gives train800 and val200, as the authors' loader samples within the split that it has read
    (VPT-or-FT src/data/datasets/tf_dataset.py:101-140): a class that these lack is not trained.
    """
    if not len(rows["train"]) + len(rows["val"]):
        raise ValueError(f"{job['task']}: no image to pick for any class; the index has {_counts(rows)}")
    if job.get("pool") != "vtab1k" or job["task"] not in VTAB_IDS:
        return [pool_order(job, rows, own)]
    return [_shuffled(job, part, own) for part in _vtab(job["task"], rows, substitutes)]


def _one_shot(
    job: dict, pools: list[np.ndarray], labels: pd.Series, images: np.ndarray | None
) -> dict[str, np.ndarray]:
    """One image per class for train and another for val, in the order of the classes (paper Appendix G.4).

    With `final: two_per_class`, as in the authors' code, also two a class for the finals, drawn anew from all pools.
    What finals train on is picked `picks` times.
    """
    rule = SELECTIONS[choose_one("one_shot.selection", job.get("selection", "random"), SELECTIONS)]
    picks, again = job.get("picks", 1), job.get("final") == "two_per_class"
    train, val, *more = rule(labels.loc[pools[0]], images, job["seed"], 1 if again else picks)
    if len(pools) > 1:
        val = rule(labels.loc[pools[1]], images, job["seed"], 1)[0]
    finals = {}
    if again:
        orders = [_shuffled(job | {"seed": _pick_seed(job, pick)}, np.concatenate(pools)) for pick in range(picks)]
        finals = {of_pick("final", n): np.concatenate(drawn(labels.loc[o], images, 0)) for n, o in enumerate(orders)}
    return {"train": train, "val": val} | {of_pick("train", n): rows for n, rows in enumerate(more, 1)} | finals


def _pick_seed(job: dict, pick: int) -> list[int]:
    return [job["seed"], 1, pick] if pick else [job["seed"], 1]


def _whole_train(
    job: dict, rows: dict[str, np.ndarray], substitutes: list[str], own: pd.DataFrame | None
) -> tuple[np.ndarray, np.ndarray]:
    train, val = rows["train"], rows["val"]
    if len(train) and not len(val):
        order, held = _shuffled(job, train, own), held_out(len(train))
        train, val = np.sort(order[held:]), np.sort(order[:held])
        substitutes.append(f"val is {held:,} train images drawn at random: the source has no val images")
    if not len(train) or not len(val):
        raise ValueError(f"{job['task']}: too few images to train on all; the index has {_counts(rows)}")
    return train, val


def held_out(train: int) -> int:
    """How many of a whole train split are val where the source has none: rounded up, as in VPT's lists of FGVC."""
    return -(-train // VAL_PART)


def _absent(job: dict, index: pd.DataFrame, parts: dict[str, np.ndarray]) -> dict[str, list[int]]:
    labels = index.set_index("row")["label"]
    return {part: sorted(set(range(job["classes"])) - set(labels.loc[rows].tolist())) for part, rows in parts.items()}


def _counts(rows: dict[str, np.ndarray]) -> str:
    return ", ".join(f"{len(picked):,} {name}" for name, picked in rows.items())
