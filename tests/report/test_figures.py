"""report.figures: what each reads, that each draws its data, what it refuses, and the same bytes twice."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex

from tests.report.synthetic import curve_rows, explain_rows, fid_rows
from vptcore.analysis.statistics import compare, summarise
from vptcore.models.methods_table import METHODS
from vptcore.records import RowsError
from vptcore.report.figures import FIGURES, caption, draw, inputs, save


@pytest.fixture(scope="module")
def frames(demo, demo_final):
    def of(number):
        wanted = inputs(number, demo)
        makers = {
            "final": lambda _: demo_final,
            "curves": lambda cells: curve_rows(demo, cells, epochs=6),
            "fid": fid_rows,
            "explain": lambda tasks: explain_rows(demo, demo.main_backbone, tasks),
        }
        return {kind: makers[kind](cells) for kind, cells in wanted.items()}

    return of


def test_inputs_of_the_paper(paper):
    kinds = {number: sorted(inputs(number, paper)) for number in FIGURES}
    assert kinds["3"] == ["fid", "final"]
    assert kinds["8"] == ["explain"]
    assert all(kinds[n] == ["curves"] for n in ("5", "6", "9", "10", "11", "12", "13"))
    assert len(inputs("12", paper)["curves"]) == 8 * 4
    assert {c.train for c in inputs("13", paper)["curves"]} == {"5000", "10000", "20000"}
    assert {c.method for c in inputs("16", paper)["final"]} == {"full", "vpt"}


def test_the_demo_has_no_larger_sizes(demo):
    assert [n for n in FIGURES if not inputs(n, demo)] == ["6", "13"]


def test_figure_4_takes_the_tasks_with_most_sizes(paper):
    natural = {c.task for c in inputs("4", paper)["final"] if paper.tasks[c.task].group == "natural"}
    assert {"cifar100", "svhn", "sun397"} < natural
    assert len(natural) == 4


@pytest.mark.parametrize("number", [n for n in FIGURES if n not in ("6", "13")])
def test_every_figure_draws_and_captions(number, demo, frames):
    mine = frames(number)
    figure = draw(number, demo, mine)
    assert any(axis.has_data() for axis in figure.axes)
    words = caption(number, demo, mine)
    assert words.startswith(FIGURES[number].title)
    assert "Protocol: paper." in words
    assert "yet" not in words


def test_forest_shows_the_differences(demo, frames):
    mine = frames("forest")
    axis = draw("forest", demo, mine).axes[0]
    middles = sorted(line.get_xdata()[0] for line in axis.lines if line.get_marker() == "o")
    base = mine["final"][mine["final"].train == "160"]
    assert middles == pytest.approx(sorted(100 * compare(summarise(base)).difference))


def test_bars_have_the_distances_and_the_winners_colours(demo, frames):
    mine = frames("3")
    axis = draw("3", demo, mine).axes[0]
    bars = [patch for patch in axis.patches if patch.get_height() > 0]
    fid = mine["fid"].set_index("task")["fid"]
    tasks = [t for t in demo.tasks if t in fid.index]
    assert [bar.get_height() for bar in bars] == pytest.approx(fid[tasks].tolist())
    base = mine["final"][mine["final"].train == "160"]
    gaps = compare(summarise(base)).set_index("task").difference
    expected = [METHODS["vpt" if gaps[t] > 0 else "full"].colour.lower() for t in tasks]
    assert [to_hex(bar.get_facecolor()) for bar in bars] == expected
    assert [bool(bar.get_hatch()) for bar in bars] == [demo.tasks[t].high_disparity for t in tasks]
    assert "not Inception" in axis.get_ylabel()


def test_curves_show_the_mean_loss(demo, frames):
    mine = frames("10")
    axis = draw("10", demo, mine).axes[0]
    rows = mine["curves"].query("method == 'vpt'")
    oracle = rows.groupby("epoch").train_loss.mean().to_numpy()
    drawn = [line.get_ydata() for line in axis.lines if line.get_color() == METHODS["vpt"].colour]
    assert any(np.allclose(values, oracle) for values in drawn)


def test_missing_cells_are_counted(demo, frames):
    mine = frames("12")
    kept = mine["curves"].query("not (method == 'mixed' and task == 'shapes_count')")
    draw("12", demo, {"curves": kept})
    assert "1 of 12 cells has no curves rows yet." in caption("12", demo, {"curves": kept})


def test_a_task_without_accuracies_keeps_its_bar(demo, frames):
    mine = frames("3")
    kept = mine["final"].query("task != 'digits'")
    axis = draw("3", demo, {**mine, "final": kept}).axes[0]
    assert sum(patch.get_height() > 0 for patch in axis.patches) == 5


def test_class_names_come_from_the_index(demo, frames):
    index = pd.DataFrame({"task": "digits", "label": [0, 1, 2], "class_name": ["nought", "one", None]})
    figure = draw("8", demo, {**frames("8"), "index": index})
    titles = " ".join(axis.get_title(loc="left") for axis in figure.axes)
    assert "nought" in titles
    assert "class 2" in titles


def test_a_map_of_the_wrong_size_is_one_line(demo, frames):
    rows = frames("8")["explain"].assign(grid_h=3)
    with pytest.raises(RowsError, match="a map of 49 values for a grid of 3 x 7"):
        draw("8", demo, {"explain": rows})


@pytest.mark.parametrize("number", ["forest", "5"])
def test_no_rows_are_one_line(number, demo, frames):
    empty = {kind: frame.head(0) for kind, frame in frames(number).items()}
    with pytest.raises(RowsError, match=f"figure {number}: no rows of kind"):
        draw(number, demo, empty)


def test_a_missing_kind_is_one_line(demo):
    with pytest.raises(RowsError, match="figure 3: rows of kind final are missing; it reads final, fid"):
        draw("3", demo, {})


def test_a_figure_that_is_not_drawn_is_one_line(demo):
    with pytest.raises(ValueError, match="figure 7: it is not drawn here; choose one of forest, 3"):
        draw(7, demo, {})
    with pytest.raises(ValueError, match="figure 6: the study 'demo' has nothing for it"):
        draw("6", demo, {})


def test_repeated_seeds_are_one_line(demo, frames):
    final = frames("forest")["final"]
    with pytest.raises(RowsError, match="occurs twice"):
        draw("forest", demo, {"final": pd.concat([final, final])})


@pytest.mark.parametrize("number", ["forest", "3", "8"])
def test_the_same_rows_give_the_same_bytes(number, demo, frames, tmp_path):
    for run in ("a", "b"):
        save(draw(number, demo, frames(number)), tmp_path / f"{run}.pdf", tmp_path / f"{run}.png")
    for suffix in ("pdf", "png"):
        assert (tmp_path / f"a.{suffix}").read_bytes() == (tmp_path / f"b.{suffix}").read_bytes()
    pdf = (tmp_path / "a.pdf").read_bytes()
    assert b"CreationDate" not in pdf
    assert b"Type 3" not in pdf
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.pdf", "a.png", "b.pdf", "b.png"]


def test_listing_figures_loads_no_matplotlib():
    code = "import sys; from vptcore.report import figures, tables; print({'matplotlib', 'torch'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout == "set()\n"
