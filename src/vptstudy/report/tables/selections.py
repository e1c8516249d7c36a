"""How much of each choice of configuration was luck of the validation images.

In: rows of kind search, splits and index. Out: the `Listing` of table_selection: how often another configuration would
have been chosen, what the chosen one's val accuracy is worth, and by how much choosing flatters it.

    snakemake table_selection
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict

import numpy as np
import pandas as pd

from vptcore.analysis.selection import REPEATS, corrected_choice, right_answers_of, selection_noise, standard_error
from vptcore.analysis.statistics import CELL
from vptcore.models.methods_table import METHODS
from vptcore.records import RowsError
from vptcore.training.choose import edge_of
from vptstudy.report.captions import edges_line, have_verb, plural, protocol_line, train_phrase
from vptstudy.report.tables.build import rows_of
from vptstudy.report.tables.grid import GROUP_TITLES
from vptstudy.report.tables.listing import Listing, ListingColumn
from vptstudy.study import Cell, Study

COLUMNS = (
    ListingColumn("title", "Task"),
    ListingColumn("images", "Val images", 0),
    ListingColumn("configurations", "Configurations", 0),
    ListingColumn("edge", "Edge"),
    ListingColumn("corrected", "Corrected (%)", 1),
    ListingColumn("corrected_low", "95 % from", 1),
    ListingColumn("corrected_high", "to", 1),
    ListingColumn("best", "Best method (%)", 0),
    ListingColumn("accuracy", "Val accuracy (%)", 1),
    ListingColumn("low", "95 % from", 1),
    ListingColumn("high", "to", 1),
    ListingColumn("other", "Another chosen (%)", 1),
    ListingColumn("rivals", "Ever chosen", 1),
    ListingColumn("gain", "Flattered by", 1, signed=True),
)
PERCENT = ("accuracy", "low", "high", "other", "gain")
MEANS = ("configurations", "corrected", "best", "accuracy", "other", "rivals", "gain")
FRAME = ["setting", "backbone", "method", "train", "group", "task", *(column.name for column in COLUMNS), "chosen"]


def reads(study: Study) -> dict[str, list]:
    searches = list(study.searches)
    splits = list(dict.fromkeys((cell.task, cell.train) for cell in searches))
    tasks = list(dict.fromkeys(cell.task for cell in searches))
    return {"search": searches, "splits": splits, "index": tasks} if searches else {}


def table(study: Study, frames: Mapping[str, pd.DataFrame]) -> Listing:
    searches = {Cell(*key): rows for key, rows in rows_of(frames["search"], list(study.searches)).groupby(CELL)}
    labels = _val_labels(frames)
    found = {cell: _row(cell, study, searches[cell], labels) for cell in study.searches if cell in searches}
    for mine in _of_one_task(searches):
        right = {cell: right_answers_of(searches[cell], labels[cell.task, cell.train]) for cell in mine}
        for cell, worth in _corrected(right).items():
            found[cell] |= worth
    rows = [row for setting in _settings(study, found) for row in setting]
    title = "How much of each choice was luck of the validation images"
    caption = _caption(title, study, found)
    return Listing("selection", title, caption, COLUMNS, pd.DataFrame(rows, columns=FRAME), blocks="setting")


def _of_one_task(searches: Mapping[Cell, pd.DataFrame]) -> list[list[Cell]]:
    """The searches that share their val images: those of a backbone's methods on a task at a size."""
    together: dict[tuple, list[Cell]] = {}
    for cell in searches:
        together.setdefault((cell.backbone, cell.task, cell.train), []).append(cell)
    return list(together.values())


def _corrected(right: Mapping[Cell, np.ndarray]) -> dict[Cell, dict]:
    """Cell -> what its choice is worth, and in percent how likely it is the best of its task's methods."""
    best = corrected_choice({cell.method: grid for cell, grid in right.items()}).best
    found = {}
    for cell, grid in right.items():
        worth = corrected_choice({cell.method: grid})
        found[cell] = {
            "corrected": 100 * worth.accuracy, "corrected_low": 100 * worth.low, "corrected_high": 100 * worth.high,
            "best": 100 * best[cell.method],
        }  # fmt: skip
    return found


def _val_labels(frames: Mapping[str, pd.DataFrame]) -> dict[tuple[str, str], np.ndarray]:
    """(task, train) -> the labels of its val images, in the order of the split, which is that of the predictions."""
    labels = {task: rows.set_index("row")["label"] for task, rows in frames["index"].groupby("task", sort=False)}
    val = frames["splits"][frames["splits"]["part"] == "val"]
    found = {}
    for (task, train), rows in val.groupby(["task", "train"], sort=False):
        if task in labels:
            found[task, train] = labels[task].reindex(rows["row"]).to_numpy()
    return found


def _row(cell: Cell, study: Study, search: pd.DataFrame, labels: Mapping) -> dict:
    if (cell.task, cell.train) not in labels:
        raise RowsError(f"{cell.folder}: no split with val images for its search; make splits and index again")
    try:
        found = asdict(selection_noise(search, labels[cell.task, cell.train]))
    except RowsError as error:
        raise RowsError(f"{cell.folder}: {error}") from None
    task, where = (
        study.tasks[cell.task],
        f"{study.backbones[cell.backbone].title}, {train_phrase([cell.train])}",
    )
    return {
        "setting": f"{METHODS[cell.method].title}: {where}",
        **asdict(cell), "group": task.group, "title": task.title,
        **found, **{name: 100 * found[name] for name in PERCENT}, "edge": edge_of(search),
    }  # fmt: skip


def _settings(study: Study, found: Mapping[Cell, dict]):
    """Per backbone, train size and method: the tasks of each group, then the group's means."""
    for backbone in study.used("backbone"):
        for train in study.used("train"):
            for method in study.used("method"):
                mine = [row for c, row in found.items() if (c.backbone, c.train, c.method) == (backbone, train, method)]
                yield [row for group in GROUP_TITLES for row in _with_mean(group, mine)]


def _with_mean(group: str, rows: list[dict]) -> list[dict]:
    inside = [row for row in rows if row["group"] == group]
    if not inside:
        return []
    means = {name: float(np.mean([row[name] for row in inside])) for name in MEANS}
    title = f"{GROUP_TITLES[group]} ({plural(len(inside), 'task')})"
    keys = ("setting", "backbone", "method", "train", "group")
    return [*inside, {key: inside[0][key] for key in keys} | {"task": "mean", "title": title, **means}]


def _caption(title: str, study: Study, found: Mapping[Cell, dict]) -> str:
    absent = len(study.searches) - len(found)
    images = sorted({row["images"] for row in found.values()})
    error = ""
    if images:
        worst = 100 * standard_error(0.5, images[0])
        error = f"An accuracy near 50 % on {images[0]} images has a standard error of {worst:.1f} points."
    parts = [
        f"{title}. {REPEATS:,} bootstrap resamples of the val images of each search, from stored predictions; nothing "
        "is trained again. Another chosen: the share of resamples in which another configuration wins, by the same "
        "rule of ties. From, to: the 95 % interval of the chosen one's val accuracy. Ever chosen: configurations "
        "that win a resample. Flattered by: how far the winner of a resample lies above its own accuracy on all val "
        "images, in percentage points.",
        "Corrected: accuracy of a choice on the images that did not make it, by bootstrapping the choice. Best method: "
        "the probability that the method's choice is the best one of its task. Edge: the chosen rate is the lowest or "
        "highest that was tried; beyond it there may be a better one.",
        edges_line([row["edge"] for row in found.values()]),
        error,
        protocol_line(study),
        f"{absent} of {plural(len(study.searches), 'search', 'searches')} {have_verb(absent)} no rows yet."
        if absent
        else "",
    ]
    return " ".join(part for part in parts if part)
