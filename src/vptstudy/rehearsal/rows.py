"""Synthetic rows of every kind for one cell or one task: what training, searching and explaining would have written.

In: a study, a cell or a task, and the accuracy it scatters around. Out: columns by kind, as `records.write_rows` takes
them. Nothing is trained; every number follows from the cell's name, the seed and the level.

    python -m pytest tests/vptstudy/rehearsal
"""

from __future__ import annotations

import io
import math
from collections.abc import Mapping
from dataclasses import replace
from functools import cache

import numpy as np
import pandas as pd
from PIL import Image, ImageDraw

from vptcore.analysis.published import RUNS
from vptcore.data.one_shot import of_pick
from vptcore.training.choose import choose
from vptcore.training.recipe import Recipe
from vptcore.training.trials import next_trials
from vptcore.training.watched import watched_places
from vptstudy import slices
from vptstudy.rehearsal.levels import parameters, rng_of, seconds
from vptstudy.study import Cell, Study

# Points of accuracy between seeds, and how many test images a task keeps at most: the real sets would be 80 times as
# many rows, and no figure would look different.
SPREAD, MOST_TEST = 0.006, 1000
SHORTER = 0.8  # of the accuracy, on schedules that are ever so short
# Of the made-up reference: natural images come out near it, specialized ones far.
REFERENCE_SPREAD = 165.0
# Images of a task of one's own, which are counted when it is prepared and so not known here.
UNKNOWN_POOL, UNKNOWN_TEST = 2500, 500
DEVICE = "synthetic"
GRID = 14


@cache
def test_labels(task: str, classes: int, images: int) -> tuple[np.ndarray, np.ndarray]:
    """(labels, difficulty) of a task's test images: the same for every cell, so that methods err on like images."""
    rng = rng_of("test", task)
    return rng.integers(0, classes, images), rng.normal(size=images)


def test_rows(study: Study, task: str) -> np.ndarray:
    """Rows of the index that are test: they follow the images that may be trained on."""
    row = study.tasks[task]
    return pool_size(study, task) + np.arange(min(row.test or UNKNOWN_TEST, MOST_TEST))


def pool_size(study: Study, task: str) -> int:
    """Train and val images of the largest size that the study runs on the task."""
    row = study.tasks[task]
    trains = [cell.train for cell in study.cells if cell.task == task]
    whole = min(row.pool or UNKNOWN_POOL, UNKNOWN_POOL)
    wanted = max(int(t) * 5 // 4 if t.isdigit() else whole for t in trains)
    return min(row.pool, wanted) if row.pool else wanted


def search(study: Study, cell: Cell, level: float) -> dict[str, list]:
    """A grid whose val accuracy falls off from one best learning rate; its ends may diverge."""
    slice_, rng = slices.search(study, cell), rng_of("search", cell.folder)
    rows, tried, whole = [], next_trials(slice_), slice_["recipe"]["epochs"]
    rates, decays = (sorted({getattr(t.recipe, name) for t in tried}) for name in ("lr", "weight_decay"))
    best = rng.uniform(0.35, 0.75) * (len(rates) - 1)
    tuned, total = parameters(cell, study)
    classes = study.tasks[cell.task].classes
    labels = val_labels(study, cell)
    parts, images = splits(study, cell.task, cell.train)["part"], len(labels)
    each = seconds(cell, study)
    places = {lr: place for place, lr in enumerate(rates)}
    while tried:
        trial = tried.pop(0)
        lr, decay, share = trial.recipe.lr, trial.recipe.weight_decay, trial.recipe.epochs / whole
        off = (places[lr] - best) / max(1.5, len(rates) / 3)
        expected = SHORTER ** (1 - share) * level * math.exp(-0.35 * off**2) - 0.01 * decays.index(decay) / len(decays)
        diverged = off > 1.6 and rng.random() < 0.8
        hit = rng.random(images) < max(expected, 1 / classes)
        predicted = np.where(hit, labels, (labels + rng.integers(1, classes, images)) % classes)
        accuracy = float((predicted == labels).mean())
        rows.append(
            {
                "config": trial.config, "seed": study.config["search_seed"], "optimizer": trial.recipe.optimizer,
                "lr": lr, "weight_decay": decay, "batch": slice_["recipe"]["batch"],
                "epochs": trial.recipe.epochs, "prompt_length": study.prompt_length(cell),
                "val_accuracy": math.nan if diverged else accuracy,
                "val_loss": math.nan if diverged else -math.log(max(accuracy, 0.01)), "train_accuracy": 0.99,
                "train_loss": 0.03, "diverged": diverged, "tuned_parameters": tuned, "total_parameters": total,
                "train_images": parts.count("train"), "val_images": images,
                "images_per_second": 100 * _images(cell.train) / each,
                "seconds": share * each * _images(cell.train) / 800 * rng.uniform(0.95, 1.05),
                "compile_seconds": 0.0, "device": DEVICE, "val_predictions": predicted.tolist(),
                "val_logits": None,
            }
        )  # fmt: skip
        if not tried:
            tried = next_trials(slice_, pd.DataFrame(rows))
            for rate in {trial.recipe.lr for trial in tried} - set(places):  # bought beyond an edge
                places[rate] = max(places.values()) + 1 if rate > max(places) else min(places.values()) - 1
    return _columns(rows)


def val_labels(study: Study, cell: Cell) -> np.ndarray:
    """The labels of the images that the cell's split validates on, in the split's order."""
    split = splits(study, cell.task, cell.train)
    val = np.asarray(split["row"])[np.asarray(split["part"]) == "val"]
    return pool_labels(study, cell.task)[val]


def pool_labels(study: Study, task: str) -> np.ndarray:
    """The labels of a task's train and val images."""
    return rng_of("index", task).integers(0, study.tasks[task].classes, pool_size(study, task))


def _images(train: str) -> int:
    return int(train) if train.isdigit() else 1000


def finals(study: Study, cell: Cell, level: float, searched: Mapping[str, list]) -> dict[str, dict[str, list]]:
    """Rows of kind final, predictions and curves of one cell, consistent with each other and with its search."""
    chosen = choose(
        pd.DataFrame({k: searched[k] for k in ("config", "lr", "weight_decay", "epochs", "val_accuracy", "diverged")})
    )
    slice_, task = slices.final(study, cell), study.tasks[cell.task]
    tuned, total = parameters(cell, study)
    test = test_rows(study, cell.task)
    labels, difficulty = test_labels(cell.task, task.classes, len(test))
    trained = _trained_images(study, cell)
    recipe = replace(Recipe(**slice_["recipe"]), lr=float(chosen["lr"]), weight_decay=float(chosen["weight_decay"]))
    rates = np.array([recipe.lr_at(epoch) for epoch in range(recipe.epochs)])
    # What the paper prints is itself a mean of five runs, and not what ours scatter around.
    level += rng_of("printed", cell.folder).normal(0, SPREAD / math.sqrt(RUNS))
    final, predictions, curves = [], [], []
    for place, seed in enumerate(study.seeds):
        rng = rng_of("final", cell.folder, seed)
        accuracy = np.clip(level + rng.normal(0, SPREAD), 1 / len(test), 1.0)
        given = answers(labels, difficulty, accuracy, task.classes, rng)
        predictions.append({"seed": np.full(len(test), seed), "row": test, "label": labels, **given})
        hits, loss = float((given["prediction"] == labels).mean()), float(given["loss"].mean())
        taken = seconds(cell, study) * _images(cell.train) / 800 * rng.uniform(0.95, 1.1)
        at = watched_places(len(test), slice_["curve_images"])
        ends = given["loss"][at].mean(), (given["prediction"] == labels)[at].mean()
        curve = _curve(study, cell, *map(float, ends), rng, tested=place < slice_["curve_seeds"])
        curves.append({"seed": np.full(len(curve["epoch"]), seed), "lr": rates, **curve})
        final.append(
            {
                "seed": seed, "config": int(chosen["config"]), "optimizer": slice_["recipe"]["optimizer"],
                "lr": float(chosen["lr"]), "weight_decay": float(chosen["weight_decay"]),
                "batch": slice_["recipe"]["batch"], "epochs": slice_["recipe"]["epochs"],
                "prompt_length": study.prompt_length(cell), "test_accuracy": hits, "test_loss": loss,
                "train_accuracy": float(curve["train_accuracy"][-1]), "train_loss": float(curve["train_loss"][-1]),
                "diverged": False, "tuned_parameters": tuned, "total_parameters": total,
                "train_images": trained, "test_images": len(test),
                "images_per_second": 100 * _images(cell.train) / taken, "seconds": taken,
                "compile_seconds": 0.0, "device": DEVICE,
            }
        )  # fmt: skip
    stacked = {
        kind: {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        for kind, parts in (("predictions", predictions), ("curves", curves))
    }
    return {"final": _columns(final), **stacked}


def _trained_images(study: Study, cell: Cell) -> int:
    parts = splits(study, cell.task, cell.train)["part"]
    return sum(map(parts.count, slices.final(study, cell)["parts"]))


def answers(labels: np.ndarray, difficulty: np.ndarray, accuracy: float, classes: int, rng) -> dict[str, np.ndarray]:
    """Exactly round(accuracy x images) right answers, easier images first; a little more sure than they should be."""
    hits = round(float(accuracy) * len(labels))
    order = np.argsort(difficulty + 0.6 * rng.normal(size=len(labels)))
    right = np.zeros(len(labels), dtype=bool)
    right[order[:hits]] = True
    prediction = np.where(right, labels, (labels + rng.integers(1, classes, len(labels))) % classes)
    floor = 1 / classes
    confidence = floor + (1 - floor) * np.where(right, rng.beta(5, 1.4, len(labels)), rng.beta(2.2, 1.8, len(labels)))
    wrong_share = np.maximum((1 - confidence) / max(classes - 1, 1), 1e-4)
    loss = -np.log(np.where(right, confidence, wrong_share))
    return {"prediction": prediction, "confidence": confidence, "loss": loss}


def _curve(study: Study, cell: Cell, last: float, hits: float, rng, tested: bool) -> dict[str, np.ndarray]:
    """A curve that ends where the predictions do; on far objectives with few images its test loss turns up again."""
    epochs = study.config["epochs"]
    at, start = np.arange(1, epochs + 1), math.log(study.tasks[cell.task].classes)
    falls = np.exp(-5 * rng.uniform(0.7, 1.3) * at / epochs)
    shaky = 1 + 0.01 * rng.normal(size=epochs)
    train = (0.02 + (start - 0.02) * falls) * np.abs(shaky)
    turns = study.tasks[cell.task].high_disparity and _images(cell.train) <= 2 * int(study.base_train)
    rise = 0.35 * last * (at / epochs) ** 1.5 if turns else np.zeros(epochs)
    test = (last - rise[-1]) + max(start - last + rise[-1], 0.2) * (falls - falls[-1]) * shaky + rise
    nothing = np.full(epochs, np.nan)
    return {
        "epoch": at,
        "train_loss": train,
        "train_accuracy": np.exp(-train),
        "test_loss": test if tested else nothing,
        "test_accuracy": np.clip(hits * np.exp(last - test), 0, 1) if tested else nothing,
    }


def index(study: Study, task: str) -> dict[str, list]:
    """The task's images: those of the largest size, then the test images that the predictions name."""
    row, pool = study.tasks[task], pool_size(study, task)
    test = test_rows(study, task)
    labels = np.concatenate([pool_labels(study, task), test_labels(task, row.classes, len(test))[0]])
    count = len(labels)
    return {
        "row": np.arange(count), "split": ["train"] * pool + ["test"] * len(test), "label": labels,
        "class_name": [f"class {label}" for label in labels], "key": [f"{task}/{i}" for i in range(count)],
        "source": [DEVICE] * count, "sha256": ["0" * 64] * count, "width": np.full(count, 224),
        "height": np.full(count, 224),
    }  # fmt: skip


def splits(study: Study, task: str, train: str) -> dict[str, list]:
    """The first images train, the next validate, and every test image is scored."""
    size = _images(train) if train.isdigit() else pool_size(study, task) * 4 // 5
    val = min(size // 4, pool_size(study, task) - size)
    test = test_rows(study, task)
    parts, rows = ["train"] * size + ["val"] * val, np.arange(size + val)
    if train == "one_shot":
        again = study.protocol.one_shot_final == "two_per_class"
        part, picked = ("final", rows) if again else ("train", rows[:size])
        named = [of_pick(part, pick) for pick in range(0 if again else 1, study.one_shot_picks)]
        parts, rows = parts + list(np.repeat(named, len(picked))), np.concatenate([rows, *[picked] * len(named)])
    return {"part": parts + ["test"] * len(test), "row": np.concatenate([rows, test])}


def fid(task: str, distance: float) -> dict[str, list]:
    rng = rng_of("fid", task)
    return _columns(
        [
            {
                "network": "Inception (synthetic)", "resize": "synthetic", "reference": "synthetic",
                "reference_sha256": "0" * 64, "reference_images": 50000, "reference_spread": REFERENCE_SPREAD,
                "images": 1000, "dimensions": 2048, "fid": distance,
                "fid_low": distance * rng.uniform(0.97, 0.99), "fid_high": distance * rng.uniform(1.01, 1.03),
                "fid_infinity": 0.97 * distance, "kid": distance / 2500, "kid_std": distance / 50000,
            }
        ]
    )  # fmt: skip


def explain(study: Study, task: str, predictions: Mapping[str, pd.DataFrame]) -> dict[str, list]:
    """Maps for images that one method gets right and the other wrong, picked from the synthetic predictions."""
    both = predictions["vpt"].merge(predictions["full"], on=["row", "label"], suffixes=("_vpt", "_full"))
    rows, pick = [], 0
    for case, right, wrong in (("vpt_only", "vpt", "full"), ("full_only", "full", "vpt")):
        fits = both[(both[f"prediction_{right}"] == both["label"]) & (both[f"prediction_{wrong}"] != both["label"])]
        fits = fits.sort_values([f"confidence_{right}", "row"], ascending=[False, True])
        for chosen in fits.head(study.config["explain"]["images"]).to_dict("records"):
            picture = image(task, int(chosen["row"]))
            for method in ("full", "vpt"):
                rows.append(_explained(study, task, pick, case, method, method == right, chosen, picture))
            pick += 1
    return _columns(rows)


def _explained(study, task, pick, case, method, right, chosen, picture) -> dict:
    rng = rng_of("map", task, pick, method)
    tuned_map, attribution = _blob(rng, 0.2 if right else 0.35, GRID), _blob(rng, 0.18 if right else 0.4, 56)
    return {
        "pick": pick, "row": int(chosen["row"]), "label": int(chosen["label"]), "case": case, "method": method,
        "prediction": int(chosen[f"prediction_{method}"]), "confidence": float(chosen[f"confidence_{method}"]),
        "target": int(chosen[f"prediction_{method}"]), "cam": study.config["explain"]["cam"],
        "layer": "blocks[-1].norm1", "grid_h": GRID, "grid_w": GRID,
        "map": tuned_map.ravel().tolist(), "image_png": picture,
        "ig_h": 56, "ig_w": 56, "ig_steps": 50,
        "ig": (attribution * rng.random((56, 56)) ** 2).ravel().tolist(), "ig_delta": float(rng.normal(0, 0.01)),
        "ig_difference": float(rng.uniform(4, 9)),
    }  # fmt: skip


def _blob(rng, width: float, size: int) -> np.ndarray:
    """A bump on a grid, with its maximum 1."""
    y, x = np.mgrid[0:size, 0:size] / (size - 1)
    cy, cx = rng.uniform(0.25, 0.75, 2)
    values = np.exp(-((y - cy) ** 2 + (x - cx) ** 2) / (2 * width**2)) + 0.05 * rng.random((size, size))
    return (values / values.max()).astype("float32")


def image(task: str, row: int, size: int = 112) -> bytes:
    """A picture that says that it is none: a gradient in the task's own hue, with a word on it."""
    rng, hue = rng_of("image", task, row), rng_of("hue", task).random(3)
    y, x = np.mgrid[0:size, 0:size] / size
    wave = 0.5 + 0.5 * np.sin(2 * np.pi * (x * rng.uniform(0.5, 3) + y * rng.uniform(0.5, 3) + rng.random()))
    pixels = (255 * (0.35 + 0.5 * wave[..., None] * hue + 0.1 * rng.random((size, size, 1)))).clip(0, 255)
    picture = Image.fromarray(pixels.astype(np.uint8))
    ImageDraw.Draw(picture).text((size // 2, size // 2), "synthetic", fill="white", anchor="mm")
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG")
    return buffer.getvalue()


def examples(study: Study, task: str, count: int) -> dict[str, list]:
    """Pictures of a few test images, for the figure that shows every data set."""
    labels = test_labels(task, study.tasks[task].classes, len(test_rows(study, task)))[0]
    rows = test_rows(study, task)[:count]
    return _columns(
        [
            {"row": int(row), "label": int(label), "class_name": f"class {label}", "image_png": image(task, int(row))}
            for row, label in zip(rows, labels, strict=False)
        ]
    )


def _columns(rows: list[dict]) -> dict[str, list]:
    return {name: [row[name] for row in rows] for name in rows[0]} if rows else {}
