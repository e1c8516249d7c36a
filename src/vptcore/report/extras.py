"""The tables that the paper lacks, one row each: which rows each reads and which function builds it.

In: a table's id and a study. Out: kinds and cells as `inputs` takes them, and a `Listing` once the rows are there. A
table of this kind is one row of `EXTRAS`; targets, files, the report and its pages follow from it. Imports no torch.

    snakemake table_cost
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import pandas as pd

from vptcore.report import cost
from vptcore.report.listing import Listing
from vptcore.study import Study

__all__ = ["EXTRAS", "ExtraTable"]


@dataclass(frozen=True)
class ExtraTable:
    """`reads`: kind of rows -> the cells (or for fid and explain the task ids) it wants; {} where a study has none.

    `build` takes the study and one frame a kind. Both raise RowsError of one line for rows that are wrong.
    """

    name: str
    title: str
    reads: Callable[[Study], dict[str, list]]
    build: Callable[[Study, Mapping[str, pd.DataFrame]], Listing]


EXTRAS: dict[str, ExtraTable] = {
    table.name: table for table in (ExtraTable("cost", "What each method costs", cost.reads, cost.table),)
}
