"""table_when and figure_when: the analysis by hand on made-up studies, and what is missing."""

from __future__ import annotations

import numpy as np
import pytest

from tests.vptstudy.report.synthetic import fid_rows, final_rows, make_study
from vptcore.data.tasks import VTAB
from vptstudy.report.figures.draw import caption, draw, inputs
from vptstudy.report.tables.extras import EXTRAS
from vptstudy.study import Cell

SIZES = ("400", "800", "5000")
MAIN, OTHER = "vit_b16_sup21k", "vit_b16_mae"


@pytest.fixture(scope="module")
def study():
    tasks = [task.id for task in VTAB if task.group != "specialized" and task.pool > 6250][:8]
    cells = [Cell(MAIN, m, t, n) for t in tasks for n in SIZES for m in ("full", "vpt")]
    cells += [Cell(OTHER, m, t, "800") for t in tasks for m in ("full", "vpt")]
    return make_study(cells, seeds=(1, 2))


@pytest.fixture(scope="module")
def frames(study):
    """VPT loses two points a doubling and crosses at 1,600 images; on the other backbone it loses five points more."""
    final, rng = final_rows(study), np.random.default_rng(4)
    noise = {key: rng.normal(0, 0.002) for key in zip(final.task, final.train, strict=True)}
    lead = 0.02 * np.log2(1600 / final.train.astype(float)) - 0.05 * (final.backbone == OTHER)
    lead += [noise[key] for key in zip(final.task, final.train, strict=True)]
    final["test_accuracy"] = 0.5 + lead.where(final.method == "vpt", 0.0)
    return {"final": final, "fid": fid_rows(study.used("task"))}


def lines(study, frames, block):
    frame = EXTRAS["when"].build(study, frames).frame
    return frame[frame.block.str.contains(block)].set_index("title")


def test_slope_and_crossing_are_found_again(study, frames):
    found = lines(study, frames, "doubling").loc["All tasks"]
    assert found.value == pytest.approx(-2, abs=0.1)
    assert found.low < -2 < found.high
    assert found.crossing == pytest.approx(1600, rel=0.05)
    assert (found.tasks, found.cells) == (8, 24)


def test_the_size_explains_and_the_distance_does_not(study, frames):
    found = lines(study, frames, "at once")
    assert found.loc["a doubling of the images", "high"] < 0
    assert (
        found.loc["a distance larger by one standard deviation", "low"]
        < 0
        < found.loc["a distance larger by one standard deviation", "high"]
    )


def test_another_backbone_is_compared_task_by_task(study, frames):
    found = lines(study, frames, "main backbone").iloc[0]
    assert found.value == pytest.approx(-5, abs=0.01)
    assert found.tasks == 8


def test_signs_are_called_right_where_the_size_decides(study, frames):
    found = lines(study, frames, "left out").loc["from the number of images"]
    assert found.accuracy == 100
    assert found.base == pytest.approx(100 * 2 / 3)


def test_the_figure_draws_every_task_and_the_crossing(study, frames):
    axis, beside = draw("when", study, frames).axes
    thin = [line for line in axis.lines if len(line.get_xdata()) == len(SIZES)]
    assert len(thin) == 8
    gaps = 100 * frames["final"].query("method == 'vpt' and backbone == @MAIN and seed == 1").test_accuracy - 50
    assert sorted(value for line in thin for value in line.get_ydata()) == pytest.approx(sorted(gaps))
    assert any("0 at 1," in text.get_text() for text in axis.get_legend().get_texts())
    assert beside.get_xlabel().startswith("Fréchet distance")
    assert "yet" not in caption("when", study, frames)


def test_missing_pairs_are_counted_and_few_tasks_have_no_table(study, frames):
    fewer = frames["final"].query("not (method == 'vpt' and train == '5000')")
    built = EXTRAS["when"].build(study, {**frames, "final": fewer})
    assert "8 of 32 pairs have no rows yet." in built.caption
    two = make_study([cell for cell in study.cells if cell.task in study.used("task")[:2]])
    assert EXTRAS["when"].reads(two) == {}
    assert inputs("when", two) == {}


def test_without_distances_the_sizes_still_answer(study, frames):
    for without in ({"final": frames["final"]}, frames | {"fid": frames["fid"].head(0)}):
        assert lines(study, without, "doubling").loc["All tasks"].crossing == pytest.approx(1600, rel=0.05)
