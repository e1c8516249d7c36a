"""The paper's question as its Figure 1 asks it: near or far objective, near or far images, few or many of them.

In: final rows of VPT and full fine-tuning on the main backbone, their predictions, and fid rows. Out: four `Quadrant`
values, each with the verdict at the base train size and at the largest.

    snakemake figure_01
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd

from vptcore.analysis.evidence import UNKNOWN, grouped, judge_group
from vptcore.analysis.statistics import Difference, Wins
from vptstudy.report.contrasts import Contrasts, rope_of
from vptstudy.report.page.verdict import LEADS, SIDES, wins_of
from vptstudy.report.tables.build import rows_of
from vptstudy.report.tables.specs import PAIR, sizes
from vptstudy.study import Cell, Study


@dataclass(frozen=True)
class Verdict:
    """VPT − FT, in points, of the tasks that both have at one train size, and over them; VPT's wins, and the answer.

    `partial`: cells that the study runs have no rows yet, and nothing is settled.
    """

    train: str
    gaps: Mapping[str, Difference]
    gap: Difference
    wins: Wins
    answer: str
    partial: bool

    @property
    def side(self) -> str:
        """vpt, full, neither, mixed or open; '' without tasks."""
        return "" if not self.wins.tasks else "open" if self.partial else self.answer

    @property
    def title(self) -> str:
        return "Not finished" if self.wins.tasks and self.partial else LEADS[self.side]


# The paper's numbers of the quadrants, by far objective and far images (§4, Figures 1 and 18).
NUMERALS = {(False, False): "I", (True, False): "II", (True, True): "III", (False, True): "IV"}


@dataclass(frozen=True)
class Quadrant:
    """`far_objective`: not classification (§4.3: Structured). `far_images`: beyond the reference's own spread."""

    far_objective: bool
    far_images: bool
    tasks: tuple[str, ...]
    few: Verdict
    many: Verdict | None

    @property
    def numeral(self) -> str:
        return NUMERALS[self.far_objective, self.far_images]

    @property
    def title(self) -> str:
        return f"{'far' if self.far_objective else 'near'} objective, {'far' if self.far_images else 'near'} images"


def reads(study: Study) -> dict[str, list]:
    """The pair's cells on the main backbone, at all numbered sizes, of tasks that have both at the base size."""
    mine = {"backbone": study.main_backbone, "method": PAIR}
    base = study.select(**mine, train=study.base_train)
    tasks = [task for task in study.used("task") if sum(cell.task == task for cell in base) == len(PAIR)]
    found = study.select(**mine, train=[study.base_train, *_larger(study)], task=tasks)
    return {"final": found, "predictions": found, "fid": tasks} if len(tasks) > 1 and study.fid_tasks else {}


def _larger(study: Study) -> list[str]:
    base = study.base_train
    return [size for size in sizes(study) if base.isdigit() and int(size) > int(base)]


def is_far(fid: pd.DataFrame) -> pd.Series:
    """Whether a task's images are further from the reference than the reference's own images are from their mean.

    That spread, the trace of its covariance, is the Fréchet distance to one image at the reference's mean, repeated. It
    is the reference's alone: no other task moves it, and it has the units of the distance in any network's features.
    """
    return fid["fid"].astype(float) > fid["reference_spread"].astype(float)


def quadrants(study: Study, frames: Mapping[str, pd.DataFrame], contrasts: Contrasts | None = None) -> list[Quadrant]:
    """Near objective and near images first; the verdict for many images is at each task's largest size.

    Tasks without a distance or without both methods are in no quadrant. `contrasts`: those of the same rows, where the
    caller has them already.
    """
    wanted = reads(study)
    if not wanted:
        return []
    final = rows_of(frames["final"], wanted["final"])
    contrasts = contrasts or Contrasts(study, final, frames.get("predictions"))
    fid = frames["fid"].set_index("task").dropna(subset="fid")
    far = is_far(fid.loc[[task for task in wanted["fid"] if task in fid.index]])
    found = []
    for far_objective in (False, True):
        for far_images in (False, True):
            tasks = tuple(
                task
                for task in far.index
                if study.tasks[task].high_disparity == far_objective and far[task] == far_images
            )
            few = verdict(contrasts, dict.fromkeys(tasks, study.base_train), study.base_train)
            largest = largest_sizes(study, final, tasks)
            many = verdict(contrasts, largest, "largest") if largest else None
            found.append(Quadrant(far_objective, far_images, tasks, few, many))
    return found


def largest_sizes(study: Study, final: pd.DataFrame, tasks: tuple[str, ...]) -> dict[str, str]:
    """Task -> the largest train size above the base at which both methods have rows; tasks without one are left out."""
    have = {
        Cell(*key) for key in final[["backbone", "method", "task", "train"]].drop_duplicates().itertuples(index=False)
    }
    found = {}
    for size in _larger(study):
        for task in tasks:
            if all(Cell(study.main_backbone, method, task, size) in have for method in PAIR):
                found[task] = size
    return found


def verdict(contrasts: Contrasts, train_of: Mapping[str, str], train: str) -> Verdict:
    """The verdict over tasks, each at its own train size."""
    gaps = contrasts.over_tasks("vpt", "full", contrasts.study.main_backbone, train_of)
    wins = wins_of(gaps)
    if not gaps:
        return Verdict(train, gaps, UNKNOWN, wins, "open", bool(train_of))
    answer = SIDES[judge_group(gaps, rope_of(contrasts.study)).answer]
    return Verdict(train, gaps, grouped(list(gaps.values())).widest, wins, answer, len(gaps) < len(train_of))
