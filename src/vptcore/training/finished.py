"""What a cell has finished already: seeds and configurations of its last run that today's job would train alike.

In: a job's slice, its inputs, and the files that an earlier run of the cell left in the places of its outputs. Out: the
seeds or configurations that need no training, as the work folder keeps them. So a seed that is added, or a learning
rate that is, costs itself alone. Only files that are still those of their record in the manifest are taken.

    python -m pytest tests/vptcore/training/test_finished.py
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from vptcore.jobs.manifest import SHARDS, identity, recorded
from vptcore.jobs.meaning import meaning
from vptcore.records import KINDS, read_provenance, read_rows
from vptcore.training.choose import ranked
from vptcore.training.recipe import Recipe
from vptcore.training.trials import Trial

# What a job may be asked otherwise without another number for what it has in common with the one before.
MANY = {
    "final": ("seeds", "picks", "curve_seeds", "curve_images"),
    "search": ("grid", "extend", "ties", "racing", "shard"),
}
SETTINGS = ("optimizer", "lr", "weight_decay", "batch", "epochs")
HOW = ("compiled", "captured")  # how the runs were computed: in a file's metadata, not in its rows
HIVE = ("backbone", "method", "task", "train")


def of_cell(outputs: Mapping[str, object]) -> Mapping[str, object]:
    """Where the whole cell's files lie, for a job that makes a shard of them; else the outputs themselves."""
    root, shards, place = str(outputs["rows"]).rpartition(f"/{SHARDS}/")
    if not shards:
        return outputs
    kind, *cell, _, _ = place.split("/")
    models = Path(root, "models", *cell)
    found = {
        name: str(Path(root, kind if name == "rows" else name, *cell, "rows.parquet"))
        for name in ("rows", "curves", "predictions")
    }
    kept = [str(models / Path(path).name) for path in outputs.get("models") or []]
    return found | {"models": kept, "best": str(models / "search.safetensors")}


def search_rows(
    job: Mapping, inputs: Mapping[str, str], path: str, trials: Iterable[Trial]
) -> tuple[dict[Trial, dict], Trial | None]:
    """Trial of today -> its row, where the rows at `path` hold it; and which of them was the best there."""
    rows = _rows_of(job, inputs, path, "search")
    old = {_settings(row): row for row in rows}
    order = ranked(pd.DataFrame(rows)) if rows else ()
    best = _settings(order.iloc[0]) if len(order) else None
    todays = {trial: tuple(getattr(trial.recipe, name) for name in SETTINGS) for trial in trials}
    found = {trial: old[settings] | {"config": trial.config} for trial, settings in todays.items() if settings in old}
    return found, next((trial for trial in found if todays[trial] == best), None)


def final_seeds(
    job: Mapping, inputs: Mapping[str, object], outputs: Mapping[str, object], recipe: Recipe, config: int
) -> dict[int, tuple[dict, list[dict], np.ndarray]]:
    """Seed -> its final row, its curve and its predictions (N, 4: label, prediction, confidence, loss).

    A seed whose test curve or tuned model is asked for, and was not kept or is of other images, is trained again.
    """
    outputs = of_cell(outputs)
    old = {row["seed"]: row for row in _rows_of(job, inputs, str(outputs["rows"]), "final")}
    if not old or not all(recorded(str(outputs[name])) for name in ("curves", "predictions")):
        return {}
    curves, predictions = (read_rows(outputs[name], name) for name in ("curves", "predictions"))
    note = read_provenance(outputs["rows"])
    started_from = _same_bases(job, inputs, note) & _same_picks(job, note["job"])
    as_many = note["job"]["curve_images"] == job["curve_images"]
    models = {Path(path).name: recorded(path) for path in outputs.get("models") or []}
    found = {}
    for position, seed in enumerate(job["seeds"]):
        if seed not in old or seed not in started_from or not models.get(f"seed={seed}.safetensors", True):
            continue
        curve, watched = curves[curves["seed"] == seed], position < job["curve_seeds"]
        is_right = _settings(old[seed]) == tuple(getattr(recipe, name) for name in SETTINGS)
        if is_right and not (watched and (curve["test_loss"].isna().all() or not as_many)):
            mine = predictions.loc[predictions["seed"] == seed, ["label", "prediction", "confidence", "loss"]]
            found[seed] = (
                old[seed] | {"config": config},
                _curve(curve, watched=watched),
                np.ascontiguousarray(mine.to_numpy(np.float64)),
            )
    return found


def _same_bases(job: Mapping, inputs: Mapping[str, object], note: Mapping) -> set[int]:
    """The seeds that start from the same tuned model as before, or from none."""
    bases = inputs.get("bases")
    if not bases:
        return set(job["seeds"])
    then = {seed: note["inputs"].get(f"base{i}", {}).get("sha256") for i, seed in enumerate(note["job"]["seeds"])}
    return {seed for seed, base in zip(job["seeds"], bases, strict=True) if then.get(seed) == identity(base)}


def _same_picks(job: Mapping, then: Mapping) -> set[int]:
    """The seeds that train on the same pick of one-shot images as before, or on a set that is not picked."""
    before, today = (
        {**dict.fromkeys(of["seeds"], 0), **dict(zip(of["seeds"], of.get("picks", ()), strict=False))}
        for of in (then, job)
    )
    return {seed for seed in job["seeds"] if before.get(seed) == today[seed]}


def _settings(row: Mapping) -> tuple:
    return tuple(row[name] for name in SETTINGS)


def _curve(curve: pd.DataFrame, *, watched: bool) -> list[dict]:
    rows = _plain(curve)
    return rows if watched else [row | {"test_loss": None, "test_accuracy": None} for row in rows]


def _rows_of(job: Mapping, inputs: Mapping[str, object], path: str, kind: str) -> list[dict]:
    """The rows at `path` if they are intact, and of this job and these images but for what `MANY` names; else none."""
    if not recorded(path):
        return []
    note = read_provenance(path)
    then, today = ({k: v for k, v in dict(of).items() if k not in MANY[kind]} for of in (note["job"], job))
    files = [name for name in ("images", "index", "splits", "base") if name in {*inputs, *note["inputs"]}]
    same = all(
        name in inputs and note["inputs"].get(name, {}).get("sha256") == identity(str(inputs[name])) for name in files
    )
    how = {name: note[name] for name in HOW if name in note}
    is_right = same and meaning(then) == meaning(today)
    return [row | how for row in _plain(read_rows(path, kind, KINDS[kind].names))] if is_right else []


def _plain(rows: pd.DataFrame) -> list[dict]:
    """Rows as plain values, None where there is none."""
    columns = [name for name in rows.columns if name not in HIVE]
    return [{name: _value(row[name]) for name in columns} for row in rows.to_dict("records")]


def _value(value):
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and math.isnan(value) else value
