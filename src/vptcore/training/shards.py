"""Putting a cell together whose grid, or whose seeds, ran as several jobs: the rows are those of one job, exactly.

In: a cell's job slice, its inputs with the shards' rows, and its outputs. Out: the files that an unsplit job writes. A
shard has every n-th configuration of the grid, or every n-th seed; each is trained on its own, so nothing is trained
here, and torch is not imported.

    python -m pytest tests/vptcore/training/test_shards.py
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from vptcore.jobs.provenance import provenance
from vptcore.records import KINDS, read_provenance, read_rows, replacing, write_rows
from vptcore.training.choose import choose
from vptcore.wording import plural


def search(job: Mapping, inputs: Mapping[str, object], outputs: Mapping[str, str], say=print) -> str:
    """One cell's search from its shards. Returns one line."""
    frames = [read_rows(path, "search", KINDS["search"].names) for path in inputs["shards"]]
    rows = _in_order(frames, "config", range(sum(map(len, frames))))
    best = choose(rows)
    if "best" in outputs:
        shard = next(
            path for path, frame in zip(inputs["shards"], frames, strict=True) if best["config"] in set(frame["config"])
        )
        _link(Path(shard).with_name("best.safetensors"), outputs["best"])
    write_rows(outputs["rows"], "search", rows, _note(job, inputs))
    found = f"best lr {best['lr']:g} with val {best['val_accuracy']:.1%}"
    return f"{plural(len(rows), 'configuration')} of {plural(len(frames), 'job')}, {found}"


def final(job: Mapping, inputs: Mapping[str, object], outputs: Mapping[str, object], say=print) -> str:
    """One cell's finals, curves and predictions from its shards. Returns one line."""
    note = _note(job, inputs)
    for kind in ("predictions", "curves", "final"):
        name = "rows" if kind == "final" else kind
        frames = [read_rows(Path(shard).with_name(f"{name}.parquet"), kind) for shard in inputs["shards"]]
        rows = _in_order(frames, "seed", job["seeds"])
        write_rows(outputs[name], kind, rows, note)
    for path in outputs.get("models") or []:
        names = [Path(shard).parent / "models" / Path(path).name for shard in inputs["shards"]]
        _link(next(name for name in names if name.exists()), path)
    accuracy = rows["test_accuracy"] * 100
    counts = f"{plural(len(rows), 'seed')} of {plural(len(frames), 'job')}"
    return f"{counts}, test {accuracy.mean():.1f} ± {accuracy.std():.1f} %"


def _in_order(frames: list[pd.DataFrame], by: str, wanted) -> pd.DataFrame:
    """The shards' rows, grouped by configuration or seed in the order of an unsplit job. None missing, none twice."""
    found = [int(value) for frame in frames for value in frame[by].unique()]
    if sorted(found) != sorted(wanted):
        raise ValueError(
            f"shards: they hold {by} {sorted(found)}, expected {sorted(wanted)}; remove them and run again"
        )
    whole = pd.concat([frame.drop(columns=["shard", *_HIVE], errors="ignore") for frame in frames], ignore_index=True)
    place = {value: position for position, value in enumerate(wanted)}
    return whole.iloc[whole[by].map(place).argsort(kind="stable")].reset_index(drop=True)


_HIVE = ["backbone", "method", "task", "train"]
_HOW = ("compiled", "captured")


def _note(job: Mapping, inputs: Mapping[str, object]) -> dict:
    """The provenance of the cell, and what is its shards' own: where and when each ran."""
    files = {name: path for name, path in inputs.items() if isinstance(path, str)}
    files |= {f"base{i}": path for i, path in enumerate(inputs.get("bases") or [])}
    notes = [read_provenance(path) for path in inputs["shards"]]
    own = ("host", "node", "slurm_job", "gpu", "device", "started", "duration", *_HOW)
    return provenance(job, files) | {
        "device": ", ".join(sorted({note["device"] for note in notes})),
        "started": min(note["started"] for note in notes),
        "duration": round(sum(note["duration"] for note in notes), 3),
        **{key: ", ".join(sorted({note[key] for note in notes if key in note})) for key in _HOW},
        "shards": [{key: note[key] for key in own if key in note} for note in notes],
    }


def _link(source: Path, target: str) -> None:
    """A second name for the same bytes, or a copy where the file system knows no links."""
    with replacing(target) as beside:
        try:
            os.link(source, beside)
        except OSError:
            shutil.copyfile(source, beside)
