"""VPT or full fine-tuning? Answered by group from the rows of built tables, in words that claim no more than the rows.

In: built tables with accuracies of both methods. Out: one `Answer` per backbone, train size and group.

    python -m pytest tests/vptstudy/report/test_verdict.py
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import pandas as pd

from vptcore.analysis.statistics import Difference, Estimate, Wins, count_wins, welch
from vptstudy.report.captions import plural, train_phrase
from vptstudy.report.tables.build import MEAN, Table
from vptstudy.report.tables.grid import GROUP_TITLES
from vptstudy.study import Study


@dataclass(frozen=True)
class Answer:
    """VPT against FT in one group.

    `gap` is in percentage points; `clear` and `clear_losses` count tasks whose interval excludes 0.
    """

    backbone: str
    train: str
    group: str
    wins: Wins
    clear: int
    clear_losses: int
    gap: Difference
    partial: bool

    @property
    def title(self) -> str:
        return GROUP_TITLES[self.group]

    @property
    def score(self) -> str:
        """'6 of 7', and the ties where there are any."""
        ties = f", {plural(len(self.wins.tied), 'tie')}" if self.wins.tied else ""
        return f"{len(self.wins.won)} of {self.wins.tasks}{ties}"

    @property
    def side(self) -> str:
        """Which method the interval of the mean difference favours: vpt, full, or open."""
        return {1: "vpt", -1: "full", 0: "open"}[0 if self.partial else self.gap.direction]

    @property
    def sentence(self) -> str:
        leads = {"vpt": "VPT leads", "full": "Full fine-tuning leads", "open": "No clear lead"}
        tasks = "task" if self.wins.tasks == 1 else "tasks"
        settled = f"the interval of the difference excludes 0 on {self.clear + self.clear_losses}"
        if self.clear_losses:
            settled += f" ({self.clear} for VPT, {self.clear_losses} for FT)"
        unfinished = " Some cells have no rows yet, so this is not final." if self.partial else ""
        return f"{leads[self.side]}. VPT is ahead on {self.score} {tasks}; {settled}.{unfinished}"


def answers(tables: Iterable[Table]) -> list[Answer]:
    """One answer per backbone, train size and group that has both methods, in the tables' order, each once."""
    found: dict[tuple, Answer] = {}
    for table in tables:
        accuracy = table.frame[table.frame.metric == "accuracy"]
        for (backbone, train, group), rows in accuracy.groupby(["backbone", "train", "group"], sort=False):
            answer = _answer(backbone, train, group, rows)
            if answer:
                found.setdefault((backbone, train, group), answer)
    return list(found.values())


def _answer(backbone: str, train: str, group: str, rows: pd.DataFrame) -> Answer | None:
    sides = {method: _estimates(rows[rows.method == method]) for method in ("vpt", "full")}
    shared = [task for task in sides["vpt"] if task in sides["full"] and task != MEAN]
    if not shared or any(MEAN not in side for side in sides.values()):
        return None
    gaps = [welch(sides["vpt"][task], sides["full"][task]).direction for task in shared]
    wins = count_wins({t: sides["vpt"][t].mean for t in shared}, {t: sides["full"][t].mean for t in shared})
    partial = bool((rows[rows.method.isin(("vpt", "full"))].state.isin(("partial", "missing"))).any())
    gap = _over_shared(sides, shared) if partial else welch(sides["vpt"][MEAN], sides["full"][MEAN])
    return Answer(backbone, train, group, wins, gaps.count(1), gaps.count(-1), gap, partial)


def _over_shared(sides: dict[str, dict[str, Estimate]], shared: list[str]) -> Difference:
    """The mean difference over the tasks that both have; means over unlike tasks must not be compared. No interval."""
    gaps = [sides["vpt"][task].mean - sides["full"][task].mean for task in shared]
    return Difference(sum(gaps) / len(gaps), math.nan, math.nan, math.nan)


def _estimates(rows: pd.DataFrame) -> dict[str, Estimate]:
    known = rows[rows["mean"].notna()]
    return {row.task: Estimate(row.mean, row.std, row.low, row.high, int(row.n)) for row in known.itertuples()}


def setting(answer: Answer, study: Study) -> str:
    return f"{study.backbones[answer.backbone].title}, {train_phrase([answer.train])}"
