"""How much of each choice of configuration was luck of the validation images.

In: rows of kind search, splits and index. Out: the `Listing` of table_selection: how often another configuration would
have been chosen, what the chosen one's val accuracy is worth, and by how much choosing flatters it.

    snakemake table_selection
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict

import numpy as np
import pandas as pd

from vptcore.analysis.selection import (
    REPEATS,
    Corrected,
    corrected_choice,
    grid_mean,
    right_answers_of,
    selection_noise,
    standard_error,
)
from vptcore.models.methods_table import METHODS
from vptcore.records import MOST_LOGITS, RowsError
from vptcore.training.choose import edge_of
from vptcore.wording import have_verb, plural
from vptstudy.report.bycell import cells_of
from vptstudy.report.captions import edges_line, protocol_line, train_phrase
from vptstudy.report.raced import race_line
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
    ListingColumn("grid_mean", "Mean of all (%)", 1),
    ListingColumn("accuracy", "Val accuracy (%)", 1),
    ListingColumn("low", "95 % from", 1),
    ListingColumn("high", "to", 1),
    ListingColumn("other", "Another chosen (%)", 1),
    ListingColumn("rivals", "Ever chosen", 1),
    ListingColumn("gain", "Flattered by", 1, signed=True),
)
PERCENT = ("accuracy", "low", "high", "other", "gain")
MEANS = ("configurations", "corrected", "best", "grid_mean", "accuracy", "other", "rivals", "gain")
ANY = "any"  # in place of a method: the choice among all configurations of all methods
FRAME = ["setting", "backbone", "method", "train", "group", "task", *(column.name for column in COLUMNS), "chosen"]


def reads(study: Study) -> dict[str, list]:
    searches = list(study.searches)
    splits = list(dict.fromkeys((cell.task, cell.train) for cell in searches))
    tasks = list(dict.fromkeys(cell.task for cell in searches))
    return {"search": searches, "splits": splits, "index": tasks} if searches else {}


def table(study: Study, frames: Mapping[str, pd.DataFrame]) -> Listing:
    searches, labels = cells_of(frames["search"]), _val_labels(frames)
    found: dict[Cell, dict] = {}
    for mine in _of_one_task([cell for cell in study.searches if cell in searches]):
        found |= _of_task(mine, study, searches, labels)
    rows = [row for setting in _settings(study, found) for row in setting]
    title = "How much of each choice was luck of the validation images"
    caption = _caption(title, study, found)
    return Listing("selection", title, caption, COLUMNS, pd.DataFrame(rows, columns=FRAME), blocks="setting")


def _of_task(cells: list[Cell], study: Study, searches: Mapping[Cell, pd.DataFrame], labels: Mapping) -> dict:
    """Cell -> its row, for the searches that share their val images; and one for the choice among them all."""
    rows, right, means = {}, {}, []
    for cell in cells:
        search = searches[cell]  # read here, and not kept: its logits are large
        rows[cell] = _row(cell, study, search, labels)
        truth = labels[cell.task, cell.train]
        right[cell] = right_answers_of(search, truth)
        means.append(grid_mean(search, len(truth)))
        rows[cell]["grid_mean"] = _accuracy(means[-1], truth)
    corrected, together = _corrected(right)
    found = {cell: rows[cell] | corrected[cell] for cell in cells}
    if len(cells) > 1:
        whole = None if any(mean is None for mean in means) else np.mean(means, axis=0)
        any_method = Cell(cells[0].backbone, ANY, cells[0].task, cells[0].train)
        configurations = sum(rows[cell]["configurations"] for cell in cells)
        shared = {name: rows[cells[0]][name] for name in ("images", "group", "title")}
        found[any_method] = shared | asdict(any_method) | together | {
            "setting": f"All methods: {_where(any_method, study)}", "configurations": configurations, "edge": "",
            "accuracy": 100 * max(grid.mean(1).max() for grid in right.values()), "grid_mean": _accuracy(whole, truth),
        }  # fmt: skip
    return found


def _accuracy(odds_VC: np.ndarray | None, labels_V: np.ndarray) -> float:
    """In percent; NaN where the logits were not kept."""
    return math.nan if odds_VC is None else 100 * float((odds_VC.argmax(-1) == labels_V).mean())


def _of_one_task(searches: Iterable[Cell]) -> list[list[Cell]]:
    """The searches that share their val images: those of a backbone's methods on a task at a size."""
    together: dict[tuple, list[Cell]] = {}
    for cell in searches:
        together.setdefault((cell.backbone, cell.task, cell.train), []).append(cell)
    return list(together.values())


def _corrected(right: Mapping[Cell, np.ndarray]) -> tuple[dict[Cell, dict], dict]:
    """Cell -> what its choice is worth, and in percent how likely it is the best of its task's methods; and what the
    choice among all of them is worth."""
    together = corrected_choice({cell.method: grid for cell, grid in right.items()})
    found = {
        cell: _worth(corrected_choice({cell.method: grid})) | {"best": 100 * together.best[cell.method]}
        for cell, grid in right.items()
    }
    return found, _worth(together)


def _worth(choice: Corrected) -> dict:
    return {
        "corrected": 100 * choice.accuracy, "corrected_low": 100 * choice.low, "corrected_high": 100 * choice.high,
    }  # fmt: skip


def _where(cell: Cell, study: Study) -> str:
    return f"{study.backbones[cell.backbone].title}, {train_phrase([cell.train])}"


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
    task = study.tasks[cell.task]
    return {
        "setting": f"{METHODS[cell.method].title}: {_where(cell, study)}",
        **asdict(cell), "group": task.group, "title": task.title,
        **found, **{name: 100 * found[name] for name in PERCENT}, "edge": edge_of(search),
        "trainings": search[["config", "epochs"]],
    }  # fmt: skip


def _settings(study: Study, found: Mapping[Cell, dict]):
    """Per backbone, train size and method: the tasks of each group, then the group's means."""
    for backbone in study.used("backbone"):
        for train in study.used("train"):
            for method in (*study.used("method"), ANY):
                mine = [row for c, row in found.items() if (c.backbone, c.train, c.method) == (backbone, train, method)]
                yield [row for group in GROUP_TITLES for row in _with_mean(group, mine)]


def _with_mean(group: str, rows: list[dict]) -> list[dict]:
    inside = [row for row in rows if row["group"] == group]
    if not inside:
        return []
    means = {name: float(np.mean([row.get(name, math.nan) for row in inside])) for name in MEANS}
    title = f"{GROUP_TITLES[group]} ({plural(len(inside), 'task')})"
    keys = ("setting", "backbone", "method", "train", "group")
    return [*inside, {key: inside[0][key] for key in keys} | {"task": "mean", "title": title, **means}]


def _caption(title: str, study: Study, found: Mapping[Cell, dict]) -> str:
    searches = [row for cell, row in found.items() if cell.method != ANY]
    absent = len(study.searches) - len(searches)
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
        "the probability that the method's choice is the best one of its task. Mean of all: accuracy of the mean of "
        "the probabilities that all configurations give, of which none is chosen (– where they were not kept: more "
        f"than {MOST_LOGITS:,} a configuration). All methods: chosen among the configurations of all methods, and the "
        "mean of their means. Edge: the best rate is the lowest or highest that was tried, and beyond it there may be "
        "a better one (not where a rate inside scores the same); flat: all rates that held score the same.",
        edges_line([row["edge"] for row in searches]),
        race_line(row["trainings"] for row in searches),
        error,
        protocol_line(study),
        f"{absent} of {plural(len(study.searches), 'search', 'searches')} {have_verb(absent)} no rows yet."
        if absent
        else "",
    ]
    return " ".join(part for part in parts if part)
