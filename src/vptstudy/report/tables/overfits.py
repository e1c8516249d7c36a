"""Which cells overfit, by the stated rule: what the loss curves of Figures 5, 6 and 9 to 13 and paper §5.1 count.

In: rows of kind curves and final. Out: the `Listing` of table_overfitting: per task and method how far the test loss
ends above its minimum, and whether that is overfitting; per group how many of its tasks.

    snakemake table_overfitting
"""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from vptcore.analysis.curves import overfitting
from vptcore.analysis.statistics import number
from vptcore.models.methods_table import METHODS
from vptcore.wording import have_verb, plural
from vptstudy.report.captions import curves_on, diverged_line, overfitting_rule, protocol_line, train_phrase
from vptstudy.report.tables.build import rows_of
from vptstudy.report.tables.grid import GROUP_TITLES
from vptstudy.report.tables.listing import Listing, ListingColumn
from vptstudy.study import Cell, Study

MARK = "●"
PAIR = ("full", "vpt")


def reads(study: Study) -> dict[str, list]:
    """Every cell: a study that keeps no test curve has rows without a test loss, which are counted as such."""
    return {"curves": list(study.cells), "final": list(study.cells)} if study.config["curves"]["seeds"] else {}


def table(study: Study, frames: Mapping[str, pd.DataFrame]) -> Listing:
    cells = list(study.cells)
    measured = overfitting(rows_of(frames["curves"], cells), rows_of(frames["final"], cells))
    found = {
        Cell(row["backbone"], row["method"], row["task"], row["train"]): row for row in measured.to_dict("records")
    }
    methods = study.used("method")
    rows = [row for setting in _settings(study, found, methods) for row in setting]
    shown = (
        ListingColumn("title", "Task"),
        *(ListingColumn(method, METHODS[method].title) for method in methods),
        *([ListingColumn("both", "FT and VPT")] if set(PAIR) <= set(methods) else []),
    )
    hidden = [
        f"{method}_{name}"
        for method in methods
        for name in ("rise", "low", "high", "minimum", "epoch", "overfits", "diverged")
    ]
    columns = ["setting", "backbone", "train", "group", "task", *(column.name for column in shown), *hidden]
    title = "Overfitting: where the test loss ends above its minimum"
    frame = pd.DataFrame(rows, columns=columns)
    return Listing("overfitting", title, _caption(title, study, cells, found), shown, frame, blocks="setting")


def _settings(study: Study, found: Mapping[Cell, dict], methods: list[str]):
    """Per backbone and train size: the tasks of each group, then how many of them overfit."""
    for backbone in study.used("backbone"):
        for train in study.used("train"):
            cells = study.select(backbone=backbone, train=train)
            tasks = [task for task in study.tasks.values() if any(cell.task == task.id for cell in cells)]
            setting = f"{study.backbones[backbone].title}, {train_phrase([train])}"
            keys = {"setting": setting, "backbone": backbone, "train": train}
            rows = []
            for group in GROUP_TITLES:
                members = [task for task in tasks if task.group == group]
                mine = [keys | _task_row(study, backbone, train, task, methods, found) for task in members]
                rows += [*mine, keys | _count_row(group, mine, methods)] if mine else []
            yield rows


def _task_row(study: Study, backbone: str, train: str, task, methods: list[str], found: Mapping[Cell, dict]) -> dict:
    """A method's entry is None where its rows are missing, and '' where the study does not run it."""
    row: dict = {"group": task.group, "task": task.id, "title": task.title}
    for method in methods:
        cell = Cell(backbone, method, task.id, train)
        curve = found.get(cell)
        if curve is None:
            row[method] = None if cell in study.cell_set else ""
            continue
        row[method] = _shown(curve)
        row |= {f"{method}_{name}": curve[name] for name in ("rise", "low", "high", "minimum", "diverged")}
        row |= {f"{method}_epoch": curve["minimum_epoch"]}
        row |= {f"{method}_overfits": curve["overfits"]} if curve["seeds"] else {}
    sides = [row.get(f"{method}_overfits") for method in PAIR]
    row["both"] = None if None in sides else MARK if all(sides) else "no"
    return row


def _shown(curve: Mapping) -> str:
    """'+0.25 ●', with the seeds that diverged, if any; 'diverged' where all of them did."""
    if not curve["seeds"]:
        return "diverged"
    lost = f" ({curve['diverged']} diverged)" if curve["diverged"] else ""
    return f"{number(curve['rise'], 2, signed=True)}{f' {MARK}' if curve['overfits'] else ''}{lost}"


def _count_row(group: str, rows: list[dict], methods: list[str]) -> dict:
    """'3 of 8' per method, over the tasks that have a test curve; tasks all of whose seeds diverged beside them."""
    counts: dict = {"group": group, "task": "mean", "title": f"{GROUP_TITLES[group]}: overfit"}
    for method in methods:
        known = [row[f"{method}_overfits"] for row in rows if f"{method}_overfits" in row]
        lost = sum(row.get(method) == "diverged" for row in rows)
        counts[method] = f"{sum(known)} of {len(known)}" if known else ""
        counts[method] += f"{', ' if known else ''}{lost} diverged" if lost else ""
    both = [row["both"] == MARK for row in rows if row["both"] is not None]
    counts["both"] = f"{sum(both)} of {len(both)}" if both else ""
    return counts


def _caption(title: str, study: Study, cells: list[Cell], found: Mapping[Cell, dict]) -> str:
    absent = sum(cell not in found for cell in cells)
    parts = [
        f"{title}. Test cross-entropy at the last epoch minus that at its smoothed minimum, in nats, mean over seeds; "
        f"{MARK}: overfitting, which is {overfitting_rule()}. {curves_on(study)}",
        _alone(sum(row["seeds"] == 1 for row in found.values())),
        diverged_line([row["diverged"] for row in found.values()]),
        _paper(study, found),
        protocol_line(study),
        f"{absent} of {plural(len(cells), 'cell')} {have_verb(absent)} no test curve yet (–)." if absent else "",
    ]
    return " ".join(part for part in parts if part)


def _alone(cells: int) -> str:
    if not cells:
        return ""
    return f"{plural(cells, 'cell')} {have_verb(cells)} one seed: there the size alone decides."


def _paper(study: Study, found: Mapping[Cell, dict]) -> str:
    """What §5.1 counts beside what is counted here, for a study of all its tasks."""
    counts = {}
    for group in ("natural", "specialized", "structured"):
        tasks = [
            [found.get(Cell(study.main_backbone, method, task.id, study.base_train)) for method in PAIR]
            for task in study.tasks.values()
            if task.group == group
        ]
        known = [sides for sides in tasks if None not in sides]
        counts[group] = sum(all(side["overfits"] for side in sides) for sides in known), len(known)
    if study.main_backbone != "vit_b16_sup21k" or counts["structured"][1] != 8:
        return ""
    others = [sum(pair) for pair in zip(counts["natural"], counts["specialized"], strict=True)]
    return (
        "Both FT and VPT overfit, paper §5.1: 8 of '9' Structured tasks (there are 8) and 1 of the other '10' (there "
        f"are 11); here {counts['structured'][0]} of {counts['structured'][1]} and {others[0]} of {others[1]}."
    )
