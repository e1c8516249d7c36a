"""What the rungs left on disk, as the matrices and numbers that `decide` and `say` read.

In: a rung's `Study`. Out: of each search the answers on val and the rate they were given with; of the finals the
answers on test, and what an arm costs. Nothing is trained.

    python -m pytest tests/vptstudy/advise
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from vptcore.records import read_rows
from vptcore.training.choose import choose
from vptstudy.advise.rungs import REFERENCE_BATCH, Arm
from vptstudy.graph import flow
from vptstudy.study import Cell, Study


@dataclass(frozen=True)
class Tried:
    """An arm's search. `rates` and `best` are as the optimizer sees them; `right_N` are the best one's val answers."""

    rates: tuple[float, ...]
    best: float
    accuracy: float
    right_N: np.ndarray
    tuned: int
    seconds: float


def labels_of(study: Study, cell: Cell, part: str) -> np.ndarray:
    """The labels of a part's images, in the order of the stored predictions."""
    files = flow.task_files(study, cell.task, cell.train)
    labels = read_rows(files["index"], "index").set_index("row")["label"]
    splits = read_rows(files["splits"], "splits")
    return labels.loc[splits.loc[splits["part"] == part, "row"]].to_numpy()


def tried(study: Study) -> dict[Arm, Tried]:
    """Arm -> its search in this study. One that diverged at every rate is left out."""
    found = {}
    for cell in study.searches:
        rows = read_rows(study.path("search", cell), "search")
        if rows["diverged"].all():
            continue
        found[Arm(cell.method, study.prompt_length(cell))] = _tried(study, cell, rows)
    return found


def _tried(study: Study, cell: Cell, rows: pd.DataFrame) -> Tried:
    best = choose(rows)
    scale = float(best["batch"]) / REFERENCE_BATCH
    right_N = np.asarray(best["val_predictions"]) == labels_of(study, cell, "val")
    rates = tuple(sorted(float(rate) * scale for rate in set(rows["lr"])))
    return Tried(
        rates, float(best["lr"]) * scale, float(best["val_accuracy"]), right_N.astype(float),
        int(best["tuned_parameters"]), float(rows["seconds"].sum()),
    )  # fmt: skip


def merged(first: Tried, second: Tried) -> Tried:
    """Two searches of one arm as one: the better of both, the smaller rate where they tie."""
    order = sorted((first, second), key=lambda one: (-one.accuracy, one.best))
    return Tried(
        tuple(sorted({*first.rates, *second.rates})), order[0].best, order[0].accuracy, order[0].right_N,
        order[0].tuned, first.seconds + second.seconds,
    )  # fmt: skip


@dataclass(frozen=True)
class Finished:
    """An arm's finals on test: (S, N) right answers and answers, the images' index rows and labels, what it costs."""

    cell: Cell
    right_SN: np.ndarray
    answers_SN: np.ndarray
    rows_N: np.ndarray
    labels_N: np.ndarray
    tuned: int
    total: int
    seconds: float
    rate: float


def finished(study: Study) -> dict[Arm, Finished]:
    found = {}
    for cell in study.cells:
        final = read_rows(study.path("final", cell), "final")
        predictions = read_rows(study.path("predictions", cell), "predictions")
        seeds = [predictions[predictions["seed"] == seed] for seed in final["seed"]]
        answers_SN = np.stack([seed["prediction"].to_numpy() for seed in seeds])
        labels_N = seeds[0]["label"].to_numpy()
        found[Arm(cell.method, study.prompt_length(cell))] = Finished(
            cell, (answers_SN == labels_N).astype(float), answers_SN, seeds[0]["row"].to_numpy(), labels_N,
            int(final["tuned_parameters"].iloc[0]), int(final["total_parameters"].iloc[0]),
            float(final["seconds"].mean()), float(final["lr"].iloc[0]),
        )  # fmt: skip
    return found
