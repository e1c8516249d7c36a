"""Rates beyond the edge of a grid, bought until the chosen one lies inside (`edges: extend`). Pure, torch-free: the
audit repeats it.

In: a search's slice, and the scores of what it has tried. Out: the configurations to try next. The new rate goes on
with the step between the two outermost rates; it is tried with every weight decay of the grid.

    python -m pytest tests/vptcore/training/test_edges.py
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import pandas as pd

from vptcore.training.choose import HIGHEST, LOWEST, edge_of
from vptcore.training.recipe import Recipe, recipes_of

MOST = 3  # further rates on either side of a grid


def next_rate(rows: pd.DataFrame, grid: Iterable[float], most: int) -> float | None:
    """The rate to try next, or None: one inside is as good, all are, or `most` rates have been bought on its side.

    `rows` are those tried so far, the grid's among them; the rate has three digits.
    """
    edge, tried = edge_of(rows), sorted(rows["lr"].unique())
    if edge not in (LOWEST, HIGHEST):
        return None
    outermost, beside = (tried[-1], tried[-2]) if edge == HIGHEST else (tried[0], tried[1])
    bought = sum(rate > max(grid) if edge == HIGHEST else rate < min(grid) for rate in tried)
    return None if bought >= most else float(f"{outermost * outermost / beside:.3g}")


def further_recipes(job: Mapping, rows: pd.DataFrame) -> list[Recipe]:
    """What a search tries after these rows; nothing where it does not extend its grid, or has no need to."""
    rate = next_rate(rows, job["grid"]["lr"], job["extend"]) if job.get("extend") else None
    return [] if rate is None else recipes_of({**job, "grid": {**job["grid"], "lr": [rate]}})
