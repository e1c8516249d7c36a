"""Checks of searches and finals: complete grids and seeds, numbers that agree with the predictions they stand for.

In: a `View` and a job. Out: pairs of a file's name and a finding. The grid, the schedule and the choice are computed
again from today's config; accuracies are counted again from the stored predictions
(`prediction_checks`).

    python -m pytest tests/workflow/test_audit.py
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pandas as pd

from vptcore.training.choose import choose
from vptcore.training.recipe import Recipe
from vptcore.training.trials import trials_of
from vptstudy.audit.context import Found, View, only
from vptstudy.audit.findings import Finding
from vptstudy.audit.prediction_checks import (
    CLOSE,
    EXACT,
    Rows,
    curves_end_as_predicted,
    every_image,
    finals_count_predictions,
    listed,
)
from vptstudy.graph.jobs import Job


def check_search(view: View, job: Job) -> Iterator[Found]:
    name = only(job, "rows")
    rows = view.rows(name, "search")
    index, parts = _task_rows(view, job)
    yield from ((name, finding) for finding in _grid(job, rows))
    yield from ((name, finding) for finding in _search_numbers(rows))
    if index is None or parts is None:
        return
    labels = index["label"][parts["val"]]
    for key, images in (("train_images", len(parts["train"])), ("val_images", len(labels))):
        if (rows[key] != images).any():
            yield name, Finding("plausible", f"{key} is {rows[key][rows[key] != images][0]}; its split has {images}")
    yield from ((name, finding) for finding in _val_accuracy(rows, labels, job.slice["classes"]))


def _grid(job: Job, rows: Rows) -> Iterator[Finding]:
    """Every trial once, each the one that the grid, what was bought beyond its edges, or the race has at its number."""
    scores = ("config", "optimizer", "lr", "weight_decay", "epochs", "val_accuracy", "diverged")
    trials = trials_of(job.slice, pd.DataFrame({key: rows[key] for key in scores}))
    found = list(zip(rows["config"].tolist(), rows["epochs"].tolist(), strict=True))
    if len(set(found)) != len(found):
        yield Finding("complete", f"configuration {_first_twice(found)[0]} occurs twice")
    elif sorted(config for config, _ in found) != sorted(trial.config for trial in trials):
        what = "trainings; the race" if "racing" in job.slice else "configurations; the grid"
        yield Finding("complete", f"{len(found)} {what} has {len(trials)}")
    by_key = {trial.config: trial.recipe for trial in trials} | {trial.key: trial.recipe for trial in trials}
    shared = {"seed": job.slice["seed"], "prompt_length": job.slice["prompt_length"]}
    for place, (config, epochs) in enumerate(found):
        recipe = by_key.get((config, epochs)) or by_key.get(config)
        if recipe is None:
            continue
        wanted = {key: getattr(recipe, key) for key in ("optimizer", "lr", "weight_decay", "batch", "epochs")} | shared
        for key, value in wanted.items():
            if rows[key][place] != value:
                yield Finding("plausible", f"configuration {config} has {key} {rows[key][place]}; the grid has {value}")
                return


def _search_numbers(rows: Rows) -> Iterator[Finding]:
    good = ~rows["diverged"].astype(bool)
    for key in ("val_accuracy", "train_accuracy"):
        values = rows[key][good].astype(float)
        if not ((values >= 0) & (values <= 1)).all():
            yield Finding("plausible", f"{key} {_first(values, ~((values >= 0) & (values <= 1)))} is not in [0, 1]")
    for key in ("val_loss", "train_loss"):
        if not np.isfinite(rows[key][good].astype(float)).all():
            yield Finding("plausible", f"{key} is not finite in a configuration that is not marked diverged")
    if np.isfinite(rows["val_accuracy"][~good].astype(float)).any():
        yield Finding("plausible", "a diverged configuration has a score")
    yield from _parameters(rows)


def _val_accuracy(rows: Rows, labels: np.ndarray, classes: int) -> Iterator[Finding]:
    """The stored predictions against the labels of the val images."""
    for place, config in enumerate(rows["config"]):
        predicted = np.asarray(rows["val_predictions"][place])
        if len(predicted) != len(labels):
            yield Finding("complete", f"configuration {config}: {len(predicted)} val predictions of {len(labels)}")
            return
        if len(predicted) and (predicted.min() < 0 or predicted.max() >= classes):
            yield Finding("plausible", f"configuration {config}: a val prediction is none of {classes} classes")
            return
        logits = rows["val_logits"][place]
        if logits is not None and not _answers_as(logits, predicted, classes):
            yield Finding("plausible", f"configuration {config}: its val logits do not give its predictions")
            return
        hits = float((predicted == labels).mean())
        if not rows["diverged"][place] and abs(hits - rows["val_accuracy"][place]) > EXACT:
            said = rows["val_accuracy"][place]
            yield Finding("plausible", f"configuration {config}: val_accuracy {said:.4f}, but its predictions "
                          f"give {hits:.4f}")  # fmt: skip
            return


def _answers_as(logits: np.ndarray, predicted: np.ndarray, classes: int) -> bool:
    """Whether each image's prediction has the largest logit; in half precision another may be as large."""
    if len(logits) != len(predicted) * classes:
        return False
    logits_VC = np.asarray(logits, float).reshape(len(predicted), classes)
    return bool((logits_VC[np.arange(len(predicted)), predicted] >= logits_VC.max(-1)).all())


def check_final(view: View, job: Job) -> Iterator[Found]:
    name, curves_name, predictions_name = (only(job, key) for key in ("rows", "curves", "predictions"))
    final = view.rows_if(name, "final")
    if final is not None:
        yield from ((name, finding) for finding in _seeds(job, final))
        yield from ((name, finding) for finding in _final_numbers(final))
        yield from ((name, finding) for finding in _final_images(view, job, final))
    recipe = _chosen(view, job)
    if final is not None and recipe is not None:
        yield from ((name, finding) for finding in _is_chosen(final, *recipe))
    curves = view.rows_if(curves_name, "curves")
    if curves is not None:
        yield from ((curves_name, finding) for finding in _curves(job, curves, final, recipe and recipe[0]))
    predictions = view.rows_if(predictions_name, "predictions")
    if predictions is not None:
        yield from (
            (predictions_name, finding) for finding in every_image(job, predictions, final, *_task_rows(view, job))
        )
    if final is not None and curves is not None:
        yield from ((name, finding) for finding in _ends_as_its_curves(final, curves))
    if final is not None and predictions is not None:
        yield from ((name, finding) for finding in finals_count_predictions(final, predictions))
    if curves is not None and predictions is not None:
        yield from ((curves_name, finding) for finding in curves_end_as_predicted(job, curves, predictions))


def _seeds(job: Job, final: Rows) -> Iterator[Finding]:
    found = final["seed"].tolist()
    if len(set(found)) != len(found):
        yield Finding("complete", f"seed {_first_twice(found)} occurs twice")
    elif sorted(found) != sorted(job.slice["seeds"]):
        yield Finding("complete", f"seeds {listed(found)}; the config asks for {listed(job.slice['seeds'])}")


def _final_numbers(final: Rows) -> Iterator[Finding]:
    good = ~final["diverged"].astype(bool)
    for key, where in (("test_accuracy", good | ~good), ("train_accuracy", good)):
        values = final[key][where].astype(float)
        inside = (values >= 0) & (values <= 1)
        if not inside.all():
            yield Finding("plausible", f"{key} {_first(values, ~inside)} is not in [0, 1]")
    for key in ("test_loss", "train_loss"):
        if not np.isfinite(final[key][good].astype(float)).all():
            yield Finding("plausible", f"{key} is not finite in a seed that is not marked diverged")
    yield from _parameters(final)


def _parameters(rows: Rows) -> Iterator[Finding]:
    tuned, total = rows["tuned_parameters"], rows["total_parameters"]
    if (tuned <= 0).any() or (tuned > total).any():
        yield Finding("plausible", f"{tuned[0]:,} tuned of {total[0]:,} parameters")
    elif len(set(tuned.tolist())) > 1 or len(set(total.tolist())) > 1:
        yield Finding("plausible", "its rows tuned different numbers of parameters")


def _final_images(view: View, job: Job, final: Rows) -> Iterator[Finding]:
    """Train and test images as many as the split and the index say."""
    _, parts = _task_rows(view, job)
    if parts is None:
        return
    train = sum(len(parts[part]) for part in job.slice["parts"])
    for key, images in (("train_images", train), ("test_images", len(parts["test"]))):
        if (final[key] != images).any():
            yield Finding("plausible", f"{key} is {_first(final[key], final[key] != images)}; expected {images}")
    batch = job.slice["recipe"]["batch"]
    if (final["batch"] != batch).any():
        yield Finding(
            "plausible", f"batch {_first(final['batch'], final['batch'] != batch)}; the config asks for {batch}"
        )


def _chosen(view: View, job: Job) -> tuple[Recipe, int] | None:
    """The recipe of the best row of the search as it is there, and its number."""
    search = view.rows_if(job.inputs["search"][0], "search")
    if search is None:
        return None
    keys = ("config", "optimizer", "lr", "weight_decay", "epochs", "val_accuracy", "diverged")
    try:
        best = choose(pd.DataFrame({key: search[key] for key in keys}))
    except ValueError:
        return None
    recipe = Recipe(**job.slice["recipe"])
    decay = float(best["weight_decay"])
    recipe = replace(recipe, optimizer=str(best["optimizer"]), lr=float(best["lr"]), weight_decay=decay)
    return recipe, int(best["config"])


def _is_chosen(final: Rows, recipe: Recipe, config: int) -> Iterator[Finding]:
    wanted = {"config": config, **{k: getattr(recipe, k) for k in ("optimizer", "lr", "weight_decay", "epochs")}}
    for key, value in wanted.items():
        if any(found != value for found in final[key].tolist()):
            shown = next(found for found in final[key].tolist() if found != value)
            yield Finding("plausible", f"{key} {shown}, but the best configuration of its search has {value}")
            return


def _curves(job: Job, curves: Rows, final: Rows | None, recipe: Recipe | None) -> Iterator[Finding]:
    """Every epoch of every seed once, at the schedule's learning rate; fewer epochs only where a seed diverged."""
    keys = list(zip(curves["seed"].tolist(), curves["epoch"].tolist(), strict=True))
    if len(set(keys)) != len(keys):
        seed, epoch = _first_twice(keys)
        yield Finding("complete", f"epoch {epoch} of seed {seed} occurs twice")
        return
    diverged = {} if final is None else dict(zip(final["seed"].tolist(), final["diverged"].tolist(), strict=True))
    epochs = job.slice["recipe"]["epochs"]
    for seed in job.slice["seeds"]:
        found = curves["epoch"][curves["seed"] == seed].tolist()
        whole = list(range(1, (len(found) if diverged.get(seed) else epochs) + 1))
        if found != whole:
            yield Finding("complete", f"seed {seed} has {len(found)} epochs; the config asks for {epochs}")
    if extra := sorted(set(curves["seed"].tolist()) - set(job.slice["seeds"])):
        yield Finding("complete", f"seed {extra[0]} is none of the config's")
    watched = np.isin(curves["seed"], job.slice["seeds"][: job.slice["curve_seeds"]])
    ended = np.isin(curves["seed"], [seed for seed, stopped in diverged.items() if stopped])
    tested = np.isfinite(curves["test_loss"])
    if (tested & ~watched).any() or (~tested & watched & ~ended).any():
        yield Finding("complete", f"test losses of other seeds than the first {job.slice['curve_seeds']}")
    if not np.isfinite(curves["train_loss"][~ended]).all():
        yield Finding("plausible", "a train_loss is not finite in a seed that is not marked diverged")
    for key in ("train_accuracy", "test_accuracy"):
        values = curves[key][np.isfinite(curves[key])]
        if ((values < 0) | (values > 1)).any():
            yield Finding("plausible", f"{key} {_first(values, (values < 0) | (values > 1))} is not in [0, 1]")
    if recipe is not None and len(keys):
        epochs, place = np.unique(curves["epoch"], return_inverse=True)
        rates = np.array([recipe.lr_at(epoch - 1) for epoch in epochs.tolist()])
        if not np.allclose(curves["lr"], rates[place], rtol=1e-9, atol=1e-15):
            yield Finding("plausible", "its learning rates are not those of the recipe that its search chose")


def _ends_as_its_curves(final: Rows, curves: Rows) -> Iterator[Finding]:
    """A final's row is the last epoch of its curve; and two seeds are not one run twice."""
    seen: dict[tuple, int] = {}
    for place, seed in enumerate(final["seed"].tolist()):
        mine = np.flatnonzero(curves["seed"] == seed)
        if not len(mine) or final["diverged"][place]:
            continue
        last = mine[np.argmax(curves["epoch"][mine])]
        for key in ("train_loss", "train_accuracy"):
            if not np.isclose(final[key][place], curves[key][last], rtol=CLOSE, atol=1e-6):
                yield Finding("plausible", f"seed {seed}: {key} {final[key][place]:.6g}, but its curve ends "
                              f"at {curves[key][last]:.6g}")  # fmt: skip
                return
        run = tuple(curves["train_loss"][mine].tolist())
        if run in seen and any(run):
            yield Finding("plausible", f"seeds {seen[run]} and {seed} have one and the same loss curve")
            return
        seen[run] = seed


def _task_rows(view: View, job: Job) -> tuple[Rows | None, dict[str, np.ndarray] | None]:
    """The index's columns, and part -> rows of the split; None where one cannot be used."""
    index = view.rows_if(job.inputs["index"][0], "index")
    split = view.rows_if(job.inputs["splits"][0], "splits")
    if index is None or split is None or (len(split["row"]) and split["row"].max() >= len(index["row"])):
        return None, None
    return index, {part: split["row"][split["part"] == part] for part in ("train", "val", "final", "test")}


def _first_twice(values: list):
    return next(value for place, value in enumerate(values) if value in values[:place])


def _first(values: np.ndarray, where: np.ndarray) -> str:
    return f"{values[where][0]:.6g}"
