"""Loss curves: their mean over seeds, and which of them overfit by a stated rule.

In: rows of kind `curves` as `records.read_many` gives them. Out: frames, one row per cell and epoch, or one per cell.
Imports no torch.

    python -m pytest tests/analysis/test_curves.py
"""

from __future__ import annotations

import pandas as pd

from vptcore.analysis.statistics import CELL
from vptcore.records import RowsError

# Overfitting (paper §5.1: "testing error increases as training progresses") needs a threshold: the rise of the test
# loss from its minimum to the last epoch must exceed 5 % of that minimum and the spread between seeds.
RISE = 0.05
LOSSES = ["train_loss", "test_loss"]


def mean_curves(curves: pd.DataFrame) -> pd.DataFrame:
    """One row per cell and epoch: train_loss and test_loss averaged over the seeds that have them, and their number."""
    _check(curves)
    values = curves.assign(**{name: curves[name].astype(float) for name in LOSSES})
    grouped = values.groupby([*CELL, "epoch"], sort=False)
    means = grouped[LOSSES].mean()
    return means.join(grouped[LOSSES].count().add_suffix("_seeds")).reset_index()


def overfitting(curves: pd.DataFrame) -> pd.DataFrame:
    """One row per cell with a test curve: its minimum, last, rise (last - minimum), std between seeds, and overfits.

    The curve is the mean over the seeds whose test loss is kept; `std` is theirs at the last epoch, NaN for one seed,
    and then the rise is held against 5 % of the minimum alone.
    """
    _check(curves)
    rows = []
    kept = curves.dropna(subset=["test_loss"])
    for key, cell in kept.groupby(CELL, sort=False):
        wide = cell.pivot(index="epoch", columns="seed", values="test_loss").astype(float).sort_index()
        mean = wide.mean(axis=1)
        minimum, last, std = mean.min(), mean.iloc[-1], wide.iloc[-1].std(ddof=1)
        rise = last - minimum
        beyond_seeds = pd.isna(std) or rise > std
        rows.append(
            {
                **dict(zip(CELL, key, strict=True)),
                "seeds": wide.shape[1],
                "minimum_epoch": int(mean.idxmin()),
                "minimum": minimum,
                "last": last,
                "rise": rise,
                "relative_rise": rise / minimum if minimum > 0 else float("nan"),
                "std": std,
                "overfits": bool(rise > RISE * minimum and beyond_seeds),
            }
        )
    columns = [*CELL, "seeds", "minimum_epoch", "minimum", "last", "rise", "relative_rise", "std", "overfits"]
    return pd.DataFrame(rows, columns=columns)


def _check(curves: pd.DataFrame) -> None:
    repeated = curves[curves.duplicated([*CELL, "seed", "epoch"])]
    if len(repeated):
        row = repeated.iloc[0]
        where = "/".join(f"{name}={row[name]}" for name in CELL)
        raise RowsError(
            f"{where}: seed {row.seed}, epoch {row.epoch} occurs twice; expected one row per seed and epoch"
        )
