"""What the rungs left on disk, as the matrices and numbers that `decide` and `say` read.

In: a rung's `Study`. Out: of each search the answers on val and the rate they were given with; of the finals the
answers on test, and what an arm costs. Nothing is trained.

    python -m pytest tests/vptstudy/advise
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from vptcore.records import read_rows
from vptcore.training.choose import choose
from vptstudy.advise.ladder import Tried
from vptstudy.advise.rungs import REFERENCE_BATCH, Arm
from vptstudy.graph import flow
from vptstudy.study import Cell, Study


def labels_of(study: Study, cell: Cell, part: str) -> np.ndarray:
    """The labels of a part's images, in the order of the stored predictions."""
    files = flow.task_files(study, cell.task, cell.train)
    labels = read_rows(files["index"], "index").set_index("row")["label"]
    splits = read_rows(files["splits"], "splits")
    return labels.loc[splits.loc[splits["part"] == part, "row"]].to_numpy()


def tried(study: Study) -> dict[Arm, Tried]:
    """Arm -> its search in this study, each task of which is a fold. One that diverged at every rate is left out."""
    cells: dict[Arm, list[Cell]] = {}
    for cell in study.searches:
        cells.setdefault(Arm(cell.method, study.prompt_length(cell)), []).append(cell)
    found = {arm: [_searched(study, cell) for cell in of_arm] for arm, of_arm in cells.items()}
    return {arm: _joined(folds) for arm, folds in found.items() if None not in folds}


@dataclass(frozen=True)
class _Searched:
    rates: tuple[float, ...]
    best: float
    right_N: np.ndarray
    tuned: int


def _searched(study: Study, cell: Cell) -> _Searched | None:
    rows = read_rows(study.path("search", cell), "search")
    if rows["diverged"].all():
        return None
    best = choose(rows)
    scale = float(best["batch"]) / REFERENCE_BATCH
    right_N = np.asarray(best["val_predictions"]) == labels_of(study, cell, "val")
    rates = tuple(sorted(float(rate) * scale for rate in set(rows["lr"])))
    return _Searched(rates, float(best["lr"]) * scale, right_N.astype(float), int(best["tuned_parameters"]))


def _joined(folds: list[_Searched]) -> Tried:
    first = folds[0]
    return Tried(first.rates, tuple(one.best for one in folds), tuple(one.right_N for one in folds), first.tuned)


@dataclass(frozen=True)
class Finished:
    """An arm's finals on test: (S, N) right answers and answers, the images' index rows and labels, what it costs.

    The N images are those of all folds, and `cell` is the first one's.
    """

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
    cells: dict[Arm, list[Cell]] = {}
    for cell in study.cells:
        cells.setdefault(Arm(cell.method, study.prompt_length(cell)), []).append(cell)
    return {arm: _beside([_finished(study, cell) for cell in of_arm]) for arm, of_arm in cells.items()}


def _finished(study: Study, cell: Cell) -> Finished:
    final = read_rows(study.path("final", cell), "final")
    predictions = read_rows(study.path("predictions", cell), "predictions")
    seeds = [predictions[predictions["seed"] == seed] for seed in final["seed"]]
    answers_SN = np.stack([seed["prediction"].to_numpy() for seed in seeds])
    labels_N = seeds[0]["label"].to_numpy()
    return Finished(
        cell, (answers_SN == labels_N).astype(float), answers_SN, seeds[0]["row"].to_numpy(), labels_N,
        int(final["tuned_parameters"].iloc[0]), int(final["total_parameters"].iloc[0]),
        float(final["seconds"].mean()), float(final["lr"].iloc[0]),
    )  # fmt: skip


def _beside(folds: list[Finished]) -> Finished:
    """The folds of one arm, their images beside each other."""
    joined = {
        name: np.concatenate([getattr(fold, name) for fold in folds], axis=-1)
        for name in ("right_SN", "answers_SN", "rows_N", "labels_N")
    }
    return replace(folds[0], **joined, seconds=float(np.mean([fold.seconds for fold in folds])))
