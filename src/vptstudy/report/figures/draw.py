"""A figure from its row: drawn, captioned and saved.

In: a figure's number, a study and the frames of the kinds it reads. Out: a matplotlib figure, its caption, a PDF and a
PNG. Figures 2 and 7 are drawings and read no rows. Those with names are not in the paper.

    python -m pytest tests/vptstudy/report/test_figures.py
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from vptcore.records import RowsError
from vptstudy.report import captions
from vptstudy.report.bycell import PREDICTIONS
from vptstudy.report.figures.catalogue import FIGURES, inputs, is_drawn, spec_of
from vptstudy.report.figures.figure_captions import figure_caption
from vptstudy.report.tables.build import rows_of
from vptstudy.study import Cell, Study

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["FIGURES", "by_cell", "caption", "draw", "inputs", "is_drawn", "numbers", "save", "spec_of"]


def by_cell(number: str | int) -> Mapping[str, Sequence[str]]:
    """The kinds that a figure reads one cell at a time, and can do without, and their columns."""
    return PREDICTIONS if spec_of(number).by_cell else {}


def draw(
    number: str | int, study: Study, frames: Mapping[str, pd.DataFrame], own_style: Path | str | None = None
) -> Figure:
    """Draw a figure from the frames of `inputs`' kinds; rows of other cells are ignored, missing ones leave a gap.

    `frames` may hold rows of kind `index` too: Figures 8 and 18 then name classes instead of numbering them. Raises
    RowsError of one line where nothing can be drawn or the rows are wrong. `own_style`: a matplotlib style file that
    goes before the settings of `style`.
    """
    spec = spec_of(number)
    mine = _only_mine(number, study, frames)
    for kind, frame in mine.items():
        # An empty explain file is an answer: no image that one method alone gets right.
        if kind not in ("index", "explain", *by_cell(number)) and frame.empty:
            raise RowsError(
                f"figure {number}: no rows of kind {kind} for the study {study.name!r}; run their cells first"
            )
    # The workflow imports this module for every job; matplotlib is loaded only where something is drawn.
    from vptstudy.report.figures import style

    module, _, function = spec.drawer.partition(":")
    drawer = getattr(importlib.import_module(f"vptstudy.report.figures.{module}"), function)
    with style.styled(own_style):
        figure = drawer(spec, study, _shown(spec, study, mine))
        # A drawing shows no rows, and so nothing that a notice on the rows is true of.
        if spec.reads and captions.notice(study):
            style.stamp(figure, captions.notice(study))
        return figure


def save(figure: Figure, pdf_path: Path | str, png_path: Path | str, own_style: Path | str | None = None) -> None:
    """Write the figure as PDF and PNG (`style.save`)."""
    from vptstudy.report.figures import style

    style.save(figure, pdf_path, png_path, own_style)


def numbers(number: str | int, study: Study, frames: Mapping[str, pd.DataFrame]) -> str:
    """The numbers that the figure draws, as CSV."""
    spec = spec_of(number)
    found = spec.values(spec, study, _shown(spec, study, _only_mine(number, study, frames)))
    return found.to_csv(index=False, float_format="%.6g", lineterminator="\n")


def _shown(spec, study: Study, mine: dict) -> dict:
    """Of the rows that a figure reads, those that it draws."""
    return spec.narrows(spec, study, mine) if spec.narrows else mine


def _only_mine(number: str | int, study: Study, frames: Mapping[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    wanted, mine, optional = inputs(number, study), {}, by_cell(number)
    for kind, asked in wanted.items():
        if kind in optional:
            mine[kind] = frames.get(kind, {})
            continue
        if kind not in frames:
            raise RowsError(f"figure {number}: rows of kind {kind} are missing; it reads {', '.join(wanted)}")
        mine[kind] = _of(frames[kind], asked)
    if not is_drawn(number, study):
        raise ValueError(f"figure {number}: the study {study.name!r} has nothing for it ({spec_of(number).title})")
    if "index" in frames:
        mine["index"] = frames["index"]
    return mine


def _of(frame: pd.DataFrame, wanted: list) -> pd.DataFrame:
    """The rows of the wanted cells, or of the wanted tasks."""
    return rows_of(frame, wanted) if isinstance(wanted[0], Cell) else frame.loc[frame["task"].isin(wanted)]


def caption(number: str | int, study: Study, frames: Mapping[str, pd.DataFrame]) -> str:
    """The figure's caption, computed from the same frames."""
    spec, mine = spec_of(number), _only_mine(number, study, frames)
    return figure_caption(spec, study, inputs(number, study), mine, _shown(spec, study, mine))
