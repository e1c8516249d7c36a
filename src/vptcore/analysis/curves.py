"""Loss curves: their mean over seeds, and which of them overfit by a stated rule.

In: rows of kind `curves`, and of kind `final` for the seeds that diverged, as `records.read_many` gives them. Out:
frames, one row per cell and epoch, or one per cell.

    python -m pytest tests/vptcore/analysis/test_curves.py
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from vptcore.analysis.statistics import CELL, estimate
from vptcore.records import RowsError

# Overfitting (paper §5.1: "testing error increases as training progresses") needs a rule. The rise of a seed is its
# last test loss minus that at the epoch of the minimum, smoothed over a tenth of the epochs. A cell overfits if the
# rise is clear over seeds and no smaller than this share of the minimum, and this many nats.
RISE, NATS = 0.05, 0.01
SMOOTHED = 10
LOSSES = ["train_loss", "test_loss"]
COLUMNS = [
    *CELL, "seeds", "diverged", "minimum_epoch", "minimum", "last", "rise", "low", "high", "relative_rise", "overfits",
]  # fmt: skip


def mean_curves(curves: pd.DataFrame) -> pd.DataFrame:
    """One row per cell and epoch: train_loss and test_loss averaged over the seeds that have them, and their number."""
    _check(curves)
    values = curves.assign(**{name: curves[name].astype(float) for name in LOSSES})
    grouped = values.groupby([*CELL, "epoch"], sort=False)
    means = grouped[LOSSES].mean()
    return means.join(grouped[LOSSES].count().add_suffix("_seeds")).reset_index()


def overfitting(curves: pd.DataFrame, final: pd.DataFrame | None = None) -> pd.DataFrame:
    """One row per cell with a test curve: seeds with a whole one, and diverged; the mean minimum, last and rise (last −
    minimum) in nats; the rise's 95 % interval over seeds; and whether it overfits.

    Diverged seeds are those that `final` marks, and those whose test loss ends early; they are counted and not
    averaged. A cell all of whose curves diverged has NaN for losses. With one seed there is no interval: the least size
    alone decides.
    """
    _check(curves)
    ended = _diverged(final)
    rows = [_of_cell(key, cell, ended.get(key, set())) for key, cell in curves.groupby(CELL, sort=False)]
    return pd.DataFrame([row for row in rows if row["seeds"] + row["diverged"]], columns=COLUMNS)


def _of_cell(key: tuple, cell: pd.DataFrame, ended: set[int]) -> dict:
    wide = cell.pivot(index="epoch", columns="seed", values="test_loss").astype(float).sort_index()
    wide = wide.dropna(axis=1, how="all")
    whole = wide.loc[:, np.isfinite(wide.to_numpy()).all(0) & ~wide.columns.isin(list(ended))]
    found = {**dict(zip(CELL, key, strict=True)), "seeds": whole.shape[1], "overfits": False}
    found["diverged"] = len(ended | (set(wide.columns) - set(whole.columns)))
    if whole.empty:
        return found
    rises, minima, epoch = _rises(whole)
    rise, minimum = estimate(rises), float(minima.mean())
    is_large = rise.mean >= max(RISE * minimum, NATS)
    return found | {
        "minimum_epoch": epoch, "minimum": minimum, "last": float(whole.iloc[-1].mean()), "rise": rise.mean,
        "low": rise.low, "high": rise.high, "relative_rise": rise.mean / minimum if minimum > 0 else float("nan"),
        "overfits": bool(is_large and not rise.low <= 0),
    }  # fmt: skip


def _rises(whole_ES: pd.DataFrame) -> tuple[np.ndarray, np.ndarray, int]:
    """(S,) rises, (S,) smoothed minima, and the epoch of the minimum of the mean.

    Where each seed's minimum lies is taken from the other seeds: the lowest of many noisy values is too low, and a
    seed's own minimum would make every flat curve rise.
    """
    width = max(1, len(whole_ES) // SMOOTHED)
    smooth_ES = whole_ES.rolling(width).mean().iloc[width - 1 :]
    values_ES, seeds = smooth_ES.to_numpy(), whole_ES.shape[1]
    others_ES = values_ES if seeds == 1 else values_ES.sum(1, keepdims=True) - values_ES
    minima_S = values_ES[others_ES.argmin(0), np.arange(seeds)]
    lowest = int(values_ES.mean(1).argmin())
    return whole_ES.iloc[-1].to_numpy() - minima_S, minima_S, int(smooth_ES.index[lowest]) - width // 2


def _diverged(final: pd.DataFrame | None) -> dict[tuple, set[int]]:
    """Cell -> its seeds that diverged."""
    if final is None or final.empty or "diverged" not in final:
        return {}
    ended = final[final["diverged"].fillna(False).astype(bool)]
    return {key: set(cell["seed"]) for key, cell in ended.groupby(CELL, sort=False)}


def _check(curves: pd.DataFrame) -> None:
    repeated = curves[curves.duplicated([*CELL, "seed", "epoch"])]
    if len(repeated):
        row = repeated.iloc[0]
        where = "/".join(f"{name}={row[name]}" for name in CELL)
        raise RowsError(
            f"{where}: seed {row.seed}, epoch {row.epoch} occurs twice; expected one row per seed and epoch"
        )
