"""Studies made up for the report's tests, and rows of them as frames: `vptstudy.rehearsal.rows` draws every one.

What a rehearsal takes from the paper's printed numbers is set here by the group of a task and by the method, so that a
test knows which way a comparison goes.
"""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pandas as pd

from vptcore.data.tasks import EMBEDDED, FGVC, TASKS, VTAB
from vptcore.models.backbones import BACKBONES
from vptcore.training.protocol import PROTOCOLS
from vptstudy.config.defaults import with_defaults
from vptstudy.rehearsal import rows
from vptstudy.rehearsal.levels import rng_of
from vptstudy.study import Cell, Study

LEVELS = {"natural": 0.75, "specialized": 0.82, "structured": 0.45, "fgvc": 0.85}
GAINS = {"full": 0.0, "vpt": 0.03, "mixed": -0.03, "ft_then_pt": 0.01, "linear": -0.1, "mlp": -0.08, "lora": 0.02}
CELL = [field.name for field in fields(Cell)]
GRID = {"lr": [0.1, 0.01], "weight_decay": [0.01, 0.0]}


def make_study(cells, name="made_up", base="800", seeds=(42, 44, 82, 100, 800), tasks=None, report=None) -> Study:
    tasks = tasks or dict(TASKS)
    methods = {cell.method: {"batch": 64, "grid": GRID} for cell in cells}
    short = {"epochs": 30, "curves": {"images": 250}}
    config = with_defaults({"study": name, "methods": methods, "report": report or {}, **short})
    config |= {"base_train": base, "fid": {**config["fid"], "network": "main"}, "regrid": False, "tasks": {}}
    config["explain"] = {**config["explain"], "tasks": [t for t in tasks if tasks[t].group != "fgvc"], "images": 2}
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


def level(study: Study, cell: Cell) -> float:
    """The accuracy that a cell's seeds scatter around: a task's, a method's gain and a little of the cell's own."""
    size = {"one_shot": -0.35, "train": 0.0}.get(cell.train)
    size = 0.05 * np.log10(int(cell.train) / 800) if size is None else size
    own = rng_of(cell.task).normal(0, 0.06) + rng_of(cell.folder).normal(0, 0.03)
    return LEVELS[study.tasks[cell.task].group] + GAINS.get(cell.method, 0.0) + size + own


def final_rows(study: Study, cells=None) -> pd.DataFrame:
    return _together(study.cells if cells is None else cells, lambda cell: _finals(study, cell)["final"])


def curve_rows(study: Study, cells) -> pd.DataFrame:
    return _together(cells, lambda cell: _finals(study, cell)["curves"])


def prediction_rows(study: Study, cells) -> pd.DataFrame:
    return _together(cells, lambda cell: _finals(study, cell)["predictions"])


def search_rows(study: Study, cells=None) -> pd.DataFrame:
    return _together(study.searches if cells is None else cells, lambda cell: _searched(study, cell))


def answers_of(final: pd.DataFrame, images: int = 1000) -> dict[Cell, pd.DataFrame]:
    """Cell -> rows of kind `predictions` that give the accuracies of its final rows, easier images first."""
    found = {}
    for key, mine in final.groupby(CELL, sort=False):
        cell, rng = Cell(*key), rng_of("answers", *key)
        labels, difficulty = rows.test_labels(cell.task, 2, images)
        seeds = []
        for seed, accuracy in zip(mine.seed, mine.test_accuracy, strict=True):
            given = rows.answers(labels, difficulty, accuracy, 2, rng)
            seeds.append(pd.DataFrame({"seed": seed, "row": np.arange(images), "label": labels, **given}))
        found[cell] = pd.concat(seeds, ignore_index=True)
    return found


def fid_rows(tasks, network="vit_mini_cifar10") -> pd.DataFrame:
    drawn = []
    for task in tasks:
        distance = float(rng_of("distance", task).uniform(40, 220))
        drawn.append(pd.DataFrame(rows.fid(task, distance)).assign(task=task))
    return pd.concat(drawn, ignore_index=True).assign(network=network, reference="cifar10", reference_spread=130.0)


def explain_rows(study: Study, backbone: str, tasks) -> pd.DataFrame:
    parts = []
    for task in tasks:
        cells = {method: Cell(backbone, method, task, study.base_train) for method in ("full", "vpt")}
        answers = {method: pd.DataFrame(_finals(study, cell)["predictions"]) for method, cell in cells.items()}
        one = {method: frame[frame.seed == study.seeds[0]] for method, frame in answers.items()}
        parts.append(pd.DataFrame(rows.explain(study, task, one)).assign(backbone=backbone, task=task))
    return pd.concat(parts, ignore_index=True).assign(train=study.base_train)


def example_rows(study: Study, tasks, count=4) -> pd.DataFrame:
    parts = [pd.DataFrame(rows.examples(study, task, count)).assign(task=task) for task in tasks]
    return pd.concat(parts, ignore_index=True)


def _searched(study: Study, cell: Cell) -> dict[str, list]:
    return rows.search(study, cell, level(study, cell))


def _finals(study: Study, cell: Cell) -> dict[str, dict]:
    return rows.finals(study, cell, level(study, cell), _searched(study, study.searched_by(cell)))


def _together(cells, columns) -> pd.DataFrame:
    parts = [pd.DataFrame(columns(cell)).assign(**{name: getattr(cell, name) for name in CELL}) for cell in cells]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=CELL)
