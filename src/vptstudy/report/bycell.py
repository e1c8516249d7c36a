"""Rows that are too many for one frame: read one cell at a time.

In: a kind and the paths of its files. Out: a mapping from cells to frames.

    python -m pytest tests/vptstudy/report/test_extras.py
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from vptcore.analysis.statistics import CELL
from vptcore.records import hive_parts, read_rows
from vptstudy.study import Cell

# What tells which answers were right.
PREDICTIONS = {"predictions": ("seed", "row", "label", "prediction")}


def cells_of(rows: pd.DataFrame | Mapping[Cell, pd.DataFrame]) -> Mapping[Cell, pd.DataFrame]:
    """Cell -> its rows, of one frame or of what is one by cell already."""
    if not isinstance(rows, pd.DataFrame):
        return rows
    return {Cell(*key): mine for key, mine in rows.groupby(CELL, sort=False)}


class ByCell(Mapping):
    """A kind's rows, one cell at a time: a mapping from cells to frames that are read when asked for and not kept."""

    def __init__(self, kind: str, paths: Sequence[str], columns: Sequence[str] | None = None):
        self.kind, self.columns = kind, columns
        self.paths = {Cell(**{name: hive_parts(path)[name] for name in CELL}): path for path in paths}

    def __getitem__(self, cell: Cell) -> pd.DataFrame:
        return read_rows(self.paths[cell], self.kind, self.columns)

    def __iter__(self):
        return iter(self.paths)

    def __len__(self) -> int:
        return len(self.paths)
