"""Studies and rows made up for the report's tests; every number follows from its cell and seed."""

from __future__ import annotations

import io
import zlib

import numpy as np
import pandas as pd
from PIL import Image

from vptcore.data.tasks import EMBEDDED, FGVC, TASKS, VTAB
from vptcore.models.backbones import BACKBONES
from vptcore.models.methods_table import METHODS, everything
from vptcore.training.protocol import PROTOCOLS
from vptstudy.study import Cell, Study

LEVELS = {"natural": 0.75, "specialized": 0.82, "structured": 0.45, "fgvc": 0.85}
GAINS = {"full": 0.0, "vpt": 0.03, "mixed": -0.03, "ft_then_pt": 0.01, "linear": -0.1, "mlp": -0.08, "lora": 0.02}


def make_study(cells, name="made_up", base="800", seeds=(42, 44, 82, 100, 800), tasks=None, report=None) -> Study:
    tasks = tasks or dict(TASKS)
    explained = [task for task in tasks if tasks[task].group != "fgvc"]
    config = {
        "base_train": base,
        "fid": {"network": "main", "images": 1000, "bootstrap": 10},
        "regrid": False,
        "curves": {"seeds": "all", "images": 250},
        "report": report or {},
        "results": "results",
        "explain": {"tasks": explained, "images": 2},
    }
    return Study(name, config, PROTOCOLS["paper"], dict(BACKBONES), tasks, tuple(seeds), tuple(cells))


def paper_study() -> Study:
    """The paper's cells: VTAB at all sizes and one-shot, the strategies, three more backbones, FGVC, LoRA on a task."""
    main, cells = "vit_b16_sup21k", []
    for task in VTAB:
        cells += [Cell(main, m, task.id, "800") for m in ("full", "vpt", "mixed", "ft_then_pt", "linear")]
        cells += [
            Cell(main, m, task.id, s)
            for s in ("400", "5000", "10000", "20000")
            if 1.25 * int(s) <= task.pool
            for m in ("full", "vpt")
        ]
        cells += [Cell(main, m, task.id, "one_shot") for m in ("full", "vpt")]
        cells += [
            Cell(b, m, task.id, "800")
            for b in ("swin_b_sup21k", "vit_b16_mae", "vit_b16_mocov3")
            for m in ("full", "vpt")
        ]
    cells += [Cell(main, "lora", "cifar100", s) for s in ("400", "800", "10000")]
    cells += [Cell(main, m, task.id, "train") for task in FGVC for m in ("full", "vpt")]
    return make_study(cells, "paper")


def demo_study() -> Study:
    mini = "vit_mini_cifar10"
    cells = [
        Cell(mini, m, task.id, "160")
        for task in EMBEDDED
        for m in ("full", "vpt", "mixed", "ft_then_pt", "linear", "mlp")
    ]
    cells += [Cell(mini, m, task.id, "40") for task in EMBEDDED for m in ("full", "vpt")]
    return make_study(cells, "demo", base="160", seeds=(42, 44, 82))


def _rng(*key) -> np.random.Generator:
    return np.random.default_rng(zlib.crc32("/".join(map(str, key)).encode()))


def final_rows(study: Study, cells=None) -> pd.DataFrame:
    rows = []
    for cell in study.cells if cells is None else cells:
        task, rng = study.tasks[cell.task], _rng(cell.folder)
        size = {"one_shot": -0.35, "train": 0.0}.get(cell.train)
        size = 0.05 * np.log10(int(cell.train) / 800) if size is None else size
        gain = GAINS.get(cell.method, 0.0)
        level = LEVELS[task.group] + gain + size + _rng(cell.task).normal(0, 0.06) + rng.normal(0, 0.03)
        prompts = 10 if METHODS[cell.method].prompts else None
        tuned = 85_800_000 if METHODS[cell.method].trains is everything else 92_160 + 769 * task.classes
        for seed in study.seeds:
            accuracy = round(float(np.clip(level + rng.normal(0, 0.008), 0.02, 0.99)), 3)
            rows.append(
                {
                    "backbone": cell.backbone,
                    "method": cell.method,
                    "task": cell.task,
                    "train": cell.train,
                    "seed": seed,
                    "config": 0,
                    "optimizer": "sgd",
                    "lr": 0.1,
                    "weight_decay": 0.0,
                    "batch": 64,
                    "epochs": 100,
                    "prompt_length": prompts,
                    "test_accuracy": accuracy,
                    "test_loss": -np.log(accuracy),
                    "train_accuracy": 1.0,
                    "train_loss": 0.01,
                    "diverged": False,
                    "tuned_parameters": tuned,
                    "total_parameters": 85_800_000 + (0 if tuned == 85_800_000 else tuned),
                    "train_images": 800,
                    "test_images": task.test,
                    "images_per_second": 1000.0,
                    "seconds": 10.0,
                    "compile_seconds": 0.0,
                    "device": "cpu",
                }
            )
    frame = pd.DataFrame(rows)
    return frame.astype({"prompt_length": "Int32"}) if len(frame) else frame


def curve_rows(study: Study, cells, epochs=30, tested=1) -> pd.DataFrame:
    rows = []
    for cell in cells:
        rng, hard = _rng("curve", cell.folder), study.tasks[cell.task].group == "structured"
        speed, floor = rng.uniform(0.1, 0.3), rng.uniform(0.3, 0.8)
        for place, seed in enumerate(study.seeds):
            for epoch in range(epochs):
                train = 2.3 * np.exp(-speed * epoch) + 0.01 + rng.random() * 0.02
                test = floor + 1.8 * np.exp(-speed * epoch) + (0.04 * epoch if hard else 0) + 0.02 * rng.random()
                rows.append(
                    {
                        "backbone": cell.backbone,
                        "method": cell.method,
                        "task": cell.task,
                        "train": cell.train,
                        "seed": seed,
                        "epoch": epoch,
                        "lr": 0.1,
                        "train_loss": train,
                        "train_accuracy": 0.5,
                        "test_loss": test if place < tested else None,
                        "test_accuracy": 0.5 if place < tested else None,
                    }
                )
    return pd.DataFrame(rows)


def fid_rows(tasks, network="vit_mini_cifar10") -> pd.DataFrame:
    values = {task: float(_rng("fid", task).uniform(40, 220)) for task in tasks}
    return pd.DataFrame(
        [
            {
                "task": t,
                "network": network,
                "resize": "pytorch-fid",
                "reference": "cifar10",
                "reference_sha256": "0" * 64,
                "reference_images": 1000,
                "reference_spread": 130.0,
                "images": 1000,
                "dimensions": 128,
                "fid": v,
                "fid_low": v * 0.97,
                "fid_high": v * 1.03,
                "fid_infinity": v * 0.8,
                "kid": v / 2000,
                "kid_std": v / 20000,
            }
            for t, v in values.items()
        ]
    )


def explain_rows(study: Study, backbone: str, tasks, picks=4, grid=7) -> pd.DataFrame:
    rows = []
    for task in tasks:
        classes = study.tasks[task].classes
        for pick in range(picks):
            rng = _rng("explain", task, pick)
            pixels = rng.integers(0, 255, (8, 8, 3), dtype=np.uint8)
            buffer = io.BytesIO()
            Image.fromarray(pixels).resize((64, 64)).save(buffer, "PNG")
            for method in ("full", "vpt"):
                rows.append(
                    {
                        "backbone": backbone,
                        "task": task,
                        "train": study.base_train,
                        "pick": pick,
                        "row": pick,
                        "label": pick % classes,
                        "case": "vpt_only" if pick % 2 == 0 else "full_only",
                        "method": method,
                        "prediction": (pick + (method == "full")) % classes,
                        "confidence": 0.8,
                        "target": pick % classes,
                        "cam": "plain",
                        "layer": "blocks.5.norm1",
                        "grid_h": grid,
                        "grid_w": grid,
                        "map": rng.random(grid * grid).astype("float32"),
                        "image_png": buffer.getvalue(),
                        "ig_h": 8,
                        "ig_w": 8,
                        "ig_steps": 50,
                        "ig": rng.random(64).astype("float32"),
                        "ig_delta": 0.02,
                        "ig_difference": 4.0,
                    }
                )
    return pd.DataFrame(rows)


def search_rows(study: Study, cells=None) -> pd.DataFrame:
    """A grid of 2 learning rates and 2 decays for every search of the study; one configuration of full diverged."""
    rows = []
    for cell in study.searches if cells is None else cells:
        rng = _rng("search", cell.folder)
        for config, (lr, decay) in enumerate((lr, decay) for lr in (0.1, 0.01) for decay in (0.01, 0.0)):
            diverged = cell.method == "full" and config == 0
            accuracy = float("nan") if diverged else float(rng.uniform(0.3, 0.8))
            rows.append(
                {
                    "backbone": cell.backbone, "method": cell.method, "task": cell.task, "train": cell.train,
                    "config": config, "seed": 0, "optimizer": "sgd", "lr": lr, "weight_decay": decay, "batch": 64,
                    "epochs": 100, "prompt_length": None, "val_accuracy": accuracy, "val_loss": 1.0,
                    "train_accuracy": 1.0, "train_loss": 0.1, "diverged": diverged, "tuned_parameters": 1000,
                    "total_parameters": 2000, "train_images": 128, "val_images": 32, "images_per_second": 100.0,
                    "seconds": float(rng.uniform(1, 3)), "compile_seconds": 0.0, "device": "cpu",
                    "val_predictions": [0, 1],
                }
            )  # fmt: skip
    return pd.DataFrame(rows)


def prediction_rows(study: Study, cells, images=60) -> pd.DataFrame:
    """Answers that are right as often as they are sure."""
    parts = []
    for cell in cells:
        rng, classes = _rng("predictions", cell.folder), study.tasks[cell.task].classes
        for seed in study.seeds:
            label, confidence = rng.integers(0, classes, images), rng.uniform(0.2, 1, images)
            right = rng.random(images) < confidence
            rows = {
                "seed": seed, "row": np.arange(images), "label": label,
                "prediction": np.where(right, label, (label + 1) % classes), "confidence": confidence,
                "loss": -np.log(confidence),
            }  # fmt: skip
            where = {"backbone": cell.backbone, "method": cell.method, "task": cell.task, "train": cell.train}
            parts.append(pd.DataFrame({**where, **rows}))
    return pd.concat(parts, ignore_index=True)


def answers_of(final: pd.DataFrame, images: int = 1000) -> dict[Cell, pd.DataFrame]:
    """Cell -> rows of kind `predictions` that give the accuracies of its final rows, easier images first."""
    found = {}
    for key, rows in final.groupby(["backbone", "method", "task", "train"], sort=False):
        cell = Cell(*key)
        ease, rng = _rng("ease", cell.task).normal(size=images), _rng("answers", cell.folder)
        parts = []
        for seed, accuracy in zip(rows.seed, rows.test_accuracy, strict=True):
            order = np.argsort(ease + 0.6 * rng.normal(size=images))
            right = np.zeros(images, dtype=int)
            right[order[: round(accuracy * images)]] = 1
            parts.append(pd.DataFrame({"seed": seed, "row": np.arange(images), "label": 1, "prediction": right}))
        found[cell] = pd.concat(parts, ignore_index=True)
    return found


def example_rows(tasks, count=4) -> pd.DataFrame:
    rows = []
    for task in tasks:
        for place in range(count):
            buffer = io.BytesIO()
            Image.fromarray(np.full((9, 12), 40 * place, np.uint8)).save(buffer, "PNG")
            rows.append({"task": task, "row": place, "label": 0, "class_name": "a", "image_png": buffer.getvalue()})
    return pd.DataFrame(rows)
