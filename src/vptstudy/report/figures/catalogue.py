"""The figures, one row each: what each reads, which function draws it, and what its caption says.

In: a figure's number and a study. Out: its row, and the kinds and cells that it reads; {} where the study has nothing
for it. A figure is one row of `FIGURES` and one drawing function: targets, files, captions, the report and its pages
follow from the row. Nothing here loads matplotlib.

    snakemake figure_05
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import pandas as pd

from vptcore.analysis.statistics import CELL
from vptcore.data.tasks import GROUPS
from vptcore.training.choose import edge_of
from vptstudy.report import captions, chance, quadrants
from vptstudy.report.chance import one_cell_a_task
from vptstudy.report.figures import overfitted, seen, values
from vptstudy.report.raced import race_line
from vptstudy.report.tables import cost, whens
from vptstudy.report.tables.specs import PAIR, STRATEGIES, sizes
from vptstudy.study import Cell, Study

__all__ = ["FIGURES", "FigureSpec", "inputs", "is_drawn", "spec_of"]

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


def _differences(spec: FigureSpec, study: Study) -> Wanted:
    found = _compared(spec, study)
    return {"final": found, "predictions": found} if found else {}


def _predictions(spec: FigureSpec, study: Study) -> Wanted:
    found = _compared(spec, study)
    return {"predictions": found} if found else {}


def _fid(spec: FigureSpec, study: Study) -> Wanted:
    found = _compared(spec, study) if study.fid_tasks else []
    measured = list(dict.fromkeys(cell.task for cell in found))
    return {"final": found, "predictions": found, "fid": measured} if found else {}


def _sizes(spec: FigureSpec, study: Study) -> Wanted:
    """Tasks that were run at more than one size."""
    found = study.select(**_of_groups(spec, study), method=PAIR, train=sizes(study))
    several = {cell.task for cell in found if len({c.train for c in found if c.task == cell.task}) > 1}
    found = _first_of_each_group(spec, [cell for cell in found if cell.task in several], study)
    return {"final": found, "predictions": one_cell_a_task(found)} if found else {}


def _curves(spec: FigureSpec, study: Study) -> Wanted:
    return _with_finals(spec, study, study.select(**_of_groups(spec, study), method=STRATEGIES, train=study.base_train))


def _larger(spec: FigureSpec, study: Study) -> Wanted:
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


def _explained(spec: FigureSpec, study: Study, apart: bool = False) -> Wanted:
    """The explained tasks, or those of Figure 18: the config's explain.figure_18, else the far objectives."""
    named = study.config["explain"].get("figure_18")
    far = {t.id for t in study.tasks.values() if (t.high_disparity if named is None else t.id in named)}
    tasks = [task for _, task, _ in study.explained if (task in far) == apart]
    return {"explain": tasks[: spec.per_group or MOST_MAPS]} if tasks else {}


def _costs(spec: FigureSpec, study: Study) -> Wanted:
    found = cost.reads(study)
    return found | {"predictions": one_cell_a_task(found["final"])} if found else {}


def _examples(spec: FigureSpec, study: Study) -> Wanted:
    return {"examples": study.used("task")}


def _edges(study: Study, frames: Frames) -> str:
    searches = [rows for _, rows in frames["search"].groupby(CELL, sort=False)]
    return " ".join(filter(None, (captions.edges_line(map(edge_of, searches)), race_line(searches))))


def _searches(spec: FigureSpec, study: Study) -> Wanted:
    found = study.select(backbone=study.main_backbone, method=spec.method, train=study.base_train)
    return {"search": found} if found else {}


_LOSSES = "Cross-entropy per epoch, training solid, test dashed, averaged over the seeds that have them."
_SIZES = (
    "Test accuracy against the number of training images (logarithmic), mean ± standard deviation over seeds. FT full "
    f"marks, VPT hollow ones. {chance.CAPTION}"
)
_SEARCH = (
    "Validation accuracy of every configuration at the last epoch, in points below the best of its task; a "
    "ring marks the one that was chosen (ties: the smaller learning rate, then the smaller decay). ◂ or ▸ beside a "
    "task: the best rate is the lowest or the highest that was tried; =: all score the same."
)
_MAPS = (
    "From left to right the input with its true class, and Grad-CAM of FT and VPT with what each answered "
    "(✓ right, ✗ wrong) and how confident it was; red: what raised the score of the class it answered most; no "
    "colour: nothing did."
)

_CURVES = {
    "values": values.losses,
    "sees": seen.losses,
    "drawer": "draw_lines:losses",
    "shows": _LOSSES,
    "reads": _curves,
}
_LARGER = {
    "values": values.losses,
    "sees": seen.losses,
    "drawer": "draw_lines:losses_by_size",
    "shows": _LOSSES,
    "reads": _larger,
    "narrows": overfitted.larger_sizes,
    "adds": overfitted.said,
}
_BY_SIZE = {
    "values": values.accuracies,
    "sees": seen.accuracies,
    "drawer": "draw_lines:accuracy_by_size",
    "shows": _SIZES,
    "reads": _sizes,
    "by_cell": True,
}
_GRAD_CAM = {
    "values": values.answers,
    "sees": seen.answers,
    "drawer": "draw_maps:grad_cam",
    "shows": _MAPS,
    "reads": _explained,
}
_SEARCHED = {
    "adds": _edges,
    "values": values.searches,
    "sees": seen.searches,
    "drawer": "draw_grids:searches",
    "shows": _SEARCH,
    "reads": _searches,
    "groups": GROUPS,
}
_HARD = ("structured",)

FIGURES: dict[str, FigureSpec] = {
    spec.number: spec
    for spec in (
        FigureSpec(
            "forest",
            "VPT against full fine-tuning, task by task",
            "draw_bars:forest",
            "Difference in test accuracy between VPT and FT, with its 95 % interval over seeds and test images; "
            "coloured where it is clear, Holm's correction over all tasks. Diamonds: the mean over the group's tasks, "
            "thick on these tasks, thin and after the slash on tasks like these, and coloured by the wider one. Grey "
            "band: differences that do not matter.",
            values.forest,
            _differences,
            GROUPS,
            by_cell=True,
            sees=seen.differences,
        ),
        FigureSpec(
            "1",
            "VPT or full fine-tuning, by quadrant",
            "draw_plane:quadrant",
            "VPT − FT in points of test accuracy against the Fréchet distance between a task's images and the "
            "reference: circles near objectives (classification), triangles far ones; lines 95 % intervals over seeds "
            "and test images, coloured where they are clear (Holm). Dashed: the distance beyond which images are far, "
            "the spread of the reference itself (the mean squared distance of its images from their mean). Bars and, "
            "beside them, words: the mean over a quadrant's tasks with its interval over tasks like these (of one or "
            "two tasks over seeds and test images).",
            values.quadrants,
            lambda spec, study: quadrants.reads(study),
            GROUPS,
            by_cell=True,
            sees=seen.quadrants,
        ),
        FigureSpec(
            "when",
            "When VPT beats full fine-tuning",
            "draw_when:when",
            "VPT − FT in points of test accuracy. (a) Against the number of training images: a thin line a task, a "
            "thick one the least-squares line of a group, and where its slope is clear the size at which it crosses 0, "
            "with the 95 % interval of a bootstrap over tasks. (b) Against the Fréchet distance to the reference: "
            "circles near objectives, triangles far ones; hollow at the base size, filled at the task's largest.",
            values.points,
            lambda spec, study: whens.reads(study),
            GROUPS,
            sees=seen.points,
        ),
        FigureSpec(
            "2",
            "Full fine-tuning and visual prompt tuning",
            "draw_schemes:methods",
            "What is trained and what stays frozen: (a) full fine-tuning, (b) visual prompt tuning, which learns "
            "the prompts of every layer and the head (paper, equation 1). A drawing, from no data.",
            values.parts,
            sees=seen.parts,
        ),
        FigureSpec(
            "3",
            "Fréchet distance and the better of FT and VPT",
            "draw_bars:fid",
            "Bars: Fréchet distance between the task's images and the reference, with the interval of its bootstrap "
            "where there is one; colour: the method with the higher mean accuracy; slashes: tasks whose objective is "
            "far from classification; ≈: the 95 % interval of the difference, over seeds and test images, includes 0 "
            "or is not known.",
            values.distances,
            _fid,
            by_cell=True,
            sees=seen.distances,
        ),
        FigureSpec("4", "Accuracy by train size", per_group=4, **_BY_SIZE),
        FigureSpec("5", "Training and test loss", per_group=2, **_CURVES),
        FigureSpec("6", "Training and test loss with larger training sets", groups=_HARD, per_group=3, **_LARGER),
        FigureSpec(
            "7",
            "The hypothesis of an extra dimension",
            "draw_schemes:dimension",
            "A hypothesis that the paper rejects: in one dimension (red) training gets stuck in a local minimum; "
            "with an added one (yellow) it finds a way out; blue: the loss. Gradient descent on a made-up loss, from "
            "no data.",
            values.paths,
            sees=seen.paths,
        ),
        FigureSpec("8", "Grad-CAM of full fine-tuning and VPT", **_GRAD_CAM),
        FigureSpec("9", "Training and test loss, logarithmic", per_group=2, log=True, **_CURVES),
        FigureSpec("10", "Training and test loss, Natural", groups=("natural",), **_CURVES),
        FigureSpec("11", "Training and test loss, Specialized", groups=("specialized",), **_CURVES),
        FigureSpec("12", "Training and test loss, Structured", groups=_HARD, **_CURVES),
        FigureSpec("13", "Training and test loss with larger training sets, all that overfit", **_LARGER),
        FigureSpec("14", "Accuracy by train size, Natural", groups=("natural",), **_BY_SIZE),
        FigureSpec("15", "Accuracy by train size, Specialized", groups=("specialized",), **_BY_SIZE),
        FigureSpec("16", "Accuracy by train size, Structured", groups=_HARD, **_BY_SIZE),
        FigureSpec(
            "17",
            "Integrated gradients, and more Grad-CAM",
            "draw_maps:attributions",
            "(a) Integrated gradients of the class each method answered: absolute values added over channels, "
            "dark where they are high, FT and VPT of an image on one scale; δ is by how much their sum misses the "
            "score's rise over the mean image, as a share of it. (b) Grad-CAM of further images. ✓ right, ✗ wrong, "
            "with the confidence.",
            values.answers,
            _explained,
            per_group=3,
            sees=seen.answers,
        ),
        FigureSpec(
            "18",
            "Grad-CAM of full fine-tuning and VPT, other quadrants",
            **(_GRAD_CAM | {"reads": partial(_explained, apart=True)}),
        ),
        FigureSpec(
            "19",
            "Examples of every data set",
            "draw_examples:examples",
            "The first images of each test split, one a class as far as the classes go.",
            values.images,
            _examples,
            GROUPS,
            sees=seen.images,
        ),
        FigureSpec("search_vpt", "The search, VPT", method="vpt", **_SEARCHED),
        FigureSpec("search_full", "The search, full fine-tuning", method="full", **_SEARCHED),
        FigureSpec(
            "calibration",
            "Calibration of full fine-tuning and VPT",
            "draw_grids:calibration",
            "Above: how often answers of a given confidence are right, in 15 bins, every task with the same "
            "weight. Below: expected calibration error of each task, mean ± standard deviation over seeds. "
            f"{chance.CAPTION}",
            values.calibration,
            _predictions,
            GROUPS,
            sees=seen.calibration,
        ),
        FigureSpec(
            "cost",
            "What accuracy costs",
            "draw_grids:costs",
            "Mean test accuracy ± standard deviation over seeds of each method in each group, against the wall seconds "
            f"of one seed and against the tuned share of all parameters (head included), both logarithmic. "
            f"{chance.CAPTION}",
            values.costs,
            _costs,
            GROUPS,
            by_cell=True,
            adds=cost.left_out,
            sees=seen.costs,
        ),
    )
}


def spec_of(number: str | int) -> FigureSpec:
    if str(number) not in FIGURES:
        raise ValueError(f"figure {number!r}: it is not drawn here; choose one of {', '.join(FIGURES)}")
    return FIGURES[str(number)]


def inputs(number: str | int, study: Study) -> Wanted:
    """Kind of rows -> what the figure reads: cells, or task ids for fid, explain and examples; {} if none."""
    spec = spec_of(number)
    return spec.reads(spec, study) if spec.reads else {}


def is_drawn(number: str | int, study: Study) -> bool:
    """Whether the study has anything for the figure; a drawing needs nothing."""
    return spec_of(number).reads is None or bool(inputs(number, study))
