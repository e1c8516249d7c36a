"""Figure 1 and the quadrants: the threshold that the reference fixes, every point by pandas, names that stand apart."""

from __future__ import annotations

import io
from itertools import combinations, pairwise

import numpy as np
import pandas as pd
import pytest
from matplotlib.text import Text

from tests.vptstudy.report.synthetic import answers_of, fid_rows
from vptstudy.report.figures.draw import caption, draw, inputs, numbers
from vptstudy.report.figures.draw_plane import MARKS
from vptstudy.report.quadrants import is_far, largest_sizes, quadrants


@pytest.fixture(scope="module")
def frames(demo, demo_final):
    return {"final": demo_final, "fid": fid_rows(inputs("1", demo)["fid"]), "predictions": answers_of(demo_final)}


@pytest.fixture(scope="module")
def paper_frames(paper, paper_final):
    final = paper_final[paper_final.backbone == paper.main_backbone]
    return {"final": final, "fid": fid_rows(inputs("1", paper)["fid"]), "predictions": {}}


def gaps_of(final: pd.DataFrame, train: str) -> pd.Series:
    wide = final[final.train == train].pivot_table(index="task", columns="method", values="test_accuracy")
    return 100 * (wide.vpt - wide.full)


def test_the_quadrants_are_means_over_tasks_by_objective_and_spread(demo, frames):
    found, fid = quadrants(demo, frames), frames["fid"].set_index("task")["fid"]
    for one in found:
        expected = [t for t in fid.index if demo.tasks[t].high_disparity == one.far_objective]
        expected = [t for t in expected if (fid[t] > 130.0) == one.far_images]
        assert list(one.tasks) == expected
        if expected:
            assert one.few.gap.difference == pytest.approx(gaps_of(frames["final"], "160")[expected].mean())
    assert sum(len(one.tasks) for one in found) == 5
    assert 0 < sum(is_far(frames["fid"])) < 5


def test_no_other_task_moves_the_threshold(frames):
    fid = frames["fid"].set_index("task")
    for task in fid.index:
        alone = is_far(fid.drop(task))
        assert alone.equals(is_far(fid).drop(task))


def test_every_point_is_its_tasks_difference_at_its_distance(paper, paper_frames):
    """Above at 800 images, below at the largest size that both methods have, by pandas."""
    few, _, many, _ = draw("1", paper, paper_frames).axes
    fid = paper_frames["fid"].set_index("task")["fid"]
    largest = largest_sizes(paper, paper_frames["final"], tuple(fid.index))
    at = {train: gaps_of(paper_frames["final"], train) for train in {"800", *largest.values()}}
    for axis, sizes in ((few, dict.fromkeys(fid.index, "800")), (many, largest)):
        for far, mark in MARKS.items():
            seen = sorted(
                (line.get_xdata()[0], line.get_ydata()[0]) for line in axis.lines if line.get_marker() == mark
            )
            tasks = [task for task in sizes if paper.tasks[task].high_disparity == far]
            assert np.allclose(seen, sorted((fid[task], at[sizes[task]][task]) for task in tasks))
        (dashed,) = [line for line in axis.lines if line.is_dashed()]
        assert dashed.get_xdata()[0] == 130.0
    assert "spread of the reference" in caption("1", paper, paper_frames)


def test_names_cover_neither_each_other_nor_a_point(paper, paper_frames):
    figure = draw("1", paper, paper_frames)
    figure.draw_without_rendering()
    for axis in figure.axes[::2]:
        words = [text for text in axis.texts if text.get_text() not in ("I", "II", "III", "IV")]
        boxes = [Text.get_window_extent(text) for text in words]  # without the line that leads to the point
        assert len(boxes) > 10
        overlaps = [
            (a, b) for a, b in combinations(range(len(boxes)), 2) if boxes[a].shrunk(0.98, 0.8).overlaps(boxes[b])
        ]
        assert overlaps == [], [(words[a].get_text(), words[b].get_text()) for a, b in overlaps]
        points = [
            axis.transData.transform(line.get_xydata()[0]) for line in axis.lines if line.get_marker() in MARKS.values()
        ]
        assert not [p for p in points for box in boxes if box.contains(*p)]
        (dashed,) = [line for line in axis.lines if line.is_dashed()]
        threshold = axis.transData.transform((dashed.get_xdata()[0], 0))[0]
        names = [box for text, box in zip(words, boxes, strict=True) if text.get_style() != "italic"]
        assert [box for box in names if box.x0 < threshold < box.x1] == [], "the dashed line runs through no name"
        level = axis.transData.transform((0, 0))[1]
        through = [box for box in names if box.y0 + 1 < level < box.y1 - 1]
        assert len(through) <= 2, "the line at 0 runs through few"


def test_both_panels_have_one_scale_and_their_verdicts_stand_beside_them(paper, paper_frames):
    figure = draw("1", paper, paper_frames)
    figure.draw_without_rendering()
    few, beside, many, _ = figure.axes
    assert few.get_xlim() == many.get_xlim()
    assert few.get_ylim() == many.get_ylim()
    points = [line.get_ydata()[0] for axis in (few, many) for line in axis.lines if line.get_marker() in MARKS.values()]
    assert few.get_ylim()[0] < min(points) <= max(points) < few.get_ylim()[1]
    boxes = [text.get_window_extent() for text in beside.texts]
    assert len(boxes) == 16
    assert min(box.y0 for box in boxes) >= few.bbox.y0, "no lower than the panel"
    assert all(above.y0 >= below.y1 - 1 for above, below in pairwise(boxes))


def test_the_csv_has_every_task_and_every_mean(demo, frames):
    found = pd.read_csv(io.StringIO(numbers("1", demo, frames)))
    assert sorted(found.task.dropna()) == sorted(frames["fid"].task)
    assert set(found.threshold.dropna()) == {130.0}
    means = found[found.task.isna()].set_index("quadrant")
    for numeral, tasks in found.dropna(subset="task").groupby("quadrant"):
        assert means.difference[numeral] == pytest.approx(tasks.difference.mean(), rel=1e-5)
        assert means.of[numeral] == len(tasks)


def test_a_quadrant_without_rows_says_so(demo, frames):
    final = frames["final"].query("task != 'digits' and task != 'fashion_mnist'")
    figure = draw("1", demo, {**frames, "final": final})
    assert "no rows of both methods" in " ".join(text.get_text() for axis in figure.axes for text in axis.texts)
