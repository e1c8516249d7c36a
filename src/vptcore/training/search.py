"""The grid search of one cell: every configuration trained on the train part and scored on val at the last epoch, or
under `search: racing` all on short schedules and the best on full ones.

In: a job slice, the task's arrays, index and split, and for ft_then_pt the tuned model it starts from. Out: rows of
kind `search`, and where a later stage reads it the tuned state of the best configuration so far. Every finished
configuration is kept in a work folder at once, so that a killed job goes on with the next one.

    snakemake results/demo/search/backbone=vit_mini_cifar10/method=vpt/task=digits/train=160/rows.parquet
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from vptcore.data.tensors import ImageSet
from vptcore.jobs.device import device_name, open_device, room_on
from vptcore.jobs.manifest import recorded
from vptcore.jobs.provenance import provenance
from vptcore.jobs.workfolder import open_work
from vptcore.models.heads import StackedHeads
from vptcore.models.methods import (
    build_head,
    count_parameters,
    spec_of,
    start_state,
    tuned_state,
)
from vptcore.models.methods_table import METHODS
from vptcore.records import MOST_LOGITS, replacing, write_rows, write_text
from vptcore.training import finished, fresh, stage
from vptcore.training.choose import choose, longest, ranked
from vptcore.training.edges import further_recipes
from vptcore.training.fit import fit, predict, scores
from vptcore.training.prepared import Prepared
from vptcore.training.recipe import Recipe, check_batch, recipes_of
from vptcore.training.trials import Trial, next_trials
from vptcore.wording import plural


@dataclass(frozen=True)
class _Setting:
    """What every configuration of one search shares."""

    job: Mapping
    train: ImageSet
    val: ImageSet
    device: torch.device
    base_state: Mapping[str, torch.Tensor] | None
    work: Path
    keeps_best: bool
    say: Callable[[str], None]
    prepared: Prepared
    probe_counts: tuple[int, int] | None = None

    @property
    def is_probe(self) -> bool:
        return self.probe_counts is not None

    def is_full(self, trial: Trial) -> bool:
        """Whether it is on the full schedule: of those the best one's model is kept."""
        return trial.recipe.epochs == self.job["recipe"]["epochs"]

    def place(self, trial: Trial, kind: str) -> Path:
        """The trial's file in the work folder."""
        short = "" if self.is_full(trial) else f",epochs={trial.recipe.epochs}"
        return self.work / f"config={trial.config}{short}.{kind}"


def run(job: Mapping, inputs: Mapping[str, str], outputs: Mapping[str, str], say=print) -> str:
    """Run or go on with the search and write its rows. Returns one line: configurations, the best, img/s."""
    started = time.time()
    device = open_device(job["device"], say)
    note = provenance(job, inputs, device=device_name(device))
    with open_work(outputs, note, say) as work, room_on(device):
        if work.summary:
            return work.summary
        rows = _grid(job, inputs, outputs, device, work.folder, say)
        best = None if "shard" in job and all(r["diverged"] for r in rows) else choose(pd.DataFrame(rows))
        if "best" in outputs:
            if best is None:  # of a whole grid this would be an error; another shard may have one that did not diverge
                save_file({}, work.staged["best"])
            else:
                shutil.copyfile(work.folder / f"config={best['config']}.safetensors", work.staged["best"])
        note |= stage.timing(started) | fresh.taken_out(rows)
        write_rows(work.staged["rows"], "search", rows, note)
        found = "all diverged" if best is None else f"best lr {best['lr']:g} with val {best['val_accuracy']:.1%}"
        return work.publish(f"{_counted(rows)}, {found}, {stage.rate_text(job, rows, device)}")


def _counted(rows: list[dict]) -> str:
    """'40 configurations', and of a race how many of them were trained in full."""
    many = len({row["config"] for row in rows})
    in_full = f", {len(longest(pd.DataFrame(rows)))} of them in full" if len(rows) > many else ""
    return f"{many} configuration{'' if many == 1 else 's'}{in_full}"


def _grid(job, inputs, outputs, device: torch.device, work: Path, say) -> list[dict]:
    """A row for every configuration of the job."""
    parts = stage.Parts(job, inputs["images"], inputs["index"], inputs["splits"], device)
    train, val = parts.take("train"), parts.take("val")
    check_batch(job, len(train))
    if METHODS[job["method"]].stacks:
        return _stacked_rows(job, train, val, device, work if "best" in outputs else None)
    base_state = start_state(METHODS[job["method"]], load_file(inputs["base"])) if "base" in inputs else None
    counts = None
    if stage.is_probe(job):
        (train, val), counts = fresh.as_features(job, train, val)
    setting = _Setting(job, train, val, device, base_state, work, "best" in outputs, say, Prepared(), counts)

    def recall(trials: list[Trial]) -> None:
        _keep_finished(setting, inputs, outputs, trials)

    return _rows(setting, recall)


def _keep_finished(setting: _Setting, inputs, outputs, trials: list[Trial]) -> None:
    """Put what an earlier run of this cell finished into the work folder: configurations, and the best one's model."""
    before = finished.of_cell(outputs)
    rows, best = finished.search_rows(setting.job, inputs, before["rows"], trials)
    has_model = "best" in outputs and best is not None and recorded(before["best"])
    if has_model and not setting.place(best, "json").exists():
        with replacing(setting.place(best, "safetensors")) as beside:
            shutil.copyfile(before["best"], beside)
    for trial, row in rows.items():
        if not setting.place(trial, "json").exists():
            write_text(setting.place(trial, "json"), json.dumps(row))


Done = list[tuple[Trial, dict]]


def _rows(setting: _Setting, recall: Callable[[list[Trial]], None]) -> list[dict]:
    """One row per trial: of the grid, of the rates beyond its edge that the job buys, and of a race's full schedules.

    `recall` puts into the work folder what an earlier run has of some trials.
    """
    done: Done = []
    models = fresh.Models(lambda: _build(setting), setting.device)
    while trials := next_trials(setting.job, pd.DataFrame([row for _, row in done])):
        recall(trials)
        for trial in trials:
            done.append((trial, _tried(setting, trial, models)))
            _drop_worse(setting, done)
    best = _best(setting, done)
    if setting.keeps_best and best and not setting.place(best, "safetensors").exists():
        # Its row was kept from a run in which another one was the best, and so its model was not.
        _record(setting, best, models)
    return [row for _, row in done]


def _tried(setting: _Setting, trial: Trial, models: fresh.Models) -> dict:
    """The row of a trial, read from the work folder where it is there already."""
    file = setting.place(trial, "json")
    if not file.exists():
        _record(setting, trial, models)
    row, recipe = json.loads(file.read_text(encoding="utf-8")), trial.recipe
    many = max(len(recipes_of(setting.job)), trial.config + 1)
    short = "" if setting.is_full(trial) else f", {plural(recipe.epochs, 'epoch')}"
    settings = f"lr {recipe.lr:g}, weight decay {recipe.weight_decay:g}{short}"
    setting.say(f"configuration {trial.config + 1}/{many}: {settings}: {_verdict(row)}")
    return row


def _record(setting: _Setting, trial: Trial, models: fresh.Models) -> None:
    """Train one trial and put its row, and where it may be the best its model, into the work folder."""
    model = models.fresh()
    row = _train_one(setting, trial, model)
    if setting.keeps_best and setting.is_full(trial):
        with replacing(setting.place(trial, "safetensors")) as beside:
            save_file(tuned_state(model), beside)
    write_text(setting.place(trial, "json"), json.dumps(row))
    setting.place(trial, "checkpoint").unlink(missing_ok=True)


def _best(setting: _Setting, done: Done) -> Trial | None:
    """The best so far of those on the full schedule; None where there is none, or all diverged."""
    full = {trial.config: (trial, row) for trial, row in done if setting.is_full(trial)}
    order = ranked(pd.DataFrame([row for _, row in full.values()])) if full else ()
    return full[int(order["config"].iloc[0])][0] if len(order) else None


def _drop_worse(setting: _Setting, done: Done) -> None:
    """Keep on disk the best tuned state so far: one model, not one for each configuration."""
    best = _best(setting, done) if setting.keeps_best else None
    for trial, _ in done if setting.keeps_best else ():
        if trial != best:
            setting.place(trial, "safetensors").unlink(missing_ok=True)


def _build(setting: _Setting) -> nn.Module:
    job, seed = setting.job, setting.job["seed"]
    if setting.is_probe:
        return build_head(spec_of(job), seed=seed)
    return fresh.built(job, setting.train, seed=seed, base_state=setting.base_state)


def _train_one(setting: _Setting, trial: Trial, model: nn.Module) -> dict:
    """Train one configuration from a fresh model."""
    job, config, recipe = setting.job, trial.config, trial.recipe

    def on_epoch(record, rate):
        progress = f"epoch {record['epoch']}/{recipe.epochs}, loss {float(record['train_loss']):.3f}"
        setting.say(f"configuration {config + 1}: {progress}, {rate:,.0f} img/s")

    history = fit(
        model,
        setting.train,
        recipe,
        seed=job["seed"],
        watch=setting.val if job["protocol"]["val_every_epoch"] else None,
        checkpoint=setting.place(trial, "checkpoint"),
        checkpoint_seconds=job["checkpoint_seconds"],
        on_epoch=on_epoch,
        compile="never" if setting.is_probe else job["compile"],
        prepared=setting.prepared,
        say=setting.say,
    )
    logits_NC = predict(model, setting.val)
    counts = setting.probe_counts or count_parameters(model)
    row = search_row(job, config, recipe, history, logits_NC, setting.val, counts, setting.device)
    return row | {"train_images": len(setting.train)}


def _stacked_rows(job, train: ImageSet, val: ImageSet, device, keep_in: Path | None) -> list[dict]:
    """All configurations of a probe at once: features computed once, heads trained side by side.

    The best head is kept in the folder `keep_in`, if there is one.
    """
    sets, counts = fresh.as_features(job, train, val)
    rows, heads, recipes = [], [], recipes_of(job)
    while recipes:
        more, stack = _stack(job, recipes, len(rows), sets, counts, device)
        rows += more
        heads += zip(stack.weight, stack.bias, strict=True)
        recipes = further_recipes(job, pd.DataFrame(rows))
    if keep_in is not None:
        best = int(choose(pd.DataFrame(rows))["config"])
        head = dict(zip(("weight", "bias"), heads[best], strict=True))
        with replacing(keep_in / f"config={best}.safetensors") as beside:
            save_file({name: value.detach().cpu().contiguous() for name, value in head.items()}, beside)
    return rows


def _stack(job, recipes: list[Recipe], first: int, sets, counts, device) -> tuple[list[dict], StackedHeads]:
    """The rows of one stack, whose configurations are counted from `first`, and its trained heads."""
    (train, val), spec, seed = sets, spec_of(job), job["seed"]
    heads = StackedHeads(lambda: build_head(spec, seed=seed), seed, len(recipes)).to(device)
    history = fit(heads, train, recipes, seed=seed)
    logits_GNC = predict(heads, val)
    rows = [
        search_row(job, first + place, recipe, history, logits_GNC[place], val, counts, device, of=place)
        | {"train_images": len(train)}
        for place, recipe in enumerate(recipes)
    ]
    return rows, heads


def search_row(
    job, config, recipe: Recipe, history, logits_NC, val: ImageSet, counts, device, of: int | None = None
) -> dict:
    """One row of kind `search`. A diverged configuration keeps its row, without a score."""
    pick = (lambda value: float(value)) if of is None else (lambda value: float(value[of]))
    diverged = bool(history.diverged if of is None else history.diverged[of])
    loss, accuracy = scores(logits_NC, val.labels_N)
    last = history.epochs[-1]
    share = 1 if of is None else len(history.diverged)
    return {
        "config": config, "seed": job["seed"], "optimizer": recipe.optimizer, "lr": recipe.lr,
        "weight_decay": recipe.weight_decay, "batch": recipe.batch, "epochs": recipe.epochs,
        "prompt_length": job["prompt_length"],
        "val_accuracy": None if diverged else float(accuracy),
        "val_loss": None if diverged else float(loss),
        "train_accuracy": None if diverged else pick(last["train_accuracy"]),
        "train_loss": None if diverged else pick(last["train_loss"]),
        "diverged": diverged, "tuned_parameters": counts[0], "total_parameters": counts[1],
        "val_images": len(val), "images_per_second": history.images_per_second * share,
        "seconds": history.seconds / share, "compile_seconds": history.compile_seconds / share,
        "device": device_name(device), "val_predictions": logits_NC.argmax(-1).tolist(),
        "val_logits": None if diverged else kept_logits(logits_NC), **fresh.how(history),
    }  # fmt: skip


def kept_logits(logits_NC) -> list[float] | None:
    """Logits less each image's largest, in half precision, image by image; None where they are too many to keep."""
    if logits_NC.numel() > MOST_LOGITS:
        return None
    below_NC = logits_NC.double() - logits_NC.double().amax(-1, keepdim=True)
    return below_NC.clamp(min=torch.finfo(torch.float16).min).half().flatten().tolist()


def _verdict(row: dict) -> str:
    return "diverged" if row["diverged"] else f"val {row['val_accuracy']:.1%}"
