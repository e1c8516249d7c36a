"""What a figure is, and which cells or tasks each kind of figure reads.

In: a figure's row and a study. Out: kind of rows -> cells, or task ids for fid, explain and examples; {} where the
study has nothing for it.

    python -m pytest tests/vptstudy/report/test_figures.py
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import pandas as pd

from vptcore.data.tasks import GROUPS
from vptstudy.report.chance import one_cell_a_task
from vptstudy.report.tables import cost
from vptstudy.report.tables.specs import PAIR, STRATEGIES, sizes
from vptstudy.study import Cell, Study

# FGVC has a table of its own, and no figure in the paper.
MAIN_GROUPS = tuple(group for group in GROUPS if group != "fgvc")
MOST_MAPS = 6

Wanted = dict[str, list]
Frames = Mapping[str, pd.DataFrame]


@dataclass(frozen=True)
class FigureSpec:
    """One figure.

    `drawer` names the function that draws it, 'module:function' below report.figures, loaded when something is drawn.
    `shows` says in the caption what is seen. `values` gives the numbers that are drawn, written beside it as CSV.
    `reads(spec, study)`: kind of rows -> cells, or task ids for fid, explain and examples; {} if the study has nothing
    for it. None: a drawing, which shows what is meant, not what was found.

    `per_group` limits the tasks of each group to so many, those with the most cells; 0 is all. `log`: a logarithmic
    loss axis. `method`: the one whose searches are shown. `by_cell`: its predictions are read one cell at a time, and
    it can do without. `narrows`: of the rows read, those that are drawn. `adds`: a further sentence of the caption,
    from all rows read. `sees`: the picture in words, from the numbers of its CSV, for the report's alt text.
    """

    number: str
    title: str
    drawer: str
    shows: str
    values: Callable[[FigureSpec, Study, Frames], pd.DataFrame]
    reads: Callable[[FigureSpec, Study], Wanted] | None = None
    groups: tuple[str, ...] = MAIN_GROUPS
    per_group: int = 0
    log: bool = False
    method: str = ""
    by_cell: bool = False
    narrows: Callable[[FigureSpec, Study, Frames], dict[str, pd.DataFrame]] | None = None
    adds: Callable[[Study, Frames], str] | None = None
    sees: Callable[[Study, pd.DataFrame], str] | None = None


def _compared(spec: FigureSpec, study: Study) -> list[Cell]:
    """The main backbone's cells at the base size of the tasks that have both VPT and full fine-tuning."""
    found = study.select(**_of_groups(spec, study), method=PAIR, train=study.base_train)
    counts = Counter(cell.task for cell in found)
    return [cell for cell in found if counts[cell.task] == len(PAIR)]


def _of_groups(spec: FigureSpec, study: Study) -> dict:
    tasks = [task.id for task in study.tasks.values() if task.group in spec.groups]
    return {"backbone": study.main_backbone, "task": tasks}


def differences(spec: FigureSpec, study: Study) -> Wanted:
    found = _compared(spec, study)
    return {"final": found, "predictions": found} if found else {}


def predictions(spec: FigureSpec, study: Study) -> Wanted:
    found = _compared(spec, study)
    return {"predictions": found} if found else {}


def fid(spec: FigureSpec, study: Study) -> Wanted:
    found = _compared(spec, study) if study.fid_tasks else []
    measured = list(dict.fromkeys(cell.task for cell in found))
    return {"final": found, "predictions": found, "fid": measured} if found else {}


def by_size(spec: FigureSpec, study: Study) -> Wanted:
    """Tasks that were run at more than one size."""
    found = study.select(**_of_groups(spec, study), method=PAIR, train=sizes(study))
    several = {cell.task for cell in found if len({c.train for c in found if c.task == cell.task}) > 1}
    found = _first_of_each_group(spec, [cell for cell in found if cell.task in several], study)
    return {"final": found, "predictions": one_cell_a_task(found)} if found else {}


def curves(spec: FigureSpec, study: Study) -> Wanted:
    return _with_finals(spec, study, study.select(**_of_groups(spec, study), method=STRATEGIES, train=study.base_train))


def larger(spec: FigureSpec, study: Study) -> Wanted:
    """The base size too, which says what overfits."""
    base, mine = study.base_train, _of_groups(spec, study) | {"method": PAIR}
    trains = [size for size in sizes(study) if base.isdigit() and int(size) > int(base)]
    tasks = {cell.task for cell in study.select(**mine, train=trains)}
    found = [cell for cell in study.select(**mine, train=[base, *trains]) if cell.task in tasks]
    return {"curves": found, "final": found} if found else {}


def _with_finals(spec: FigureSpec, study: Study, found: list[Cell]) -> Wanted:
    """The finals say which seeds diverged."""
    found = _first_of_each_group(spec, found, study)
    return {"curves": found, "final": found} if found else {}


def _first_of_each_group(spec: FigureSpec, found: list[Cell], study: Study) -> list[Cell]:
    """The cells of the `per_group` tasks with the most cells (most train sizes); of equals the first in the study."""
    if not spec.per_group:
        return found
    counts = Counter(cell.task for cell in found)
    kept: set[str] = set()
    for group in spec.groups:
        mine = [task.id for task in study.tasks.values() if task.group == group and task.id in counts]
        kept |= set(sorted(mine, key=lambda task: -counts[task])[: spec.per_group])
    return [cell for cell in found if cell.task in kept]


def explained(spec: FigureSpec, study: Study, apart: bool = False) -> Wanted:
    """The explained tasks, or those of Figure 18: the config's explain.figure_18, else the far objectives."""
    named = study.config["explain"].get("figure_18")
    far = {t.id for t in study.tasks.values() if (t.high_disparity if named is None else t.id in named)}
    tasks = [task for _, task, _ in study.explained if (task in far) == apart]
    return {"explain": tasks[: spec.per_group or MOST_MAPS]} if tasks else {}


def costs(spec: FigureSpec, study: Study) -> Wanted:
    found = cost.reads(study)
    return found | {"predictions": one_cell_a_task(found["final"])} if found else {}


def examples(spec: FigureSpec, study: Study) -> Wanted:
    return {"examples": study.used("task")}


def searches(spec: FigureSpec, study: Study) -> Wanted:
    found = study.select(backbone=study.main_backbone, method=spec.method, train=study.base_train)
    return {"search": found} if found else {}
