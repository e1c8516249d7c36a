"""VPT or full fine-tuning? Answered by group in one of five ways, in words that claim no more than the rows.

In: a study and its `Contrasts`. Out: one `Answer` per backbone, train size and group.

    python -m pytest tests/vptstudy/report/test_verdict.py
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from vptcore.analysis.evidence import ALPHA, MIXED, NEITHER, OPEN, A, B, Finding, Group, grouped, judge, judge_group
from vptcore.analysis.paired import Contrast, More
from vptcore.analysis.significance import holm
from vptcore.analysis.statistics import Difference, Wins, count_wins, percent
from vptcore.models.methods_table import METHODS
from vptcore.wording import plural
from vptstudy.report.captions import full_stop, join, train_phrase
from vptstudy.report.contrasts import Contrasts, rope_of
from vptstudy.report.tables.grid import GROUP_TITLES
from vptstudy.report.tables.specs import PAIR
from vptstudy.study import Cell, Study

# What an answer about VPT - FT favours, as colours and classes name it.
SIDES = {A: "vpt", B: "full", NEITHER: "neither", MIXED: "mixed", OPEN: "open"}
LEADS = {
    "vpt": "VPT leads",
    "full": "Full fine-tuning leads",
    "neither": "No difference that matters",
    "mixed": "Depends on the task",  # Mixed is a method
    "open": "Cannot tell at this size",
    "": "No rows",
}


@dataclass(frozen=True)
class Answer:
    """VPT against FT in one group; differences are in percentage points.

    `finding` is the answer, `clear` and `clear_losses` the titles of the tasks that are clear by themselves, corrected
    for their number. `ahead` names the further methods that beat both. `partial`: cells have no rows yet, and nothing
    is settled.
    """

    backbone: str
    train: str
    group: str
    wins: Wins
    both: Group
    finding: Finding
    clear: tuple[str, ...]
    clear_losses: tuple[str, ...]
    ahead: tuple[str, ...]
    partial: bool

    @property
    def title(self) -> str:
        return GROUP_TITLES[self.group]

    @property
    def gap(self) -> Difference:
        """The interval that the answer rests on: over tasks like these, or over these where there are one or two."""
        return self.both.widest

    @property
    def these(self) -> Contrast:
        return self.both.these

    @property
    def scope(self) -> str:
        """What the answer is about: 'tasks like these', 'this task', 'these 2 tasks'."""
        return "tasks like these" if self.finding.of_tasks else _these(self.wins.tasks)

    @property
    def score(self) -> str:
        """'6 of 7', and the ties where there are any."""
        ties = f", {plural(len(self.wins.tied), 'tie')}" if self.wins.tied else ""
        return f"{len(self.wins.won)} of {self.wins.tasks}{ties}"

    @property
    def side(self) -> str:
        """vpt, full, neither, mixed or open; open while cells have no rows."""
        return "open" if self.partial else SIDES[self.finding.answer]

    @property
    def lead(self) -> str:
        """'VPT leads on tasks like these'; 'Depends on the task: clear for VPT on A, for FT on B'; 'Cannot tell at this
        size (…)'."""
        if self.partial:
            return "Not finished"
        if self.side == "mixed":
            return f"{LEADS[self.side]}: {clear_phrase(self.clear, self.clear_losses)}"
        if self.side == "open":
            more = more_phrase(self.finding.more, self.finding.more_tasks)
            return LEADS["open"] + (f" ({more})" if more else "")
        return f"{LEADS[self.side]} on {self.scope}"

    @property
    def sentence(self) -> str:
        tasks = "task" if self.wins.tasks == 1 else "tasks"
        settled = f"clear on {len(self.clear) + len(self.clear_losses)}"
        if self.clear_losses:
            settled += f" ({len(self.clear)} for VPT, {len(self.clear_losses)} for FT)"
        parts = [full_stop(self.lead), f"VPT is ahead on {self.score} {tasks}; {settled}."]
        if self.wins.tasks > 1:
            parts.append(f"On {_these(self.wins.tasks)} alone VPT − FT is {self.these.points} {self.these.interval}.")
        if self.ahead:
            parts.append(f"{join(self.ahead)} {'beats' if len(self.ahead) == 1 else 'beat'} both.")
        if self.partial:
            parts.append("Some cells have no rows yet, so this is not final.")
        return " ".join(parts)


def _these(tasks: int) -> str:
    return "this task" if tasks == 1 else f"these {tasks} tasks"


def clear_phrase(clear: tuple[str, ...], losses: tuple[str, ...]) -> str:
    """'clear for VPT on A and B, for FT on C'."""
    return f"clear for VPT on {join(clear)}, for FT on {join(losses)}"


def more_phrase(more: More, tasks: int | None = None) -> str:
    """'about 3 more seeds, 900 more test images or 4 more tasks would'; '' where nothing that is counted would."""
    parts = [
        plural(more.seeds, "more seed") if more.seeds else "",
        f"{rounded(more.images):,} more test image{'' if more.images == 1 else 's'}" if more.images else "",
        plural(tasks, "more task") if tasks else "",
    ]
    parts = [part for part in parts if part]
    if not parts:
        return ""
    return f"about {', '.join(parts[:-1])}{' or ' if parts[1:] else ''}{parts[-1]} would"


def rounded(count: int) -> int:
    """To two digits: it is an estimate."""
    step = 10 ** max(len(str(count)) - 2, 0)
    return -(-count // step) * step


def answers(study: Study, contrasts: Contrasts) -> list[Answer]:
    """One answer per backbone, train size and group that has both methods, in the study's order."""
    found = []
    for backbone in study.used("backbone"):
        for train in sorted(study.used("train"), key=lambda train: int(train) if train.isdigit() else math.inf):
            for name in GROUP_TITLES:
                if answer := _answer(study, contrasts, backbone, train, name):
                    found.append(answer)
    return found


def instead(study: Study, contrasts: Contrasts) -> str:
    """What is said where no group has an answer: which of the pair is missing, and the two best methods that are there.

    '' where rows of the pair are still to come. The two are the best on average over the tasks that they share, on the
    main backbone at the base train size.
    """
    missing = [METHODS[method].title for method in PAIR if method not in study.used("method")]
    if not missing:
        return ""
    said = f"This study has no {' and no '.join(missing)}."
    train_of = dict.fromkeys(study.used("task"), study.base_train)
    means = {m: value for m in study.used("method") if (value := _mean(m, study, contrasts, train_of)) is not None}
    if len(means) < 2:
        return said
    first, second = sorted(means, key=lambda method: -means[method])[:2]
    gaps = contrasts.over_tasks(first, second, study.main_backbone, train_of)
    gap = grouped(list(gaps.values())).widest
    names = [f"{METHODS[method].title} ({percent(means[method] / 100)} %)" for method in (first, second)]
    lead = f"{names[0]} leads {names[1]}" if judge(gap, rope_of(study)) == A else f"Cannot tell {' from '.join(names)}"
    return f"{said} {lead} on {_these(len(gaps))}: {gap.points} points {gap.interval}."


def _mean(method: str, study: Study, contrasts: Contrasts, train_of: Mapping[str, str]) -> float | None:
    """Accuracy in percent over the tasks, None unless all have rows."""
    cells = [Cell(study.main_backbone, method, task, train) for task, train in train_of.items()]
    found = [contrasts.estimates[cell].mean for cell in cells if cell in contrasts.estimates]
    return sum(found) / len(found) if found and len(found) == len(cells) else None


def _answer(study: Study, contrasts: Contrasts, backbone: str, train: str, name: str) -> Answer | None:
    asked = [
        task.id
        for task in study.tasks.values()
        if task.group == name and {Cell(backbone, method, task.id, train) for method in PAIR} <= study.cell_set
    ]
    gaps = contrasts.over_tasks("vpt", "full", backbone, dict.fromkeys(asked, train))
    if not gaps:
        return None
    rope = rope_of(study)
    finding = judge_group(gaps, rope)
    titles = [tuple(study.tasks[t].title for t in tasks) for tasks in (finding.clear_a, finding.clear_b)]
    return Answer(
        backbone, train, name, wins_of(gaps), grouped(list(gaps.values())), finding, *titles,
        _ahead(contrasts, backbone, dict.fromkeys(gaps, train), rope), len(gaps) < len(asked),
    )  # fmt: skip


def wins_of(gaps: Mapping[str, Difference]) -> Wins:
    """Wins as the paper counts them, on means; `gaps` are in points."""
    return count_wins({task: gap.difference / 100 for task, gap in gaps.items()}, dict.fromkeys(gaps, 0.0))


def _ahead(contrasts: Contrasts, backbone: str, train_of: Mapping[str, str], rope: float) -> tuple[str, ...]:
    """The further methods that lead both of the pair on these tasks, each by the same rule, corrected for their number.

    The larger of a method's two p values is its own: it has to beat both.
    """
    both: dict[str, float] = {}
    for method in contrasts.study.used("method"):
        sides = [contrasts.over_tasks(method, side, backbone, train_of) for side in PAIR if method not in PAIR]
        if not sides or any(len(side) < len(train_of) for side in sides):
            continue
        intervals = [grouped(list(side.values())).widest for side in sides]
        if all(judge(interval, rope) == A for interval in intervals):
            both[method] = max(interval.p for interval in intervals)
    return tuple(METHODS[m].title for m, p in zip(both, holm(list(both.values())), strict=True) if p < ALPHA)


def setting(answer: Answer, study: Study) -> str:
    return f"{study.backbones[answer.backbone].title}, {train_phrase([answer.train])}"
