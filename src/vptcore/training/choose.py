"""Choosing a configuration from a search's rows. Pure, torch-free: the audit repeats it.

python -m pytest tests/vptcore/training/test_choose.py
"""

from __future__ import annotations

import pandas as pd


def choose(rows: pd.DataFrame) -> pd.Series:
    """The row with the best val accuracy at the last epoch; ties go to the smaller learning rate, then the smaller
    decay.

    Diverged configurations are never chosen; if all diverged, a ValueError says so.
    """
    usable = rows[~rows["diverged"].astype(bool) & rows["val_accuracy"].notna()]
    if usable.empty:
        rates = ", ".join(f"{lr:g}" for lr in sorted(rows["lr"].unique()))
        raise ValueError(
            f"all {len(rows)} configurations diverged; add smaller learning rates than {rates} to the grid"
        )
    order = usable.sort_values(["val_accuracy", "lr", "weight_decay"], ascending=[False, True, True], kind="stable")
    return order.iloc[0]


LOWEST, HIGHEST = "lowest", "highest"


def edge_of(rows: pd.DataFrame) -> str:
    """Where the chosen learning rate lies on the edge of those that were tried: LOWEST, HIGHEST, or ''.

    Beyond an edge there may be a better rate. Rates that diverged were tried: next to them is no edge. A grid of one
    rate, or one that diverged everywhere, has none.
    """
    rates = sorted(rows["lr"].unique())
    if len(rates) < 2 or (rows["diverged"].astype(bool) | rows["val_accuracy"].isna()).all():
        return ""
    rate = choose(rows)["lr"]
    return LOWEST if rate == rates[0] else HIGHEST if rate == rates[-1] else ""
