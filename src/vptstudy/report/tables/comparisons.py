"""Which differences are more than noise: every method against full fine-tuning, per task and across tasks.

In: rows of kind final, and of kind predictions one cell at a time. Out: the `Listing` of table_significance: per task
Welch's interval over seeds and McNemar's test over test images, per group Wilcoxon's signed ranks over tasks, each with
Holm's correction beside it.

    snakemake table_significance
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd

from vptcore.analysis.significance import discordant, holm, pair_p, right_answers, signed_rank
from vptcore.analysis.statistics import Estimate, count_wins, summarise, welch
from vptcore.models.methods_table import METHODS
from vptstudy.report.captions import have_verb, plural, protocol_line, seeds_line, seeds_phrase, train_phrase
from vptstudy.report.tables.build import rows_of
from vptstudy.report.tables.grid import GROUP_TITLES
from vptstudy.report.tables.listing import Listing, ListingColumn
from vptstudy.study import WHOLE_TRAIN, Cell, Study

AGAINST = "full"
COLUMNS = (
    ListingColumn("title", "Task"),
    ListingColumn("difference", "Difference", 1, signed=True),
    ListingColumn("low", "95 % from", 1, signed=True),
    ListingColumn("high", "to", 1, signed=True),
    ListingColumn("p", "Welch p", is_p=True),
    ListingColumn("p_holm", "Holm", is_p=True),
    ListingColumn("only_a", "Only it right", 1),
    ListingColumn("only_b", "Only FT right", 1),
    ListingColumn("mcnemar", "McNemar p", is_p=True),
    ListingColumn("mcnemar_holm", "Holm", is_p=True),
    ListingColumn("record", "Won–tied–lost"),
    ListingColumn("wilcoxon", "Wilcoxon p", is_p=True),
    ListingColumn("wilcoxon_holm", "Holm", is_p=True),
    ListingColumn("effect", "Effect r", 2, signed=True),
)
_KEYS = ["setting", "backbone", "train", "method", "group", "task"]
FRAME = [*_KEYS, *dict.fromkeys(column.name for column in COLUMNS), "mcnemar_exact", "seeds"]


@dataclass(frozen=True)
class Pair:
    """One method against full fine-tuning, with a backbone at a train size, over the tasks that the study runs both."""

    backbone: str
    train: str
    method: str
    tasks: tuple[str, ...]

    def cell(self, method: str, task: str) -> Cell:
        return Cell(self.backbone, method, task, self.train)


def pairs(study: Study) -> list[Pair]:
    """VPT in every setting; the further methods with the main backbone, at the base train size and on whole sets."""
    found = []
    for backbone in study.used("backbone"):
        for train in study.used("train"):
            is_main = backbone == study.main_backbone and train in (study.base_train, WHOLE_TRAIN)
            for method in METHODS:
                if method == AGAINST or not (is_main or method == "vpt"):
                    continue
                tasks = [
                    task
                    for task in study.tasks
                    if {Cell(backbone, side, task, train) for side in (method, AGAINST)} <= study.cell_set
                ]
                if tasks:
                    found.append(Pair(backbone, train, method, tuple(tasks)))
    return found


def reads(study: Study) -> dict[str, list]:
    cells = [pair.cell(side, task) for pair in pairs(study) for task in pair.tasks for side in (AGAINST, pair.method)]
    cells = list(dict.fromkeys(cells))
    return {"final": cells, "predictions": cells} if cells else {}


def table(study: Study, frames: Mapping) -> Listing:
    """`frames["predictions"]` maps a cell to its rows; cells that it lacks have no McNemar test."""
    wanted = reads(study)
    final = rows_of(frames["final"], wanted.get("final", []))
    summary = {Cell(r.backbone, r.method, r.task, r.train): r._asdict() for r in summarise(final).itertuples()}
    rows = [row for pair in pairs(study) for row in _pair_rows(pair, study, summary, frames["predictions"])]
    frame = pd.DataFrame(rows, columns=FRAME)
    title = "Differences from full fine-tuning that are more than noise"
    caption = _caption(title, study, wanted, summary, frames["predictions"])
    return Listing("significance", title, caption, COLUMNS, frame, blocks="setting")


def _pair_rows(pair: Pair, study: Study, summary: Mapping[Cell, dict], predictions: Mapping) -> list[dict]:
    """The tasks of each group, then the group; the whole pair last, where it has more than one group."""
    trained = train_phrase([pair.train])
    setting = f"{METHODS[pair.method].title} − FT: {study.backbones[pair.backbone].title}, {trained}"
    keys = {"setting": setting, "backbone": pair.backbone, "train": pair.train, "method": pair.method}
    tasks = {task: keys | _task_row(pair, task, study, summary, predictions) for task in pair.tasks}
    _correct(list(tasks.values()), (("p", "p_holm"), ("mcnemar", "mcnemar_holm")))
    rows, groups = [], {}
    for group in GROUP_TITLES:
        mine = [row for row in tasks.values() if row["group"] == group]
        if mine:
            groups[group] = keys | _group_row(GROUP_TITLES[group], group, mine)
            rows += [*mine, groups[group]]
    _correct(list(groups.values()), (("wilcoxon", "wilcoxon_holm"),))
    return rows if len(groups) < 2 else [*rows, keys | _group_row("All", "all", list(tasks.values()))]


def _correct(rows: list[dict], fields: tuple[tuple[str, str], ...]) -> None:
    for name, corrected in fields:
        for row, value in zip(rows, holm([row.get(name, math.nan) for row in rows]), strict=True):
            row[corrected] = value


def _task_row(pair: Pair, task: str, study: Study, summary: Mapping[Cell, dict], predictions: Mapping) -> dict:
    row = {"group": study.tasks[task].group, "task": task, "title": study.tasks[task].title}
    sides = [pair.cell(side, task) for side in (pair.method, AGAINST)]
    if all(cell in summary for cell in sides):
        a, b = (_estimate(summary[cell]) for cell in sides)
        gap = welch(a, b)
        row |= {"difference": gap.difference, "low": gap.low, "high": gap.high, "p": gap.p, "seeds": min(a.n, b.n)}
    if all(cell in predictions for cell in sides):
        counts = discordant(*(right_answers(predictions[cell], cell.folder) for cell in sides), sides[0].folder)
        row |= dict(zip(("only_a", "only_b", "mcnemar_exact", "mcnemar"), pair_p(counts), strict=True))
    return row


def _estimate(row: Mapping) -> Estimate:
    return Estimate(*(row[name] for name in ("mean", "std", "low", "high", "n"))).scaled(100)


def _group_row(title: str, group: str, rows: list[dict]) -> dict:
    """The mean difference, and the test of signed ranks, over the tasks that have rows of both methods."""
    gaps = {row["task"]: row["difference"] for row in rows if "difference" in row}
    found = signed_rank(list(gaps.values()))
    # In percentage points; wins are counted as everywhere.
    wins = count_wins({task: gap / 100 for task, gap in gaps.items()}, dict.fromkeys(gaps, 0.0))
    record = f"{len(wins.won)}–{len(wins.tied)}–{len(wins.lost)}" if gaps else None
    return {
        "group": group, "task": "mean", "title": f"{title} ({plural(len(gaps), 'task')})",
        "difference": sum(gaps.values()) / len(gaps) if gaps else math.nan,
        "record": record, "wilcoxon": found.p, "effect": found.effect,
    }  # fmt: skip


def _caption(title: str, study: Study, wanted: Mapping, summary: Mapping, predictions: Mapping) -> str:
    cells = wanted.get("final", [])
    absent = sum(cell not in predictions for cell in cells)
    parts = [
        f"{title}. Differences of test accuracy in percentage points, with Welch's 95 % interval over "
        f"{seeds_phrase(len(study.seeds))}. Only it / only FT right: test images on which the two differ, mean "
        "over seeds; McNemar's mid-p per seed, combined as twice the median. Per group: Wilcoxon's signed ranks over "
        "tasks, with the matched-pairs rank-biserial correlation r (1: the method is ahead on every task). Holm: "
        "corrected over the tasks, or the groups, of one block.",
        protocol_line(study),
        seeds_line(study, cells, summary),
        f"{absent} of {plural(len(cells), 'cell')} {have_verb(absent)} no predictions yet." if absent else "",
    ]
    return " ".join(part for part in parts if part)
