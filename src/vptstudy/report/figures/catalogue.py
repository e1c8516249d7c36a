"""The figures, one row each: what each reads, which function draws it, and what its caption says.

In: a figure's number and a study. Out: its row, and the kinds and cells that it reads; {} where the study has nothing
for it. A figure is one row of `FIGURES` and one drawing function: targets, files, captions, the report and its pages
follow from the row. Nothing here loads matplotlib.

    snakemake figure_05
"""

from __future__ import annotations

from functools import partial

from vptcore.analysis.statistics import CELL
from vptcore.data.tasks import GROUPS
from vptcore.training.choose import edge_of
from vptstudy.report import captions, chance, quadrants
from vptstudy.report.figures import overfitted, seen, values, wanted
from vptstudy.report.figures.wanted import FigureSpec, Frames, Wanted
from vptstudy.report.raced import race_line
from vptstudy.report.tables import cost, whens
from vptstudy.study import Study

__all__ = ["FIGURES", "FigureSpec", "inputs", "is_drawn", "spec_of"]


def _edges(study: Study, frames: Frames) -> str:
    searches = [rows for _, rows in frames["search"].groupby(CELL, sort=False)]
    return " ".join(filter(None, (captions.edges_line(map(edge_of, searches)), race_line(searches))))


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
    "reads": wanted.curves,
}
_LARGER = {
    "values": values.losses,
    "sees": seen.losses,
    "drawer": "draw_lines:losses_by_size",
    "shows": _LOSSES,
    "reads": wanted.larger,
    "narrows": overfitted.larger_sizes,
    "adds": overfitted.said,
}
_BY_SIZE = {
    "values": values.accuracies,
    "sees": seen.accuracies,
    "drawer": "draw_lines:accuracy_by_size",
    "shows": _SIZES,
    "reads": wanted.by_size,
    "by_cell": True,
}
_GRAD_CAM = {
    "values": values.answers,
    "sees": seen.answers,
    "drawer": "draw_maps:grad_cam",
    "shows": _MAPS,
    "reads": wanted.explained,
}
_SEARCHED = {
    "adds": _edges,
    "values": values.searches,
    "sees": seen.searches,
    "drawer": "draw_grids:searches",
    "shows": _SEARCH,
    "reads": wanted.searches,
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
            wanted.differences,
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
            wanted.fid,
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
            wanted.explained,
            per_group=3,
            sees=seen.answers,
        ),
        FigureSpec(
            "18",
            "Grad-CAM of full fine-tuning and VPT, other quadrants",
            **(_GRAD_CAM | {"reads": partial(wanted.explained, apart=True)}),
        ),
        FigureSpec(
            "19",
            "Examples of every data set",
            "draw_examples:examples",
            "The first images of each test split, one a class as far as the classes go.",
            values.images,
            wanted.examples,
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
            wanted.predictions,
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
            wanted.costs,
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
