"""What each cell of a rehearsal is drawn around: the paper's printed accuracy, or a made-up one where it prints none.

In: a study and the paper's numbers. Out: cell -> accuracy as a fraction, task -> Fréchet distance, cell -> parameters.

    python -m pytest tests/vptstudy/rehearsal
"""

from __future__ import annotations

import zlib

import numpy as np

from vptcore.analysis.published import read_published, read_slips
from vptcore.models.changes import count_tuned
from vptcore.models.methods_table import METHODS
from vptcore.training.flops import step_flops
from vptstudy import slices
from vptstudy.study import Cell, Study

FULL_SECONDS = 24.0  # a configuration of full fine-tuning: made up
CELL = ["backbone", "method", "train", "task"]
# Paper Figure 3 prints no numbers for VTAB; near for everyday photographs, far for what no camera of that kind saw.
MADE_UP_DISTANCE = {"natural": 120.0, "specialized": 190.0, "structured": 170.0, "fgvc": 150.0}


def rng_of(*key: object) -> np.random.Generator:
    """A generator that depends on the key alone: the same rows in any order and on any number of processes."""
    return np.random.default_rng(zlib.crc32("/".join(map(str, key)).encode()))


def printed_accuracies() -> dict[Cell, float]:
    """Cell -> printed accuracy as a fraction.

    Where two tables print the same cell, the number that is no known slip, and of those the first.
    """
    rows = read_published().query("metric == 'accuracy' and task != 'mean'")
    slips = read_slips().query("metric == 'accuracy'")
    doubtful = set(zip(slips["table"], slips["method"], slips["train"], slips["task"], strict=True))
    found: dict[Cell, float] = {}
    order = sorted(rows.itertuples(), key=lambda r: (r.table, r.method, r.train, r.task) in doubtful)
    for row in order:
        found.setdefault(Cell(row.backbone, row.method, row.task, row.train), row.value / 100)
    return found


def accuracies(study: Study) -> dict[Cell, float]:
    """Cell -> the accuracy that its seeds scatter around, for every cell of the study."""
    printed = printed_accuracies()
    return {cell: printed.get(cell, _made_up(cell, study, printed)) for cell in study.cells}


def _made_up(cell: Cell, study: Study, printed: dict[Cell, float]) -> float:
    """Beyond the largest printed size of the same cell, or beside VPT at the base size of the same task."""
    printed_sizes = [
        int(other.train) for other in printed
        if other.train.isdigit() and other == Cell(cell.backbone, cell.method, cell.task, other.train)
    ]  # fmt: skip
    if cell.train.isdigit() and (below := [size for size in printed_sizes if size < int(cell.train)]):
        level = printed[Cell(cell.backbone, cell.method, cell.task, str(max(below)))]
        return level + 0.1 * (1 - level) * float(np.log2(int(cell.train) / max(below)))
    base = printed.get(Cell(study.main_backbone, "vpt", cell.task, study.base_train))
    level = 100 * base if base is not None else 60.0 + rng_of("level", cell.task).uniform(-15, 25)
    points = METHODS[cell.method].rehearsed + rng_of("beside", cell.folder).normal(0, 1)
    if cell.train.isdigit():
        doublings = np.log2(int(cell.train) / int(study.base_train))
        points += doublings * (2.5 if METHODS[cell.method].as_full else 1.5)
    return float(np.clip((level + points) / 100, 0.02, 0.985))


def distances(study: Study) -> dict[str, float]:
    """Task -> Fréchet distance: printed for the FGVC tasks, made up for the others."""
    printed = read_published().query("metric == 'fid'").set_index("task")["value"]
    return {
        task: float(
            printed.get(
                task, MADE_UP_DISTANCE.get(study.tasks[task].group, 160.0) * rng_of("fid", task).uniform(0.75, 1.3)
            )
        )
        for task in study.used("task")
    }


def parameters(cell: Cell, study: Study) -> tuple[int, int]:
    """(tuned, total), as a trained model would count them (paper, Tables 3-4)."""
    return count_tuned(slices.search(study, cell))


def seconds(cell: Cell, study: Study) -> float:
    """Seconds a configuration at 800 images: in proportion to the FLOPs of a step, and never nothing."""
    job = slices.search(study, cell)
    full = {**job, "method": "full", "settings": None, "prompt_length": 0}
    return max(0.4, FULL_SECONDS * step_flops(job) / step_flops(full))
