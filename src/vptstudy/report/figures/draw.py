"""The figures, one row each: what each reads, and how it is drawn, captioned and saved.

In: a figure's number, a study and the frames of the kinds it reads. Out: a matplotlib figure, its caption, a PDF and a
PNG. Figures 2 and 7 are drawings and read no rows. Those with names are not in the paper.

    python -m pytest tests/vptstudy/report/test_figures.py
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from vptcore.data.tasks import GROUPS
from vptcore.records import RowsError
from vptstudy.report import captions, quadrants
from vptstudy.report.tables import cost
from vptstudy.report.tables.build import rows_of
from vptstudy.report.tables.specs import PAIR, STRATEGIES, sizes
from vptstudy.study import Cell, Study

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["FIGURES", "FigureSpec", "caption", "draw", "inputs", "is_drawn", "save", "spec_of"]

VTAB_GROUPS = GROUPS[:3]
MOST_MAPS = 6


@dataclass(frozen=True)
class FigureSpec:
    """One figure. `kind` says what it reads (`inputs`) and how it is drawn (`draw`); larger: curves at larger sizes.

    `per_group` limits the tasks of each group to so many, those with the most cells; 0 is all. `log`: a logarithmic
    loss axis. `method`: the one whose searches are shown.
    """

    number: str
    title: str
    kind: str
    groups: tuple[str, ...] = VTAB_GROUPS
    per_group: int = 0
    log: bool = False
    method: str = ""


FIGURES: dict[str, FigureSpec] = {
    spec.number: spec
    for spec in (
        FigureSpec("forest", "VPT against full fine-tuning, task by task", "forest", GROUPS),
        FigureSpec("1", "VPT or full fine-tuning, by quadrant", "quadrants", GROUPS),
        FigureSpec("2", "Full fine-tuning and visual prompt tuning", "methods"),
        FigureSpec("3", "Fréchet distance and the better of FT and VPT", "fid"),
        FigureSpec("4", "Accuracy by train size", "sizes", per_group=4),
        FigureSpec("5", "Training and test loss", "curves", per_group=2),
        FigureSpec("6", "Training and test loss with larger training sets", "larger", ("structured",), per_group=3),
        FigureSpec("7", "The hypothesis of an extra dimension", "dimension"),
        FigureSpec("8", "Grad-CAM of full fine-tuning and VPT", "maps", ("natural", "specialized")),
        FigureSpec("9", "Training and test loss, logarithmic", "curves", per_group=2, log=True),
        FigureSpec("10", "Training and test loss, Natural", "curves", ("natural",)),
        FigureSpec("11", "Training and test loss, Specialized", "curves", ("specialized",)),
        FigureSpec("12", "Training and test loss, Structured", "curves", ("structured",)),
        FigureSpec("13", "Training and test loss with larger training sets, Structured", "larger", ("structured",)),
        FigureSpec("14", "Accuracy by train size, Natural", "sizes", ("natural",)),
        FigureSpec("15", "Accuracy by train size, Specialized", "sizes", ("specialized",)),
        FigureSpec("16", "Accuracy by train size, Structured", "sizes", ("structured",)),
        FigureSpec(
            "17", "Integrated gradients, and more Grad-CAM", "attributions", ("natural", "specialized"), per_group=3
        ),
        FigureSpec("18", "Grad-CAM of full fine-tuning and VPT, Structured", "maps", ("structured",)),
        FigureSpec("19", "Examples of every data set", "examples", GROUPS),
        FigureSpec("search_vpt", "The search, VPT", "search", GROUPS, method="vpt"),
        FigureSpec("search_full", "The search, full fine-tuning", "search", GROUPS, method="full"),
        FigureSpec("calibration", "Calibration of full fine-tuning and VPT", "calibration", GROUPS),
        FigureSpec("cost", "What accuracy costs", "cost", GROUPS),
    )
}


# Drawings: they show what is meant, not what was found, and read no rows.
SCHEMES = ("methods", "dimension")


def spec_of(number: str | int) -> FigureSpec:
    if str(number) not in FIGURES:
        raise ValueError(f"figure {number!r}: it is not drawn here; choose one of {', '.join(FIGURES)}")
    return FIGURES[str(number)]


def is_drawn(number: str | int, study: Study) -> bool:
    """Whether the study has anything for the figure."""
    return spec_of(number).kind in SCHEMES or bool(inputs(number, study))


def inputs(number: str | int, study: Study) -> dict[str, list]:
    """Kind of rows -> what the figure reads: cells, or task ids for fid, explain and examples; {} if none."""
    spec = spec_of(number)
    if spec.kind in SCHEMES:
        return {}
    if spec.kind in ("quadrants", "cost"):
        return (quadrants if spec.kind == "quadrants" else cost).reads(study)
    if spec.kind in ("maps", "attributions"):
        tasks = [task for _, task, _ in study.explained if study.tasks[task].group in spec.groups]
        return {"explain": tasks[: spec.per_group or MOST_MAPS]} if tasks else {}
    if spec.kind == "examples":
        return {"examples": study.used("task")}
    if spec.kind == "search":
        found = study.select(backbone=study.main_backbone, method=spec.method, train=study.base_train)
        return {"search": found} if found else {}
    found = _first_of_each_group(spec, _cells(spec, study), study)
    if not found:
        return {}
    if spec.kind == "fid":
        return {"final": found, "fid": list(dict.fromkeys(cell.task for cell in found))}
    if spec.kind == "calibration":
        return {"predictions": found}
    # Whether a curve overfits is held against the spread between seeds, which only the finals have for every seed.
    return {"curves": found, "final": found} if spec.kind in ("curves", "larger") else {"final": found}


def _cells(spec: FigureSpec, study: Study) -> list[Cell]:
    """The cells of the main backbone that a figure of this kind shows."""
    tasks = [task.id for task in study.tasks.values() if task.group in spec.groups]
    mine = {"backbone": study.main_backbone, "task": tasks}
    if spec.kind == "curves":
        return study.select(**mine, method=STRATEGIES, train=study.base_train)
    base = study.base_train
    if spec.kind == "larger":
        larger = [size for size in sizes(study) if base.isdigit() and int(size) > int(base)]
        return study.select(**mine, method=PAIR, train=larger)
    if spec.kind == "sizes":
        found = study.select(**mine, method=PAIR, train=sizes(study))
        several = {task for task in tasks if len({cell.train for cell in found if cell.task == task}) > 1}
        return [cell for cell in found if cell.task in several]
    found = study.select(**mine, method=PAIR, train=base)
    pairs = {task for task in tasks if len({cell.method for cell in found if cell.task == task}) == len(PAIR)}
    return [cell for cell in found if cell.task in pairs]


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


def draw(number: str | int, study: Study, frames: Mapping[str, pd.DataFrame]) -> Figure:
    """Draw a figure from the frames of `inputs`' kinds; rows of other cells are ignored, missing ones leave a gap.

    `frames` may hold rows of kind `index` too: Figures 8 and 18 then name classes instead of numbering them. Raises
    RowsError of one line where nothing can be drawn or the rows are wrong.
    """
    spec = spec_of(number)
    mine = _only_mine(number, study, frames)
    for kind, frame in mine.items():
        # An empty explain file is an answer: no image that one method alone gets right.
        if kind not in ("index", "explain") and frame.empty:
            raise RowsError(
                f"figure {number}: no rows of kind {kind} for the study {study.name!r}; run their cells first"
            )
    # The workflow imports this module for every job; matplotlib is loaded only where something is drawn.
    from vptstudy.report.figures import draw_bars, draw_examples, draw_grids, draw_lines, draw_maps, draw_schemes, style

    drawers = {
        "forest": draw_bars.forest,
        "fid": draw_bars.fid,
        "sizes": draw_lines.accuracy_by_size,
        "curves": draw_lines.losses,
        "larger": draw_lines.losses,
        "maps": draw_maps.grad_cam,
        "attributions": draw_maps.attributions,
        "examples": draw_examples.examples,
        "quadrants": draw_schemes.quadrant,
        "methods": draw_schemes.methods,
        "dimension": draw_schemes.dimension,
        "search": draw_grids.searches,
        "calibration": draw_grids.calibration,
        "cost": draw_grids.costs,
    }
    with style.styled():
        figure = drawers[spec.kind](spec, study, mine)
        if captions.notice(study):
            style.stamp(figure, captions.notice(study))
        return figure


def save(figure: Figure, pdf_path: Path | str, png_path: Path | str) -> None:
    """Write the figure as PDF and PNG (`style.save`)."""
    from vptstudy.report.figures import style

    style.save(figure, pdf_path, png_path)


def _only_mine(number: str | int, study: Study, frames: Mapping[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    mine = {}
    for kind, wanted in inputs(number, study).items():
        if kind not in frames:
            raise RowsError(
                f"figure {number}: rows of kind {kind} are missing; it reads {', '.join(inputs(number, study))}"
            )
        mine[kind] = _of(frames[kind], wanted)
    if not is_drawn(number, study):
        raise ValueError(f"figure {number}: the study {study.name!r} has nothing for it ({spec_of(number).title})")
    if "index" in frames:
        mine["index"] = frames["index"]
    return mine


def _of(frame: pd.DataFrame, wanted: list) -> pd.DataFrame:
    """The rows of the wanted cells, or of the wanted tasks."""
    return rows_of(frame, wanted) if isinstance(wanted[0], Cell) else frame.loc[frame["task"].isin(wanted)]


def caption(number: str | int, study: Study, frames: Mapping[str, pd.DataFrame]) -> str:
    """The figure's caption, computed from the same frames."""
    return captions.figure_caption(spec_of(number), study, inputs(number, study), _only_mine(number, study, frames))
