"""Which differences are more than noise: every method against full fine-tuning, and VPT against every other.

In: rows of kind final, and of kind predictions one cell at a time. Out: the `Listing` of table_significance: per task
an interval over seeds and test images and McNemar's test, per group both intervals and Wilcoxon's signed ranks over
tasks, each with Holm's correction beside it, and the answer that follows.

    snakemake table_significance
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd

from vptcore.analysis.evidence import MIXED, NEITHER, A, B, Finding, grouped, judge_group, judge_task
from vptcore.analysis.paired import Contrast
from vptcore.analysis.significance import discordant, holm, pair_p, signed_rank
from vptcore.analysis.statistics import summarise
from vptcore.models.methods_table import METHODS
from vptcore.wording import have_verb, plural
from vptstudy.report.captions import finals_line, protocol_line, seeds_line, seeds_phrase, train_phrase
from vptstudy.report.contrasts import Contrasts, rope_of
from vptstudy.report.page.verdict import more_phrase, wins_of
from vptstudy.report.tables.build import rows_of
from vptstudy.report.tables.grid import GROUP_TITLES
from vptstudy.report.tables.listing import Listing, ListingColumn
from vptstudy.report.tables.specs import PAIR
from vptstudy.study import WHOLE_TRAIN, Cell, Study

BASE = "full"
COLUMNS = (
    ListingColumn("title", "Task"),
    ListingColumn("answer", "Answer"),
    ListingColumn("difference", "Difference", 1, signed=True),
    ListingColumn("low", "95 % from", 1, signed=True),
    ListingColumn("high", "to", 1, signed=True),
    ListingColumn("p", "p", is_p=True),
    ListingColumn("p_holm", "Holm", is_p=True),
    ListingColumn("like_low", "Tasks like these from", 1, signed=True),
    ListingColumn("like_high", "to", 1, signed=True),
    ListingColumn("only_a", "Only it right", 1),
    ListingColumn("only_b", "Only the other", 1),
    ListingColumn("mcnemar", "McNemar p", is_p=True),
    ListingColumn("mcnemar_holm", "Holm", is_p=True),
    ListingColumn("record", "Won–tied–lost"),
    ListingColumn("wilcoxon", "Wilcoxon p", is_p=True),
    ListingColumn("wilcoxon_holm", "Holm", is_p=True),
    ListingColumn("least", "Least p", is_p=True),
    ListingColumn("effect", "Effect r", 2, signed=True),
)
_KEYS = ["setting", "backbone", "train", "method", "against", "group", "task"]
FRAME = [*_KEYS, *dict.fromkeys(column.name for column in COLUMNS), "mcnemar_exact", "seeds", "images"]


@dataclass(frozen=True)
class Pair:
    """One method against another, with a backbone at a train size, over the tasks that the study runs both."""

    backbone: str
    train: str
    method: str
    against: str
    tasks: tuple[str, ...]

    def cells(self, task: str) -> tuple[Cell, Cell]:
        return tuple(Cell(self.backbone, side, task, self.train) for side in (self.method, self.against))


def pairs(study: Study) -> list[Pair]:
    """VPT against FT in every setting; with the main backbone, at the base train size and on whole sets, the further
    methods against FT, and VPT against them (paper, sections 5.2 and 5.3)."""
    found = []
    for backbone in study.used("backbone"):
        for train in study.used("train"):
            is_main = backbone == study.main_backbone and train in (study.base_train, WHOLE_TRAIN)
            others = [method for method in study.used("method") if method not in PAIR] if is_main else []
            sides = [("vpt", BASE), *((method, BASE) for method in others), *(("vpt", method) for method in others)]
            for method, against in sides:
                tasks = [
                    task
                    for task in study.tasks
                    if {Cell(backbone, side, task, train) for side in (method, against)} <= study.cell_set
                ]
                if tasks:
                    found.append(Pair(backbone, train, method, against, tuple(tasks)))
    return found


def reads(study: Study) -> dict[str, list]:
    cells = list(dict.fromkeys(cell for pair in pairs(study) for task in pair.tasks for cell in pair.cells(task)))
    return {"final": cells, "predictions": cells} if cells else {}


def table(study: Study, frames: Mapping) -> Listing:
    """`frames["predictions"]` maps a cell to its rows; without them intervals are over seeds alone, without McNemar."""
    wanted = reads(study)
    final = rows_of(frames["final"], wanted.get("final", []))
    contrasts = Contrasts(study, final, frames["predictions"])
    rows = [row for pair in pairs(study) for row in _pair_rows(pair, study, contrasts)]
    frame = pd.DataFrame(rows, columns=FRAME)
    title = "Differences between methods that are more than noise"
    summary = {Cell(r.backbone, r.method, r.task, r.train): r._asdict() for r in summarise(final).itertuples()}
    caption = _caption(title, study, wanted, summary, frames["predictions"])
    return Listing("significance", title, caption, COLUMNS, frame, blocks="setting")


def _pair_rows(pair: Pair, study: Study, contrasts: Contrasts) -> list[dict]:
    """The tasks of each group, then the group; the whole pair last, where it has more than one group."""
    names = [METHODS[side].title for side in (pair.method, pair.against)]
    setting = f"{' − '.join(names)}: {study.backbones[pair.backbone].title}, {train_phrase([pair.train])}"
    keys = {
        "setting": setting, "backbone": pair.backbone, "train": pair.train, "method": pair.method,
        "against": pair.against,
    }  # fmt: skip
    gaps = contrasts.over_tasks(pair.method, pair.against, pair.backbone, dict.fromkeys(pair.tasks, pair.train))
    tasks = {task: keys | _task_row(pair, task, study, contrasts, gaps.get(task)) for task in pair.tasks}
    _correct(list(tasks.values()), (("p", "p_holm"), ("mcnemar", "mcnemar_holm")))
    rows, groups = [], {}
    for name, title in GROUP_TITLES.items():
        mine = [row for row in tasks.values() if row["group"] == name]
        if mine:
            inside = {row["task"]: gaps[row["task"]] for row in mine if row["task"] in gaps}
            groups[name] = keys | _group_row(pair, study, title, name, inside)
            rows += [*mine, groups[name]]
    _correct(list(groups.values()), (("wilcoxon", "wilcoxon_holm"),))
    return rows if len(groups) < 2 else [*rows, keys | _group_row(pair, study, "All", "all", gaps)]


def _correct(rows: list[dict], fields: tuple[tuple[str, str], ...]) -> None:
    for name, corrected in fields:
        for row, value in zip(rows, holm([row.get(name, math.nan) for row in rows]), strict=True):
            row[corrected] = value


def _task_row(pair: Pair, task: str, study: Study, contrasts: Contrasts, gap: Contrast | None) -> dict:
    row = {"group": study.tasks[task].group, "task": task, "title": study.tasks[task].title}
    cells = pair.cells(task)
    if gap is not None:
        row |= {name: getattr(gap, name) for name in ("difference", "low", "high", "p", "seeds", "images")}
        row["answer"] = _answer(pair, judge_task(gap, rope_of(study)))
    if all(cell in contrasts.predictions for cell in cells):
        counts = discordant(*(contrasts.right(cell) for cell in cells), where=cells[0].folder)
        row |= dict(zip(("only_a", "only_b", "mcnemar_exact", "mcnemar"), pair_p(counts), strict=True))
    return row


def _group_row(pair: Pair, study: Study, title: str, name: str, gaps: Mapping[str, Contrast]) -> dict:
    """The mean difference with both intervals, and the test of signed ranks, over the tasks with rows of both."""
    row = {"group": name, "task": "mean", "title": f"{title} ({plural(len(gaps), 'task')})"}
    if not gaps:
        return row
    both, ranks, wins = grouped(list(gaps.values())), signed_rank([g.difference for g in gaps.values()]), wins_of(gaps)
    row |= {name: getattr(both.these, name) for name in ("difference", "low", "high", "p")}
    return row | {
        "answer": _answer(pair, judge_group(gaps, rope_of(study))),
        "like_low": both.like.low, "like_high": both.like.high,
        "record": f"{len(wins.won)}–{len(wins.tied)}–{len(wins.lost)}",
        "wilcoxon": ranks.p, "least": ranks.least, "effect": ranks.effect,
    }  # fmt: skip


def _answer(pair: Pair, finding: Finding) -> str:
    """The method that leads, 'no matter', 'by task', or what it would take to tell."""
    titles = {A: METHODS[pair.method].title, B: METHODS[pair.against].title, NEITHER: "no matter", MIXED: "by task"}
    if finding.answer in titles:
        return titles[finding.answer]
    return more_phrase(finding.more, finding.more_tasks).removesuffix(" would") or "cannot tell"


def _caption(title: str, study: Study, wanted: Mapping, summary: Mapping, predictions: Mapping) -> str:
    cells = wanted.get("final", [])
    absent = sum(cell not in predictions for cell in cells)
    parts = [
        f"{title}. Differences of test accuracy in percentage points, with a 95 % interval and p over "
        f"{seeds_phrase(len(study.seeds))} and the test images, paired; of a group on these tasks, and on tasks like "
        "these. Answer: the method whose lead is clear ('no matter': within "
        f"{plural(rope_of(study), 'point')}), or what would settle it. "
        "Only it / only the other right: test images on which the two differ, mean "
        "over seeds; McNemar's mid-p per seed, combined as twice the median. Per group: Wilcoxon's exact signed ranks "
        "over tasks, the least p that so many tasks can give, and the matched-pairs rank-biserial correlation r (1: "
        "the method is ahead on every task). Holm: corrected over the tasks, or the groups, of one block.",
        protocol_line(study),
        finals_line(study, cells),
        seeds_line(study, cells, summary),
        f"{absent} of {plural(len(cells), 'cell')} {have_verb(absent)} no predictions yet: over seeds alone."
        if absent
        else "",
    ]
    return " ".join(part for part in parts if part)
