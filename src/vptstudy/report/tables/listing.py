"""A plain table: named columns over a frame. For tables that the paper lacks.

In: a `Listing`, whose frame holds values and whose columns say how they are shown. Out: its `Grid`, which `renderers`
and `latex` print; the CSV has the values as they are, the other forms round them.

    python -m pytest tests/vptstudy/report/test_listing.py
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import pandas as pd

from vptcore.analysis.statistics import MISSING, number
from vptstudy.report.tables.grid import Block, Entry, Grid, GridColumn, GridLine

__all__ = ["Listing", "ListingColumn"]


@dataclass(frozen=True)
class ListingColumn:
    """One column: the frame's column it shows, its head, and for numbers how many decimals (None: text).

    `signed` puts a plus before a positive number; `is_p` shows a probability with three decimals, or '< 0.001'.
    """

    name: str
    title: str
    decimals: int | None = None
    signed: bool = False
    is_p: bool = False

    @property
    def is_text(self) -> bool:
        return self.decimals is None and not self.is_p


@dataclass(frozen=True)
class Listing:
    """A table of `frame`'s rows in order. `name` is its id: the target is `table_<name>`.

    `blocks` names a text column of the frame by whose runs of equal values the rows are set apart, under that heading.
    """

    name: str
    title: str
    caption: str
    columns: tuple[ListingColumn, ...]
    frame: pd.DataFrame = field(repr=False)
    blocks: str = ""

    @property
    def number(self) -> str:
        return self.name

    @property
    def grid(self) -> Grid:
        return Grid(
            name=self.name,
            heading=f"Table: {self.title}",
            title=self.title,
            caption=self.caption,
            columns=tuple(
                GridColumn(column.title, column.is_text, is_stub=place == 0)
                for place, column in enumerate(self.columns)
            ),
            blocks=tuple(Block(heading, tuple(_lines(self, rows))) for heading, rows in groups(self)),
            csv=self.frame.to_csv(index=False, float_format="%.6g", lineterminator="\n"),
        )


def groups(listing: Listing) -> list[tuple[str, pd.DataFrame]]:
    """(heading, rows) of each block; one block without a heading where the listing names no column for them."""
    if not listing.blocks or listing.frame.empty:
        return [("", listing.frame)]
    key = listing.frame[listing.blocks]
    runs = (key != key.shift()).cumsum()
    return [(str(rows[listing.blocks].iloc[0]), rows) for _, rows in listing.frame.groupby(runs, sort=False)]


def _lines(listing: Listing, rows: pd.DataFrame):
    for row in rows.to_dict("records"):
        yield GridLine(tuple(_entry(row[column.name], column) for column in listing.columns))


def _entry(value, column: ListingColumn) -> Entry:
    text = _shown(value, column)
    return Entry(text, sort="" if column.is_text or text == MISSING else f"{value:.9g}")


def _shown(value, column: ListingColumn) -> str:
    """A value as it is printed; '–' where there is none."""
    if _is_missing(value):
        return MISSING
    if column.is_p:
        return "< 0.001" if value < 0.001 else number(float(value), 3)
    return str(value) if column.is_text else number(float(value), column.decimals, column.signed)


def _is_missing(value) -> bool:
    return value is None or value is pd.NA or (isinstance(value, float) and math.isnan(value))
