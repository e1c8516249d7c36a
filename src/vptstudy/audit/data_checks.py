"""Checks of what training reads: arrays, index, splits, Fréchet distances; and of the Grad-CAM rows.

In: a `View` and a job. Out: pairs of a file's name and a finding. Splits are drawn again and must be the same; the
array's images are hashed again and must be those of the index.

    python -m pytest tests/workflow/test_audit.py
"""

from __future__ import annotations

import hashlib
import io
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from vptcore.analysis import examples
from vptcore.analysis.reference import reference_hash
from vptcore.data import arrays, splits
from vptcore.data.item import SPLITS
from vptcore.records import file_sha256, read_rows
from vptstudy.audit.context import Found, View, only
from vptstudy.audit.findings import Finding, remark
from vptstudy.audit.store import BIG
from vptstudy.graph.jobs import Job

SAMPLE = 256
FEW = 500_000


def check_prepare(view: View, job: Job) -> Iterator[Found]:
    images, index = only(job, "images"), only(job, "index")
    if view.exists(index):
        yield from ((index, finding) for finding in _index(view, job, index))
        if not view.synthetic:
            yield from ((index, finding) for finding in _source(view, job, index))
    if view.exists(images):
        yield from ((images, finding) for finding in _array(view, images, index))


def _index(view: View, job: Job, name: str) -> Iterator[Finding]:
    rows, note, classes = view.rows(name, "index"), view.note(name, "index"), job.slice["classes"]
    label, split = rows["label"], rows["split"]
    if not len(label):
        yield Finding("complete", "no images")
        return
    if not np.array_equal(rows["row"], np.arange(len(label))):
        yield Finding("complete", "rows are not numbered 0, 1, 2, … in the order of the array")
    if strange := sorted(set(split.tolist()) - set(SPLITS)):
        yield Finding("plausible", f"split {strange[0]!r} is none of {', '.join(SPLITS)}")
    if label.min() < 0 or label.max() >= classes:
        yield Finding("plausible", f"label {label.max()} in a task of {classes} classes")
    if len(set(zip(label.tolist(), rows["class_name"].tolist(), strict=True))) != len(set(label.tolist())):
        yield Finding("plausible", "a label has two class names")
    counts = {part: int((split == part).sum()) for part in SPLITS}
    if note.get("counts") not in (None, counts):
        yield Finding("plausible", f"{counts}, but its metadata counts {note['counts']}")
    if note.get("test_expected"):
        yield remark("complete", f"{counts['test']:,} test images; the benchmark has {note['test_expected']:,}")


def _source(view: View, job: Job, name: str) -> Iterator[Finding]:
    """The images that it was decoded from, as they are there today: their signature is held in `check_config`."""
    path, place = job.slice["path"], view.study.source_place(job.of["task"])[0]
    if path and not place:
        yield remark("inputs", f"{path} is no longer there")
        return
    entry = view.note(name, "index").get("inputs", {}).get("source")
    is_read = entry and os.path.isfile(place) and (view.deep or os.stat(place).st_size <= BIG)
    if is_read and file_sha256(place) != entry["sha256"]:
        yield Finding("inputs", f"{place} has changed since it was read")
    if view.deep:
        yield from _decoded_again(view, job, name)


def _decoded_again(view: View, job: Job, name: str) -> Iterator[Finding]:
    with tempfile.TemporaryDirectory() as folder:
        again = Path(folder) / "rows.parquet"
        try:
            arrays.prepare(job.slice, Path(folder) / "images.npy", again)
        except (ValueError, OSError) as error:
            yield Finding("inputs", f"its source cannot be decoded again: {error}")
            return
        fresh, rows = read_rows(again, "index"), view.rows(name, "index")
        if any(not np.array_equal(fresh[column].to_numpy(), rows[column]) for column in ("key", "label", "sha256")):
            yield Finding("inputs", "decoded again from its source, the images are others")


def _array(view: View, name: str, index: str) -> Iterator[Finding]:
    path = view.path(name)
    try:
        stored = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        yield Finding("readable", f"not a readable array ({str(error).splitlines()[0][:120]})")
        return
    if stored.dtype != np.uint8 or stored.ndim != 4 or stored.shape[-1] not in (1, 3):
        yield Finding("schema", f"{stored.dtype} {stored.shape}; expected uint8 images (N, H, W, 1 or 3)")
        return
    rows = view.rows_if(index, "index")
    if rows is None:
        return
    if len(stored) != len(rows["row"]):
        yield Finding("complete", f"{len(stored):,} images, but the index has {len(rows['row']):,} rows")
        return
    chosen = np.arange(len(stored))
    if stored.nbytes > BIG and not view.deep and view.store.is_untouched(name):
        chosen = np.unique(np.linspace(0, len(stored) - 1, SAMPLE).astype(int))
    hashes = rows["sha256"]
    changed = [row for row in chosen if hashlib.sha256(stored[row].tobytes()).hexdigest() != hashes[row]]
    if changed:
        more = f" and {len(changed) - 1:,} more" if len(changed) > 1 else ""
        yield Finding("plausible", f"image {changed[0]}{more}: the pixels are not those of the index's hash")


def check_split(view: View, job: Job) -> Iterator[Found]:
    name, (index,) = only(job, "rows"), job.inputs["index"]
    rows, source = view.rows(name, "splits"), view.rows_if(index, "index")
    # One-shot finals may draw anew from what train and val were picked from; no part shares with test.
    others = sorted(set(rows["part"].tolist()) - {"train", "val", "test"})
    for together in (("train", "val", "test"), *((part, "test") for part in others)):
        used = rows["row"][np.isin(rows["part"], together)]
        if len(np.unique(used)) != len(used):
            yield name, Finding("complete", "an image is used twice, or by two of train, val and test")
            break
    if source is None or view.synthetic:
        return
    try:
        looked_at = [np.load(view.path(images), mmap_mode="r") for images in job.inputs.get("images", ())]
        told = {"told": view.store.base / job.slice["told"]} if job.slice.get("told") else {}
        again, _ = splits.split(job.slice | told, _drawn_from(source), *looked_at)
    except (ValueError, KeyError, OSError) as error:
        yield name, Finding("plausible", f"cannot be drawn again from the index: {' '.join(str(error).split())}")
        return
    if not all(np.array_equal(rows[key], again[key].to_numpy(rows[key].dtype)) for key in ("part", "row")):
        test = int((rows["part"] == "test").sum()), int((again["part"] == "test").sum())
        counts = f": {test[0]:,} test images, the index has {test[1]:,}" if test[0] != test[1] else ""
        yield name, Finding("plausible", f"not the rows that its seed draws from the index{counts}")


def _drawn_from(index: dict[str, np.ndarray]) -> pd.DataFrame:
    """The columns that a split is drawn from; texts stay Python's, since turning them into pandas' own takes longer."""
    columns = ("row", "split", "label", "source", "key")
    return pd.DataFrame({name: pd.Series(index[name], dtype=index[name].dtype) for name in columns})


def check_fid(view: View, job: Job) -> Iterator[Found]:
    name = only(job, "rows")
    rows = view.rows(name, "fid")
    if len(rows["fid"]) != 1:
        yield name, Finding("complete", f"{len(rows['fid'])} rows; expected one")
        return
    value, low, high = (float(rows[key][0]) for key in ("fid", "fid_low", "fid_high"))
    # A distance of few images may come out a little below 0 by rounding.
    if not np.isfinite(value) or value < -1e-3:
        yield name, Finding("plausible", f"a Fréchet distance of {value}")
    if np.isfinite(low) and not low <= value <= high:
        yield name, Finding("plausible", f"{value:.2f} lies outside its own interval, {low:.2f} to {high:.2f}")
    yield from ((name, finding) for finding in _distance_again(view, job, rows, value))
    if view.synthetic:
        return
    reference = reference_hash(_statistics(view, job))
    if reference is not None and reference != rows["reference_sha256"][0]:
        yield name, Finding("inputs", f"{rows['reference'][0]} is another reference than it was")


def _statistics(view: View, job: Job) -> str:
    """Where a distance's reference is: what this study made of images, or the statistics that the config names."""
    return str(view.path(job.inputs["reference"][0])) if "reference" in job.inputs else job.slice["reference"]


def _distance_again(view: View, job: Job, rows: dict[str, np.ndarray], value: float) -> Iterator[Finding]:
    """The distance from the stored features; of many dimensions only for `--deep`, since it takes seconds."""
    from vptcore.analysis import fid, frechet

    (features,) = job.inputs["features"]
    if not view.exists(features):
        return
    try:
        features_ND, note = fid.read_features(view.path(features))
        if rows["images"][0] != len(features_ND):
            yield Finding("plausible", f"made of {rows['images'][0]} images; there are features of {len(features_ND)}")
        elif view.deep or features_ND.size <= FEW:
            found = fid.read_reference(_statistics(view, job), note["network"], features_ND.shape[1], note["resize"])
            again = frechet.Comparison(features_ND, found.reference).distance()
            if not np.isclose(again, value, rtol=1e-6, atol=1e-6):
                yield Finding("plausible", f"{value:.4f}, but its features give {again:.4f}")
    except (ValueError, OSError, KeyError):
        return  # reported with the features, or with the reference


def check_explain(view: View, job: Job) -> Iterator[Found]:
    name, rows = only(job, "rows"), view.rows(only(job, "rows"), "explain")
    keys = list(zip(rows["pick"].tolist(), rows["method"].tolist(), strict=True))
    picks = sorted(set(rows["pick"].tolist()))
    if sorted(keys) != sorted((pick, method) for pick in range(len(picks)) for method in ("full", "vpt")):
        yield name, Finding("complete", "not one map of each method for every image")
    for case in set(rows["case"].tolist()):
        count = int((rows["case"] == case).sum()) // 2
        if case not in ("vpt_only", "full_only") or count > job.slice["images"]:
            yield name, Finding("complete", f"{count} images of case {case!r}; asked for {job.slice['images']}")
    for place, values in enumerate(rows["map"]):
        fits = len(values) == rows["grid_h"][place] * rows["grid_w"][place]
        if not fits or not np.isfinite(values).all() or values.min() < 0 or values.max() > 1 + 1e-6:
            yield name, Finding("plausible", f"map {place} is not {rows['grid_h'][place]} x "
                                f"{rows['grid_w'][place]} values in [0, 1]")  # fmt: skip
            break
    for place, data in enumerate(rows["image_png"]):
        try:
            Image.open(io.BytesIO(data)).load()
        except (OSError, ValueError, SyntaxError):
            yield name, Finding("readable", f"image {place} is not a readable PNG")
            break
    yield from ((name, finding) for finding in _explained(view, job, rows))


def check_examples(view: View, job: Job) -> Iterator[Found]:
    """Picked again from the index, and drawn again from the array."""
    name, rows = only(job, "rows"), view.rows(only(job, "rows"), "examples")
    (images,), (index,) = job.inputs["images"], job.inputs["index"]
    source = view.rows_if(index, "index")
    if source is None or not view.exists(images):
        return
    picked = examples.pick(pd.DataFrame(source), job.slice["images"])
    if any(picked[key].tolist() != rows[key].tolist() for key in ("row", "label", "class_name")):
        yield name, Finding("plausible", "not the images that the index gives")
        return
    try:
        stored = np.load(view.path(images), mmap_mode="r", allow_pickle=False)
        drawn = [np.asarray(Image.open(io.BytesIO(data))) for data in rows["image_png"]]
    except (ValueError, OSError, EOFError, SyntaxError):
        yield name, Finding("readable", "an image, or the array that it is of, cannot be read")
        return
    pairs = zip(drawn, rows["row"], strict=True)
    if not all(np.array_equal(pixels.reshape(stored[row].shape), stored[row]) for pixels, row in pairs):
        yield name, Finding("plausible", "its images are not those of the array")


def _explained(view: View, job: Job, rows: dict[str, np.ndarray]) -> Iterator[Finding]:
    """Label, prediction, confidence and case against the stored predictions of the seed."""
    for method in ("full", "vpt"):
        stored = view.rows_if(job.inputs[f"predictions_{method}"][0], "predictions")
        if stored is None:
            return
        mine = stored["seed"] == job.slice["seed"]
        by_row = {int(r): place for place, r in zip(np.flatnonzero(mine), stored["row"][mine], strict=True)}
        for place in np.flatnonzero(rows["method"] == method):
            at = by_row.get(int(rows["row"][place]))
            same = at is not None and all(rows[key][place] == stored[key][at] for key in _PREDICTED)
            hit = rows["prediction"][place] == rows["label"][place]
            if not same or hit != (rows["case"][place] == f"{method}_only"):
                yield Finding("plausible", f"image {rows['row'][place]}: not what {method}'s stored predictions say")
                return


_PREDICTED = ("label", "prediction", "confidence")
