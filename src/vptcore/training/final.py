"""The finals of one cell: the chosen configuration trained on train+val under every seed and scored on test.

In: a job slice, the search's rows, the task's arrays, index and split, and for ft_then_pt one tuned model per seed.
Out: rows of kinds `final`, `curves` and `predictions`, and where a later stage reads them the tuned states. A killed
job goes on with the seed it was in. This module never imports the search: the chosen recipe arrives as a file.

    snakemake results/demo/final/backbone=vit_mini_cifar10/method=vpt/task=digits/train=160/rows.parquet
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from vptcore.data.one_shot import of_pick
from vptcore.data.tensors import ImageSet
from vptcore.jobs.device import device_name, open_device, room_on
from vptcore.jobs.provenance import provenance
from vptcore.jobs.workfolder import open_work
from vptcore.models.methods import (
    build_head,
    count_parameters,
    pristine,
    spec_of,
    start_state,
    tuned_state,
)
from vptcore.records import read_rows, replacing, write_rows, write_text
from vptcore.training import finished, fresh, stage
from vptcore.training.choose import choose
from vptcore.training.fit import fit, predict, scores
from vptcore.training.prepared import Prepared
from vptcore.training.recipe import Recipe, check_batch
from vptcore.training.watched import watched_places
from vptcore.wording import plural


def run(job: Mapping, inputs: Mapping[str, object], outputs: Mapping[str, object], say=print) -> str:
    """Run or go on with the seeds and write their rows. Returns one line: accuracy, spread, images per second.

    `inputs` has images, index, splits, search, and for ft_then_pt `bases` (one file per seed). `outputs` has rows,
    curves, predictions, work, and where tuned states are kept `models` (seed=N.safetensors each).
    """
    started = time.time()
    device = open_device(job["device"], say)
    files = {k: v for k, v in inputs.items() if isinstance(v, str)} | {
        f"base{i}": p for i, p in enumerate(inputs.get("bases") or [])
    }
    note = provenance(job, files, device=device_name(device))
    with open_work(outputs, note, say) as work, room_on(device):
        if work.summary:
            return work.summary
        test_rows = _all_seeds(job, inputs, outputs, device, work.folder, say)
        rows = [json.loads((work.folder / f"seed={seed}.json").read_text(encoding="utf-8")) for seed in job["seeds"]]
        kept = [Path(path).name for path in outputs.get("models") or []]
        note |= stage.timing(started) | fresh.taken_out([row["final"] for row in rows])
        _write(job, work.staged, rows, work.folder, kept, test_rows, note)
        return work.publish(_summary(job, [row["final"] for row in rows], device))


def _all_seeds(job, inputs, outputs, device: torch.device, work: Path, say) -> np.ndarray:
    """Every seed's record in the work folder, those that are there already left alone. Returns test's index rows."""
    parts = stage.Parts(job, inputs["images"], inputs["index"], inputs["splits"], device)
    recipe, config = chosen(job, inputs["search"])
    _keep_finished(job, inputs, outputs, recipe, config, work, say)
    picks = job.get("picks") or [0] * len(job["seeds"])
    sets = [parts.take(*(of_pick(part, pick) for part in job["parts"])) for pick in dict.fromkeys(picks)]
    sets.append(parts.take("test"))
    check_batch(job, len(sets[0]))
    sets, counts = fresh.as_features(job, *sets) if stage.is_probe(job) else (sets, None)
    trains = dict(zip(dict.fromkeys(picks), sets, strict=False))
    setting = _Setting(job, recipe, config, sets[-1], device, work, say, fresh.OneModel(device), Prepared(), counts)
    bases = inputs.get("bases") or [None] * len(job["seeds"])
    backbone = None if counts else pristine(spec_of(job))
    for position, (seed, base) in enumerate(zip(job["seeds"], bases, strict=True)):
        if not (work / f"seed={seed}.json").exists():
            train = trains[picks[position]]
            model = _model(setting, seed, train, base, backbone)
            _one_seed(setting, seed, model, train, curve=position < job["curve_seeds"])
    return parts.rows_of("test")


def _keep_finished(job, inputs, outputs, recipe: Recipe, config: int, work: Path, say) -> None:
    """Put the seeds that an earlier run of this cell finished into the work folder."""
    models = {Path(path).name: path for path in finished.of_cell(outputs).get("models") or []}
    for seed, (row, curve, predictions) in finished.final_seeds(job, inputs, outputs, recipe, config).items():
        if not (work / f"seed={seed}.json").exists():
            name = f"seed={seed}.safetensors"
            state = {f"model.{n}": value for n, value in load_file(models[name]).items()} if name in models else {}
            _record_seed(work, seed, row, curve, torch.from_numpy(predictions), state)
            say(f"seed {seed}: test {row['test_accuracy']:.1%}, kept from the run before")


def chosen(job: Mapping, search_rows: str) -> tuple[Recipe, int]:
    """The recipe of the best row of the search, with the epochs and schedule of this job."""
    best = choose(read_rows(search_rows, "search"))
    recipe = Recipe(**job["recipe"])
    recipe = replace(
        recipe, optimizer=str(best["optimizer"]), lr=float(best["lr"]), weight_decay=float(best["weight_decay"])
    )
    return recipe, int(best["config"])


@dataclass(frozen=True)
class _Setting:
    """What every seed of one cell shares. A probe's sets hold features."""

    job: Mapping
    recipe: Recipe
    config: int
    test: ImageSet
    device: torch.device
    work: Path
    say: Callable[[str], None]
    one: fresh.OneModel
    prepared: Prepared
    probe_counts: tuple[int, int] | None = None

    @property
    def is_probe(self) -> bool:
        return self.probe_counts is not None


def _model(
    setting: _Setting, seed: int, train: ImageSet, base: str | None, backbone: nn.Module | None
) -> nn.Module:  # fmt: skip
    """The model on the device as one seed begins; `backbone`, read once, is copied."""
    spec = spec_of(setting.job)
    base_state = start_state(spec.row, load_file(base)) if base else None
    if setting.is_probe:
        return setting.one.take(build_head(spec, seed=seed))
    model = fresh.built(setting.job, train, seed=seed, base_state=base_state, backbone=backbone)
    return setting.one.take(model)


def _one_seed(setting: _Setting, seed: int, model: nn.Module, train: ImageSet, *, curve: bool) -> None:
    """Train and score one seed and keep its record, predictions and tuned state in the work folder."""
    job, recipe, test = setting.job, setting.recipe, setting.test
    places = watched_places(len(test), job["curve_images"])

    def on_epoch(record, rate):
        progress = f"epoch {record['epoch']}/{recipe.epochs}, loss {float(record['train_loss']):.3f}"
        setting.say(f"seed {seed}: {progress}, {rate:,.0f} img/s")

    history = fit(
        model,
        train,
        recipe,
        seed=seed,
        watch=test.part(places) if curve else None,
        checkpoint=setting.work / f"seed={seed}.checkpoint",
        checkpoint_seconds=job["checkpoint_seconds"],
        on_epoch=on_epoch,
        compile="never" if setting.is_probe else job["compile"],
        prepared=setting.prepared,
        say=setting.say,
    )
    logits_NC, counts = predict(model, test), setting.probe_counts or count_parameters(model)
    loss, accuracy = scores(logits_NC, test.labels_N)
    last, diverged = history.epochs[-1], bool(history.diverged)
    if curve:  # from the predictions that are kept, so that a curve ends where they do to the last bit
        at = torch.from_numpy(places).to(logits_NC.device)
        last["test_loss"], last["test_accuracy"] = scores(logits_NC[at], test.labels_N[at])
    final = {
        "seed": seed, "config": setting.config, "optimizer": recipe.optimizer,
        "lr": recipe.lr, "weight_decay": recipe.weight_decay,
        "batch": recipe.batch, "epochs": recipe.epochs, "prompt_length": job["prompt_length"],
        "test_accuracy": float(accuracy), "test_loss": _finite(loss), "train_accuracy": float(last["train_accuracy"]),
        "train_loss": _finite(last["train_loss"]), "diverged": diverged, "tuned_parameters": counts[0],
        "total_parameters": counts[1], "train_images": len(train), "test_images": len(test),
        "images_per_second": history.images_per_second, "seconds": history.seconds,
        "compile_seconds": history.compile_seconds, "device": device_name(setting.device), **fresh.how(history),
    }  # fmt: skip
    curves = [
        {name: _finite(record.get(name)) for name in _CURVE} | {"seed": seed, "epoch": record["epoch"]}
        for record in history.epochs
    ]
    state = {f"model.{name}": value for name, value in tuned_state(model).items()}
    _record_seed(setting.work, seed, final, curves, _predictions(logits_NC, test), state)
    (setting.work / f"seed={seed}.checkpoint").unlink(missing_ok=True)
    setting.say(f"seed {seed}: test {final['test_accuracy']:.1%}")


def _record_seed(work: Path, seed: int, final: dict, curves: list[dict], predictions, state: Mapping) -> None:
    """What the work folder has of a finished seed; the JSON last, since it says that the seed is finished."""
    with replacing(work / f"seed={seed}.safetensors") as beside:
        save_file({"predictions": predictions, **state}, beside)
    write_text(work / f"seed={seed}.json", json.dumps({"final": final, "curves": curves}))


_CURVE = ("lr", "train_loss", "train_accuracy", "test_loss", "test_accuracy")


def _finite(value) -> float | None:
    value = math.nan if value is None else float(value)
    return value if math.isfinite(value) else None


def _predictions(logits_NC, test: ImageSet):
    """(N, 4): label, prediction, confidence of the prediction, loss."""
    log_p_NC = logits_NC.double().log_softmax(-1)
    confidence_N, prediction_N = log_p_NC.max(-1)
    loss_N = -log_p_NC.gather(1, test.labels_N[:, None])[:, 0]
    return (
        torch.stack([test.labels_N.double(), prediction_N.double(), confidence_N.exp(), loss_N], dim=1)
        .cpu()
        .contiguous()
    )


def _write(job, outputs, rows, work: Path, kept: list[str], test_rows, note) -> None:
    states = [load_file(work / f"seed={seed}.safetensors") for seed in job["seeds"]]
    of_seed = {f"seed={seed}.safetensors": state for seed, state in zip(job["seeds"], states, strict=True)}
    for path, name in zip(outputs.get("models") or [], kept, strict=True):
        state = of_seed[name]
        with replacing(path) as beside:
            save_file({n.removeprefix("model."): v for n, v in state.items() if n.startswith("model.")}, beside)
    frames = []
    for seed, state in zip(job["seeds"], states, strict=True):
        label, prediction, confidence, loss = state["predictions"].numpy().T
        frames.append(
            pd.DataFrame(
                {
                    "seed": seed,
                    "row": test_rows,
                    "label": label.astype(int),
                    "prediction": prediction.astype(int),
                    "confidence": confidence,
                    "loss": loss,
                }
            )
        )
    write_rows(outputs["predictions"], "predictions", pd.concat(frames, ignore_index=True), note)
    write_rows(outputs["curves"], "curves", [record for row in rows for record in row["curves"]], note)
    write_rows(outputs["rows"], "final", [row["final"] for row in rows], note)


def _summary(job: Mapping, rows: list[dict], device: torch.device) -> str:
    accuracy = pd.Series([row["test_accuracy"] for row in rows]) * 100
    spread = f" ± {accuracy.std():.1f}" if len(rows) > 1 else ""
    return f"{plural(len(rows), 'seed')}, test {accuracy.mean():.1f}{spread} %, {stage.rate_text(job, rows, device)}"
