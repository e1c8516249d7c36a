"""How much of a choice is luck: the selection noise of the validation images, by bootstrap of stored predictions.

In: a cell's rows of kind `search`, whose `val_predictions` are kept, and the labels of its val images. Out: how often
another configuration would have been chosen on other images of the same kind, and what the chosen one's accuracy is
worth. Nothing is trained again.

    python -m pytest tests/vptcore/analysis/test_selection.py
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from vptcore.analysis.paired import shrunk
from vptcore.records import RowsError
from vptcore.training.choose import longest

REPEATS = 1000


@dataclass(frozen=True)
class Selection:
    """What resampling the val images says of one search; accuracies are fractions.

    accuracy: of the chosen configuration on val. low, high: its 95 % percentile interval. other: share of resamples
    that choose another configuration. rivals: configurations that were ever chosen. gain: how far the best of a
    resample lies above its accuracy on all val images, on average, which is what choosing by val flatters by.
    """

    images: int
    configurations: int
    chosen: int
    accuracy: float
    low: float
    high: float
    other: float
    rivals: int
    gain: float


def selection_noise(search: pd.DataFrame, labels_V: np.ndarray, repeats: int = REPEATS, seed: int = 0) -> Selection:
    """Bootstrap of one search: every resample chooses by `training.choose`'s rule, all configurations on its images.

    `RowsError` where predictions are not one a val image, or do not give the stored val accuracy.
    """
    ranked = _ranked(search)
    right_CV = _right(ranked, np.asarray(labels_V))
    V = right_CV.shape[1]
    rng = np.random.default_rng(seed)
    counts_RV = rng.multinomial(V, np.full(V, 1 / V), size=repeats)
    # Sums of whole numbers are exact, so ties are ties; argmax takes the first, which has the smaller rate and decay.
    scores_RC = counts_RV.astype(float) @ right_CV.T.astype(float)
    whole_C = right_CV.sum(1)
    chosen, picks_R = int(whole_C.argmax()), scores_RC.argmax(1)
    low, high = np.percentile(scores_RC[:, chosen] / V, [2.5, 97.5])
    gain_R = scores_RC[np.arange(repeats), picks_R] - whole_C[picks_R]
    return Selection(
        images=V, configurations=len(right_CV), chosen=int(ranked["config"].iloc[chosen]),
        accuracy=float(whole_C[chosen] / V), low=float(low), high=float(high),
        other=float((picks_R != chosen).mean()), rivals=len(np.unique(picks_R)),
        gain=float(gain_R.mean() / V),
    )  # fmt: skip


@dataclass(frozen=True)
class Corrected:
    """What a choice by val is worth; accuracies are fractions.

    accuracy: of the winner on images that did not choose it. low, high: its 95 % percentile interval. best: for each
    method, the probability that its choice is the best one, drawn towards equal chances where val images are few.
    """

    accuracy: float
    low: float
    high: float
    best: dict[str, float]


def corrected_choice(grids: Mapping[str, np.ndarray], repeats: int = REPEATS, seed: int = 0) -> Corrected:
    """Bootstrap of the choice over all configurations of all methods, scored out of bag (Tsamardinos et al., 2018).

    grids: method -> (configurations, images) of right answers on the same val images, the configuration that wins a tie
    first. Every resample chooses on the images it drew, and scores what it chose on those it did not. ValueError
    without two images, or where their numbers differ.
    """
    widths = {grid.shape[1] for grid in grids.values()}
    if len(widths) != 1 or min(widths) < 2:
        raise ValueError(
            f"corrected choice: {sorted(widths)} val images; expected the same two or more for all methods"
        )
    V = widths.pop()
    counts_RV = np.random.default_rng(seed).multinomial(V, np.full(V, 1 / V), size=repeats)
    counts_RV = counts_RV[(counts_RV == 0).any(1)]
    outside_RV = (counts_RV == 0).astype(float)
    picked = [_picked(grid.astype(float), counts_RV, outside_RV) for grid in grids.values()]
    inside_RM, scored_RM = (np.stack(part, axis=1) for part in zip(*picked, strict=True))
    scores_R = scored_RM[np.arange(len(scored_RM)), inside_RM.argmax(1)]
    best_RM = scored_RM >= scored_RM.max(1, keepdims=True) - 1e-12
    chances = shrunk((best_RM / best_RM.sum(1, keepdims=True)).mean(0), V)
    low, high = np.percentile(scores_R, [2.5, 97.5])
    return Corrected(float(scores_R.mean()), float(low), float(high), dict(zip(grids, chances.tolist(), strict=True)))


def _picked(right_CV: np.ndarray, counts_RV: np.ndarray, outside_RV: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(R,) right answers of a method's choice on the resample, and its accuracy on the images outside."""
    inside_RC, outside_RC = counts_RV @ right_CV.T, outside_RV @ right_CV.T / outside_RV.sum(1, keepdims=True)
    choice_R, rows = inside_RC.argmax(1), np.arange(len(inside_RC))
    return inside_RC[rows, choice_R], outside_RC[rows, choice_R]


def grid_mean(search: pd.DataFrame, images: int) -> np.ndarray | None:
    """(V, C): the mean of the probabilities that the configurations give each class, of those that did not diverge.

    Nothing is chosen, so that its accuracy on these images needs no correction. None where logits were not kept;
    RowsError where they are not those of so many images.
    """
    kept = _ranked(search)["val_logits"].to_list()
    if any(logits is None for logits in kept):
        return None
    if {len(logits) % images if images else len(logits) for logits in kept} != {0} or len({len(k) for k in kept}) > 1:
        raise RowsError(f"search: {len(kept[0])} val logits, which is no number for each class of {images} images")
    logits_GVC = np.stack(kept).astype(float).reshape(len(kept), images, -1)
    odds_GVC = np.exp(logits_GVC - logits_GVC.max(-1, keepdims=True))
    return (odds_GVC / odds_GVC.sum(-1, keepdims=True)).mean(0)


def right_answers_of(search: pd.DataFrame, labels_V: np.ndarray) -> np.ndarray:
    """(C, V): what each configuration that can be chosen answered right, the one that wins a tie first; RowsError."""
    return _right(_ranked(search), np.asarray(labels_V))


def _ranked(search: pd.DataFrame) -> pd.DataFrame:
    """The configurations that can be chosen, on the longest schedule, the one that wins a tie first."""
    search = longest(search)
    repeated = search[search.duplicated("config")]
    if len(repeated):
        raise RowsError(f"search: configuration {repeated['config'].iloc[0]} occurs twice; expected one row each")
    usable = search[~search["diverged"].astype(bool) & search["val_accuracy"].notna()]
    if usable.empty:
        raise RowsError("search: every configuration diverged; there is nothing to choose")
    return usable.sort_values(["lr", "weight_decay"], kind="stable")


def _right(ranked: pd.DataFrame, labels_V: np.ndarray) -> np.ndarray:
    """(C, V): whether each configuration answered each val image right."""
    lengths = {len(predictions) for predictions in ranked["val_predictions"]}
    if lengths != {len(labels_V)}:
        raise RowsError(f"search: {min(lengths)} val predictions, but the split has {len(labels_V)} val images")
    right_CV = np.stack(ranked["val_predictions"].to_list()) == labels_V
    stored_C = ranked["val_accuracy"].to_numpy(float)
    if len(labels_V) and not np.allclose(right_CV.mean(1), stored_C, atol=0.5 / len(labels_V) + 1e-6):
        raise RowsError("search: val predictions do not give the stored val accuracy; the split is another one")
    return right_CV


def standard_error(accuracy: float, images: int) -> float:
    """Of an accuracy over so many images, as a binomial share."""
    return math.sqrt(accuracy * (1 - accuracy) / images) if images else math.nan
