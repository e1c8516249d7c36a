"""Which chosen learning rates lie on the edge of those that were tried, and which grids are flat, for the terminal.

In: a study, whose searches may have rows. Out: lines that name the cells; none where every chosen rate lies inside.

    vptcore check profiles/demo/study.yaml
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from vptcore.records import RowsError, read_rows
from vptcore.training.choose import FLAT, choose, edge_of
from vptcore.wording import plural
from vptstudy.study import Cell, Study

COLUMNS = ("lr", "weight_decay", "epochs", "val_accuracy", "diverged")
NAMED = 8  # cells named in a terminal; table_selection has all


def edges_of(study: Study) -> dict[Cell, tuple[str, str]]:
    """Cell of each search that has rows -> its edge, and in words '32, the highest tried'; ('', '') for one inside."""
    found = {}
    for cell in study.searches:
        path = Path(study.path("search", cell))
        if not path.exists():
            continue
        try:
            rows = read_rows(path, "search", COLUMNS)
        except RowsError:  # the audit says what is wrong with it
            continue
        edge = edge_of(rows)
        found[cell] = edge, _words(edge, rows) if edge else ""
    return found


def _words(edge: str, rows: pd.DataFrame) -> str:
    best = choose(rows)
    return f"val {best['val_accuracy']:.1%} at every rate" if edge == FLAT else f"{best['lr']:g}, the {edge} tried"


def edge_lines(study: Study) -> list[str]:
    """How many chosen rates lie on an edge and how many grids are flat, what to do, and the cells by name."""
    found = edges_of(study)
    cut = {cell: words for cell, (edge, words) in found.items() if edge and edge != FLAT}
    flat = {cell: words for cell, (edge, words) in found.items() if edge == FLAT}
    extends, lines = study.config["edges"] == "extend", []
    if cut:
        remedy = "3 further rates a side were not enough" if extends else "edges: extend tries further ones"
        head = f"{len(cut)} of {plural(len(found), 'chosen rate')} on the edge of what was tried; {remedy}"
        lines += [head, *_named(cut, study)]
    if flat:
        remedy = "try rates elsewhere, or more val images"
        head = f"{len(flat)} of {plural(len(found), 'grid')} flat, so that val prefers no rate; {remedy}"
        lines += [head, *_named(flat, study)]
    return lines


def _named(cells: Mapping[Cell, str], study: Study) -> list[str]:
    several = len(study.used("backbone")) > 1
    lines = [
        f"{f'{cell.backbone} ' if several else ''}{cell.method} on {cell.task} ({cell.train}): {words}"
        for cell, words in list(cells.items())[:NAMED]
    ]
    more = len(cells) - len(lines)
    return [*lines, *([f"and {more} more (table_selection)"] if more else [])]
