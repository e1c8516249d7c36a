"""The grid search of one cell: every configuration trained on the train part and scored on val at the last epoch.

In: a job slice, the task's arrays, index and split, and for ft_then_pt the tuned model it starts from. Out: rows of
kind `search`, and where a later stage reads it the tuned state of the best configuration so far. Every finished
configuration is kept in a work folder at once, so that a killed job goes on with the next one.

    snakemake results/demo/search/backbone=vit_mini_cifar10/method=vpt/task=digits/train=160/rows.parquet
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Mapping
from pathlib import Path

import pandas as pd
from safetensors.torch import load_file, save_file

from vptcore.data.tensors import ImageSet
from vptcore.models.heads import StackedHeads
from vptcore.models.methods import (
    backbone_state,
    build,
    build_encoder,
    build_head,
    count_parameters,
    spec_of,
    tuned_state,
)
from vptcore.records import provenance, replacing, write_rows, write_text
from vptcore.training import jobs
from vptcore.training.choose import choose
from vptcore.training.fit import fit, predict, scores
from vptcore.training.recipe import Recipe
from vptcore.training.work import open_work


def run(job: Mapping, inputs: Mapping[str, str], outputs: Mapping[str, str], say=print) -> str:
    """Run or go on with the search and write its rows. Returns one line: configurations, the best, img/s."""
    started = time.time()
    device = jobs.open_device(job["device"])
    parts = jobs.Parts(job, inputs["images"], inputs["index"], inputs["splits"], device)
    train, val = parts.take("train"), parts.take("val")
    recipes = jobs.recipes_of(job)
    jobs.check_train(train, recipes[0].batch)
    note = provenance(job, inputs, device=jobs.device_name(device))
    work = open_work(outputs["work"], note)
    if job["method"] == "linear":
        rows = _probe_rows(job, recipes, train, val, device)
    else:
        rows = _rows(job, recipes, train, val, device, inputs.get("base"), work, say, keep_best="best" in outputs)
    best = choose(pd.DataFrame(rows))
    if "best" in outputs:
        with replacing(outputs["best"]) as beside:
            shutil.copyfile(work / f"config={best['config']}.safetensors", beside)
    note |= {
        "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(started)),
        "duration": round(time.time() - started, 3),
    }
    write_rows(outputs["rows"], "search", rows, note)
    shutil.rmtree(work, ignore_errors=True)
    images, seconds = _work_done(rows)
    return (
        f"{len(rows)} configurations, best lr {best['lr']:g} with val {best['val_accuracy']:.1%}, "
        f"{jobs.rate_text(images, seconds)}"
    )


def _work_done(rows: list[dict]) -> tuple[float, float]:
    return sum(r["images_per_second"] * r["seconds"] for r in rows), sum(r["seconds"] for r in rows)


def _rows(job, recipes: list[Recipe], train, val, device, base, work: Path, say, *, keep_best: bool) -> list[dict]:
    """One row per configuration, read from the work folder where it is there already."""
    rows = []
    for config, recipe in enumerate(recipes):
        done = work / f"config={config}.json"
        if not done.exists():
            row, state = _train_one(job, config, recipe, train, val, device, base, work, say)
            if keep_best:
                with replacing(work / f"config={config}.safetensors") as beside:
                    save_file(state, beside)
            write_text(done, json.dumps(row))
        rows.append(json.loads(done.read_text()))
        if keep_best:
            _drop_worse(rows, work)
        say(
            f"configuration {config + 1}/{len(recipes)}: lr {recipe.lr:g}, weight decay "
            f"{recipe.weight_decay:g}: {_verdict(rows[-1])}"
        )
    return rows


def _drop_worse(rows: list[dict], work: Path) -> None:
    """Keep on disk the best tuned state so far: one model, not one for each configuration."""
    finite = [row for row in rows if not row["diverged"]]
    best = choose(pd.DataFrame(finite))["config"] if finite else None
    for row in rows:
        if row["config"] != best:
            (work / f"config={row['config']}.safetensors").unlink(missing_ok=True)


def _train_one(job, config: int, recipe: Recipe, train, val, device, base, work: Path, say) -> tuple[dict, dict]:
    spec, seed = spec_of(job), job["seed"]
    base_state = backbone_state(load_file(base)) if base else None
    if jobs.is_probe(job):
        model, train, val = probe(job, train, val, device)
    else:
        model = build(spec, seed=seed, base_state=base_state).to(device)

    def on_epoch(record, rate):
        say(
            f"configuration {config + 1}: epoch {record['epoch']}/{recipe.epochs}, loss "
            f"{float(record['train_loss']):.3f}, {rate:,.0f} img/s"
        )

    checkpoint = work / f"config={config}.checkpoint"
    history = fit(
        model,
        train,
        recipe,
        seed=seed,
        checkpoint=checkpoint,
        checkpoint_seconds=job["checkpoint_seconds"],
        on_epoch=on_epoch,
    )
    tuned, total = count_parameters(model) if not jobs.is_probe(job) else probe_parameters(job)
    row = search_row(job, config, recipe, history, predict(model, val), val, tuned, total, device) | {
        "train_images": len(train)
    }
    return row, tuned_state(model)


def probe(job: Mapping, *sets_and_device) -> tuple:
    """A new head, and each set of images turned into the frozen backbone's features, computed once."""
    *sets, device = sets_and_device
    encoder = build_encoder(spec_of(job), seed=0).to(device)
    cached = [ImageSet(predict(encoder, images), images.labels_N) for images in sets]
    return (build_head(spec_of(job), seed=job["seed"]).to(device), *cached)


def probe_parameters(job: Mapping) -> tuple[int, int]:
    """Tuned and total parameters of a probe: its head, and the head with the frozen backbone."""
    head = sum(p.numel() for p in build_head(spec_of(job), seed=0).parameters())
    return head, head + sum(p.numel() for p in build_encoder(spec_of(job), seed=0).parameters())


def _probe_rows(job, recipes: list[Recipe], train: ImageSet, val: ImageSet, device) -> list[dict]:
    """All configurations of a linear probe at once: features computed once, heads trained side by side."""
    spec, seed = spec_of(job), job["seed"]
    _, train, val = probe(job, train, val, device)
    heads = StackedHeads(lambda: build_head(spec, seed=seed), seed, len(recipes)).to(device)
    history = fit(heads, train, recipes, seed=seed)
    logits_GNC = predict(heads, val)
    tuned, total = probe_parameters(job)
    return [
        search_row(job, config, recipe, history, logits_GNC[config], val, tuned, total, device, of=config)
        | {"train_images": len(train)}
        for config, recipe in enumerate(recipes)
    ]


def search_row(
    job, config, recipe: Recipe, history, logits_NC, val: ImageSet, tuned, total, device, of: int | None = None
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
        "diverged": diverged, "tuned_parameters": tuned, "total_parameters": total,
        "val_images": len(val), "images_per_second": history.images_per_second * share,
        "seconds": history.seconds / share, "device": jobs.device_name(device),
        "val_predictions": logits_NC.argmax(-1).tolist(),
    }  # fmt: skip


def _verdict(row: dict) -> str:
    return "diverged" if row["diverged"] else f"val {row['val_accuracy']:.1%}"
