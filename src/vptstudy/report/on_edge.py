"""Which chosen learning rates lie on the edge of those that were tried, for the terminal.

In: a study, whose searches may have rows. Out: lines that name the cells; none where every chosen rate lies inside.

    vptcore check profiles/demo/study.yaml
"""

from __future__ import annotations

from pathlib import Path

from vptcore.records import RowsError, read_rows
from vptcore.training.choose import choose, edge_of
from vptstudy.report.captions import plural
from vptstudy.study import Cell, Study

COLUMNS = ("lr", "weight_decay", "epochs", "val_accuracy", "diverged")
NAMED = 8  # cells named in a terminal; table_selection has all


def edges_of(study: Study) -> dict[Cell, str]:
    """Cell of each search that has rows -> '32, the highest tried', or '' where its rate lies inside."""
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
        found[cell] = f"{choose(rows)['lr']:g}, the {edge} tried" if edge else ""
    return found


def edge_lines(study: Study) -> list[str]:
    """How many chosen rates lie on an edge, what to do, and the cells by name."""
    found = edges_of(study)
    cut = {cell: edge for cell, edge in found.items() if edge}
    if not cut:
        return []
    extends = study.config["edges"] == "extend"
    remedy = "3 further rates a side were not enough" if extends else "edges: extend tries further ones"
    head = f"{len(cut)} of {plural(len(found), 'chosen rate')} on the edge of what was tried; {remedy}"
    several = len(study.used("backbone")) > 1
    lines = [
        f"{f'{cell.backbone} ' if several else ''}{cell.method} on {cell.task} ({cell.train}): {edge}"
        for cell, edge in list(cut.items())[:NAMED]
    ]
    more = len(cut) - len(lines)
    return [head, *lines, *([f"and {more} more (table_selection)"] if more else [])]
