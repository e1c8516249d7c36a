"""Loss curves: their mean over seeds, and which of them overfit by a stated rule.

In: rows of kind `curves`, and of kind `final` for the spread between seeds, as `records.read_many` gives them. Out:
frames, one row per cell and epoch, or one per cell.

    python -m pytest tests/vptcore/analysis/test_curves.py
"""

from __future__ import annotations

import pandas as pd

from vptcore.analysis.statistics import CELL
from vptcore.records import RowsError

# Overfitting (paper §5.1: "testing error increases as training progresses") needs a threshold. The rule: the test loss
# ends above its minimum by more than the standard deviation of the last test loss between seeds. Where one seed is all
# there is, by more than this share of the minimum.
RISE = 0.05
LOSSES = ["train_loss", "test_loss"]
COLUMNS = [*CELL, "seeds", "minimum_epoch", "minimum", "last", "rise", "relative_rise", "std", "overfits"]


def mean_curves(curves: pd.DataFrame) -> pd.DataFrame:
    """One row per cell and epoch: train_loss and test_loss averaged over the seeds that have them, and their number."""
    _check(curves)
    values = curves.assign(**{name: curves[name].astype(float) for name in LOSSES})
    grouped = values.groupby([*CELL, "epoch"], sort=False)
    means = grouped[LOSSES].mean()
    return means.join(grouped[LOSSES].count().add_suffix("_seeds")).reset_index()


def overfitting(curves: pd.DataFrame, final: pd.DataFrame | None = None) -> pd.DataFrame:
    """One row per cell with a test curve: its minimum, last, rise (last - minimum), std between seeds, and overfits.

    The curve is the mean over the seeds whose test loss is kept. `std` is that of the last test loss over the seeds of
    `final`, which keeps it for every seed, or else over the curves' own; NaN for one seed, and then the rise is held
    against 5 % of the minimum. A loss that is not finite at the end is a rise without bound.
    """
    _check(curves)
    spreads = _spreads(final)
    rows = []
    kept = curves[curves["test_loss"].notna()]
    for key, cell in kept.groupby(CELL, sort=False):
        wide = cell.pivot(index="epoch", columns="seed", values="test_loss").astype(float).sort_index()
        mean = wide.mean(axis=1)
        minimum, last, std = mean.min(), mean.iloc[-1], spreads.get(key, wide.iloc[-1].std(ddof=1))
        rise = last - minimum
        threshold = RISE * minimum if pd.isna(std) else std
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
                "overfits": bool(rise > threshold),
            }
        )
    return pd.DataFrame(rows, columns=COLUMNS)


def _spreads(final: pd.DataFrame | None) -> dict[tuple, float]:
    """Cell -> standard deviation of its last test loss over seeds, where it has more than one."""
    if final is None or final.empty:
        return {}
    found = final.assign(test_loss=final["test_loss"].astype(float)).groupby(CELL)["test_loss"].std(ddof=1)
    return found.dropna().to_dict()


def _check(curves: pd.DataFrame) -> None:
    repeated = curves[curves.duplicated([*CELL, "seed", "epoch"])]
    if len(repeated):
        row = repeated.iloc[0]
        where = "/".join(f"{name}={row[name]}" for name in CELL)
        raise RowsError(
            f"{where}: seed {row.seed}, epoch {row.epoch} occurs twice; expected one row per seed and epoch"
        )
