"""The tables that the paper lacks, one row each: which rows each reads and which function builds it.

In: a table's id and a study. Out: kinds and cells as `inputs` takes them, and a `Listing` once the rows are there. A
table of this kind is one row of `EXTRAS`; targets, files, the report and its pages follow from it.

    snakemake table_cost
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import pandas as pd

from vptstudy.report.bycell import PREDICTIONS
from vptstudy.report.tables import (
    claimed,
    comparisons,
    correlations,
    cost,
    distances,
    elsewhere,
    overfits,
    selections,
    whens,
)
from vptstudy.report.tables.listing import Listing
from vptstudy.study import Study

__all__ = ["EXTRAS", "ExtraTable"]


@dataclass(frozen=True)
class ExtraTable:
    """`reads`: kind of rows -> the cells (or for fid and explain the task ids) it wants; {} where a study has none.

    `build` takes the study and one frame a kind. Both raise RowsError of one line for rows that are wrong. `columns`:
    of a kind, only these are read; `by_cell`: kinds too large for one frame, given as a mapping from cells to frames.
    """

    name: str
    title: str
    reads: Callable[[Study], dict[str, list]]
    build: Callable[[Study, Mapping[str, pd.DataFrame]], Listing]
    columns: Mapping[str, Sequence[str]] = field(default_factory=dict)
    by_cell: tuple[str, ...] = ()


EXTRAS: dict[str, ExtraTable] = {
    table.name: table
    for table in (
        ExtraTable(
            "significance",
            "Differences between methods that are more than noise",
            comparisons.reads,
            comparisons.table,
            columns=PREDICTIONS,
            by_cell=("predictions",),
        ),
        ExtraTable(
            "claims",
            claimed.TITLE,
            claimed.reads,
            claimed.table,
            columns={**PREDICTIONS, "curves": ("seed", "epoch", "test_loss")},
            by_cell=("predictions",),
        ),
        ExtraTable("when", "When VPT beats full fine-tuning", whens.reads, whens.table),
        ExtraTable("correlations", correlations.TITLE, correlations.reads, correlations.table),
        ExtraTable(
            "selection",
            "How much of each choice was luck of the validation images",
            selections.reads,
            selections.table,
            columns={
                "search": (
                    "config",
                    "lr",
                    "weight_decay",
                    "epochs",
                    "val_accuracy",
                    "diverged",
                    "val_predictions",
                    "val_logits",
                ),
                "index": ("row", "label"),
            },
            by_cell=("search",),
        ),
        ExtraTable(
            "overfitting",
            "Overfitting: where the test loss ends above its minimum",
            overfits.reads,
            overfits.table,
            columns={"curves": ("seed", "epoch", "test_loss")},
        ),
        ExtraTable(
            "distances",
            "How far each task's images lie from those of pretraining",
            distances.reads,
            distances.table,
        ),
        ExtraTable("cost", "What each method costs", cost.reads, cost.table),
        ExtraTable("methods", elsewhere.TITLE, elsewhere.reads, elsewhere.table),
    )
}
