"""Choosing a configuration from a search's rows. Pure, torch-free: the audit repeats it.

In: rows of kind `search`, or their columns lr, weight_decay, epochs, val_accuracy and diverged. Under `search: racing`
a configuration may have two rows, of a short schedule and of the full one.

    python -m pytest tests/vptcore/training/test_choose.py
"""

from __future__ import annotations

import pandas as pd


def longest(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows of the longest schedule: among those alone a configuration is chosen."""
    return rows[rows["epochs"] == rows["epochs"].max()]


def ranked(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows of the longest schedule that did not diverge, best val accuracy at the last epoch first; ties go to the
    smaller learning rate, then the smaller decay."""
    found = longest(rows)
    usable = found[~found["diverged"].astype(bool) & found["val_accuracy"].notna()]
    return usable.sort_values(["val_accuracy", "lr", "weight_decay"], ascending=[False, True, True], kind="stable")


def choose(rows: pd.DataFrame) -> pd.Series:
    """The best row, by `ranked`. If all diverged, a ValueError says so."""
    order = ranked(rows)
    if order.empty:
        rates = ", ".join(f"{lr:g}" for lr in sorted(rows["lr"].unique()))
        raise ValueError(f"every configuration diverged; add smaller learning rates than {rates} to the grid")
    return order.iloc[0]


LOWEST, HIGHEST, FLAT = "lowest", "highest", "flat"


def edge_of(rows: pd.DataFrame) -> str:
    """Where the best learning rate lies on the edge of those that were tried: LOWEST, HIGHEST, FLAT, or ''.

    A rate scores as the best of its weight decays. Beyond an edge there may be a better rate. Where a rate inside
    scores as well as the one at the edge, there is no sign of it: that is no edge. FLAT: all that held score the same,
    so that val prefers none, and points nowhere. Rates that diverged were tried, and so were those of a short schedule
    alone: next to them is no edge. A grid of one rate, or one that diverged everywhere, has none.
    """
    rates, order = sorted(rows["lr"].unique()), ranked(rows)
    if len(rates) < 2 or order.empty:
        return ""
    best = order.loc[order["val_accuracy"] == order["val_accuracy"].max(), "lr"].unique()
    if len(best) == rows.loc[~rows["diverged"].astype(bool), "lr"].nunique() > 1:
        return FLAT
    if ((best > rates[0]) & (best < rates[-1])).any():
        return ""
    return LOWEST if best.min() == rates[0] else HIGHEST
