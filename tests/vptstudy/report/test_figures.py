"""report.figures: what each reads, that each draws its data, what it refuses, and the same bytes twice."""

from __future__ import annotations

import io
import subprocess
import sys
from dataclasses import replace
from itertools import pairwise, product
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from matplotlib.colors import to_hex
from matplotlib.text import Text

from tests.vptstudy.report.synthetic import (
    answers_of,
    curve_rows,
    example_rows,
    explain_rows,
    fid_rows,
    final_rows,
    make_study,
    prediction_rows,
    search_rows,
)
from vptcore.choices import ConfigError
from vptcore.data.tasks import EMBEDDED, TASKS
from vptcore.models.methods_table import METHODS
from vptcore.records import RowsError
from vptstudy.config.resolve import load_study
from vptstudy.report.figures.draw import FIGURES, caption, draw, inputs, is_drawn, numbers, save
from vptstudy.report.figures.draw_grids import _short
from vptstudy.report.figures.style import read_style, short
from vptstudy.report.figures.values import descent, loss_surface
from vptstudy.report.quadrants import largest_sizes
from vptstudy.report.tables.specs import cells
from vptstudy.study import Cell

EMBEDDED_TASKS = [task.id for task in EMBEDDED]


@pytest.fixture(scope="module")
def frames(demo, demo_final):
    def of(number):
        wanted = inputs(number, demo)
        answered = FIGURES[number].by_cell
        makers = {
            "final": lambda _: demo_final,
            "curves": lambda cells: curve_rows(demo, cells),
            "fid": fid_rows,
            "explain": lambda tasks: explain_rows(demo, demo.main_backbone, tasks),
            "search": lambda cells: search_rows(demo, cells),
            "predictions": lambda cells: answers_of(demo_final) if answered else prediction_rows(demo, cells),
            "examples": lambda tasks: example_rows(demo, tasks),
        }
        return {kind: makers[kind](cells) for kind, cells in wanted.items()}

    return of


def test_inputs_of_the_paper(paper):
    kinds = {number: sorted(inputs(number, paper)) for number in FIGURES}
    assert kinds["3"] == ["fid", "final", "predictions"]
    assert kinds["8"] == ["explain"]
    assert all(kinds[n] == ["curves", "final"] for n in ("5", "6", "9", "10", "11", "12", "13"))
    assert len(inputs("12", paper)["curves"]) == 8 * 4
    assert {c.train for c in inputs("13", paper)["curves"]} == {"800", "5000", "10000", "20000"}
    assert {c.method for c in inputs("16", paper)["final"]} == {"full", "vpt"}


def test_the_papers_config_draws_what_the_paper_shows():
    """KITTI at 1,000 and 1,200 in Figure 13, Retinopathy in Figure 18, and no rows of those sizes in Table 6."""
    study = load_study(yaml.safe_load(Path("config.yaml").read_text()))
    larger = inputs("13", study)["curves"]
    assert {c.train for c in larger if c.task == "kitti_distance"} == {"800", "1000", "1200", "5000"}
    assert {study.tasks[c.task].group for c in larger} == {"natural", "specialized", "structured"}
    assert set(inputs("18", study)["explain"]) == {"diabetic_retinopathy", "dmlab", "kitti_distance"}
    assert not set(inputs("8", study)["explain"]) & set(inputs("18", study)["explain"])
    assert {c.train for c in cells(6, study)} == {"400", "800", "5000", "10000", "20000"}


def test_own_far_objectives_are_explained_apart(demo):
    shown = {number: inputs(number, demo)["explain"] for number in ("8", "18")}
    assert all(not demo.tasks[task].high_disparity for task in shown["8"])
    assert all(demo.tasks[task].high_disparity for task in shown["18"])
    assert {*shown["8"], *shown["18"]} == {task for _, task, _ in demo.explained}


def test_the_demo_has_no_larger_sizes(demo):
    assert [n for n in FIGURES if not is_drawn(n, demo)] == ["6", "13"]


def test_figure_4_takes_the_tasks_with_most_sizes(paper):
    natural = {c.task for c in inputs("4", paper)["final"] if paper.tasks[c.task].group == "natural"}
    assert {"cifar100", "svhn", "sun397"} < natural
    assert len(natural) == 4


@pytest.mark.parametrize("number", [n for n in FIGURES if n not in ("6", "13")])
def test_every_figure_draws_and_captions(number, demo, frames):
    mine = frames(number)
    figure = draw(number, demo, mine)
    assert any(axis.has_data() or axis.texts or axis.patches for axis in figure.axes)
    words = caption(number, demo, mine)
    assert words.startswith(FIGURES[number].title)
    assert ("Protocol: paper." in words) == bool(mine)
    assert "yet" not in words


@pytest.mark.parametrize("number", [n for n in FIGURES if n not in ("6", "13")])
def test_the_caption_says_as_many_seeds_as_there_are(number, demo, frames):
    """With all seeds, and with one taken away everywhere: counted in the frames, not taken from the config."""
    mine = frames(number)
    kind = next((kind for kind in ("curves", "final", "predictions") if kind in mine), None)
    if kind is None or "explain" in mine:
        said = caption(number, demo, mine)
        assert ("one seed" in said) == ("explain" in mine)
        assert ("each configuration run once" in said) == (set(mine) == {"search"})
        return
    for lacking in (None, demo.seeds[-1]):
        fewer = {k: f[f["seed"] != lacking] if k == kind else f for k, f in mine.items()}
        count = fewer[kind]["seed"].nunique()
        assert f", {'one seed' if count == 1 else f'{count} seeds'}" in caption(number, demo, fewer)
    if kind == "curves":
        tested = mine[kind][mine[kind]["test_loss"].notna()]["seed"].nunique()
        all_seeds = mine[kind]["seed"].nunique()
        assert (
            f"test curves of {'one seed' if tested == 1 else f'{tested} seeds'}" in caption(number, demo, mine)
        ) == (tested < all_seeds)


def test_forest_shows_the_differences(demo, frames):
    mine = frames("forest")
    axis = draw("forest", demo, mine).axes[0]
    middles = sorted(line.get_xdata()[0] for line in axis.lines if line.get_marker() == "o")
    base = mine["final"][mine["final"].train == "160"]
    wide = base.pivot_table(index="task", columns="method", values="test_accuracy")
    assert middles == pytest.approx(sorted(100 * (wide.vpt - wide.full)))


def test_bars_have_the_distances_and_the_winners_colours(demo, frames):
    mine = frames("3")
    axis = draw("3", demo, mine).axes[0]
    bars = [patch for patch in axis.patches if patch.get_height() > 0]
    fid = mine["fid"].set_index("task")["fid"]
    tasks = [t for t in demo.tasks if t in fid.index]
    assert [bar.get_height() for bar in bars] == pytest.approx(fid[tasks].tolist())
    base = mine["final"][mine["final"].train == "160"]
    wide = base.pivot_table(index="task", columns="method", values="test_accuracy")
    gaps = wide.vpt - wide.full
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
    kept = {kind: rows.query("not (method == 'mixed' and task == 'shapes_count')") for kind, rows in mine.items()}
    draw("12", demo, kept)
    assert "1 of 12 cells has no curves and final rows yet." in caption("12", demo, kept)
    fewer = kept["final"].query("not (method == 'vpt' and task == 'shapes_count')")
    words = caption("12", demo, {**kept, "final": fewer})
    assert "1 of 12 cells has no curves rows yet. 2 of 12 cells have no final rows yet." in words


def test_overfitting_is_held_against_the_seeds(demo, frames):
    """A mean rise of 0.1 nats, of which the seeds differ by more and by less; and one of three tasks that diverged."""
    mine = frames("12")
    curves = mine["curves"].assign(test_loss=1.0)
    order = curves["seed"].rank(method="dense") - 2
    for step, count in ((0.2, 0), (0.001, 3)):
        last = curves["test_loss"].mask(curves["epoch"] == curves["epoch"].max(), 1.1 + step * order)
        words = caption("12", demo, {"curves": curves.assign(test_loss=last), "final": mine["final"]})
        assert f"FT {count} of 3, VPT {count} of 3" in words
    lost = mine["final"].assign(diverged=(mine["final"].method == "full") & (mine["final"].task == "shapes_count"))
    words = caption("12", demo, {"curves": curves, "final": lost})
    assert "FT 0 of 2, VPT 0 of 3" in words
    assert "3 runs of 1 cell diverged, and have no part in it." in words


def test_a_task_without_accuracies_keeps_its_bar(demo, frames):
    mine = frames("3")
    kept = mine["final"].query("task != 'digits'")
    axis = draw("3", demo, {**mine, "final": kept}).axes[0]
    assert sum(patch.get_height() > 0 for patch in axis.patches) == 5


def test_class_names_come_from_the_index(demo, frames):
    mine = frames("8")
    shown = mine["explain"].query("task == 'digits'")
    labels = {**dict.fromkeys(range(10), "any"), shown.label.iloc[0]: "nought", shown.prediction.iloc[0]: None}
    index = pd.DataFrame({"task": "digits", "label": labels.keys(), "class_name": labels.values()})
    figure = draw("8", demo, {**mine, "index": index})
    titles = " ".join(axis.get_title(loc="left") for axis in figure.axes)
    assert "nought" in titles
    assert f"class {shown.prediction.iloc[0]}" in titles


def test_a_map_of_the_wrong_size_is_one_line(demo, frames):
    rows = frames("8")["explain"].assign(grid_h=3)
    with pytest.raises(RowsError, match="a map of 196 values for a grid of 3 x 14"):
        draw("8", demo, {"explain": rows})


@pytest.mark.parametrize("number", ["forest", "5"])
def test_no_rows_are_one_line(number, demo, frames):
    empty = {kind: frame.head(0) for kind, frame in frames(number).items() if kind != "predictions"}
    with pytest.raises(RowsError, match=f"figure {number}: no rows of kind"):
        draw(number, demo, empty)


def test_a_missing_kind_is_one_line(demo):
    with pytest.raises(RowsError, match="figure 3: rows of kind final are missing; it reads final, predictions, fid"):
        draw("3", demo, {})


def test_a_figure_that_is_not_drawn_is_one_line(demo):
    with pytest.raises(ValueError, match="figure 20: it is not drawn here; choose one of forest, 1, when, 2"):
        draw(20, demo, {})
    with pytest.raises(ValueError, match="figure 6: the study 'demo' has nothing for it"):
        draw("6", demo, {})


def test_repeated_seeds_are_one_line(demo, frames):
    final = frames("forest")["final"]
    with pytest.raises(RowsError, match="occurs twice"):
        draw("forest", demo, {"final": pd.concat([final, final])})


@pytest.mark.parametrize("number", ["forest", "2", "17", "search_vpt"])
def test_the_same_rows_give_the_same_bytes(number, demo, frames, tmp_path):
    for run in ("a", "b"):
        save(draw(number, demo, frames(number)), tmp_path / f"{run}.pdf", tmp_path / f"{run}.png")
    for suffix in ("pdf", "png"):
        assert (tmp_path / f"a.{suffix}").read_bytes() == (tmp_path / f"b.{suffix}").read_bytes()
    pdf = (tmp_path / "a.pdf").read_bytes()
    assert b"CreationDate" not in pdf
    assert b"Type 3" not in pdf
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.pdf", "a.png", "b.pdf", "b.png"]


def test_the_pdf_and_the_png_are_laid_out_alike_and_inside(demo, frames, tmp_path):
    """The legends below Figure 4's panels lie inside the figure in both, and a further layout would move nothing."""
    figure = draw("4", demo, frames("4"))
    save(figure, tmp_path / "a.pdf", tmp_path / "a.png")
    places = [axis.get_position().bounds for axis in figure.axes]
    assert all(axis.get_legend().get_window_extent().y0 >= 0 for axis in figure.axes)
    figure.set_layout_engine("constrained")
    figure.draw_without_rendering()
    assert np.allclose(places, [axis.get_position().bounds for axis in figure.axes], atol=0.01)


def test_listing_figures_loads_no_matplotlib():
    code = "import sys; from vptstudy.report import figures, tables; print({'matplotlib', 'torch'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout == "set()\n"


def test_larger_sizes_answer_for_themselves(paper, paper_final):
    """'largest sizes' takes each task at the largest size that both methods have."""
    largest = largest_sizes(
        paper, paper_final[paper_final.backbone == paper.main_backbone], ("cifar100", "dtd", "svhn")
    )
    assert largest == {"cifar100": "20000", "svhn": "20000"}
    few = paper_final[~((paper_final.method == "vpt") & (paper_final.train == "20000"))]
    assert largest_sizes(paper, few[few.backbone == paper.main_backbone], ("cifar100",)) == {"cifar100": "10000"}


def test_the_chosen_configuration_is_ringed(demo, frames):
    mine = frames("search_full")
    of_task = mine["search"]["task"] == "fashion_mnist"
    worst = mine["search"][of_task].sort_values("val_accuracy").index[0]
    mine["search"].loc[worst, ["val_accuracy", "diverged"]] = [np.nan, True]
    figure = draw("search_full", demo, mine)
    rows = mine["search"][of_task].dropna(subset=["val_accuracy"])
    best = rows.sort_values(["val_accuracy", "lr"], ascending=[False, True]).iloc[0]
    first = figure.axes[0]
    (ring,) = [line for line in first.lines if line.get_marker() == "o"]
    assert (ring.get_xdata()[0], ring.get_ydata()[0]) == (
        [0.01, 0.1].index(best.lr) + 0.5,
        [0, 0.01].index(best.weight_decay) + 0.5,
    )
    assert len([patch for patch in first.patches if patch.get_hatch()]) == 1  # the diverged one
    assert [label.get_text() for label in first.get_yticklabels()] == ["0", "0.01"]
    assert not first.yaxis_inverted(), "decay grows upwards"
    shown = first.collections[0].get_array()
    assert np.nanmax(shown) == 0


@pytest.mark.parametrize(
    ("value", "label"), [(0.05, "0.05"), (2.5, "2.5"), (0.001, "1e-3"), (0.0005, "5e-4"), (2.5e-5, "2.5e-5"), (0, "0")]
)
def test_rates_and_decays_are_short_and_exact(value, label):
    assert _short(value) == label
    assert float(label) == value


def test_the_labels_of_a_search_stand_apart(demo, frames):
    """The paper's learning rates of full fine-tuning on one line, and the scale's label inside the figure."""
    rows = frames("search_full")["search"].query("task == 'fashion_mnist'").head(1)
    few, many = (1e-4, 5e-4, 1e-3, 5e-3), (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25, 50)
    for tasks, rates in product((EMBEDDED_TASKS, EMBEDDED_TASKS[:1]), (few, many)):
        grid = pd.concat([rows.assign(lr=lr, diverged=False, val_accuracy=0.5) for lr in rates])
        figure = draw("search_full", demo, {"search": pd.concat([grid.assign(task=task) for task in tasks])})
        figure.draw_without_rendering()
        for axis in figure.axes[: len(tasks)]:
            boxes = [label.get_window_extent() for label in axis.get_xticklabels() if label.get_text()]
            assert len(boxes) >= min(4, len(rates))
            assert all(a.x1 < b.x0 for a, b in pairwise(boxes))
        words = figure.axes[-1].yaxis.label.get_window_extent()
        assert words.y0 >= 0
        assert max(words.x1 / figure.bbox.x1, words.y1 / figure.bbox.y1) <= 1


def test_a_mean_over_fewer_tasks_is_left_out(demo, frames):
    """Beside means over all tasks it would compare tasks, not methods; the caption says what is missing."""
    mine = frames("cost")
    kept = mine["final"].query("not (method == 'mixed' and task == 'shapes_count')")

    def shown(final):
        axis = draw("cost", demo, {**mine, "final": final}).axes[2]
        return {to_hex(line.get_color()) for line in axis.lines if line.get_marker() not in ("", "None", None)}

    green = METHODS["mixed"].colour.lower()
    assert green in shown(mine["final"])
    assert green not in shown(kept)
    assert "Left out, as means over fewer tasks: Mixed in Structured (2 of 3)." in caption(
        "cost", demo, {**mine, "final": kept}
    )


def test_attributions_share_a_scale_and_state_their_error(demo, frames):
    rows = frames("17")["explain"].assign(ig_delta=0.02, ig_difference=4.0)
    figure = draw("17", demo, {**frames("17"), "explain": rows})
    titles = " ".join(axis.get_title(loc="left") for axis in figure.axes)
    assert "δ 0.5 %" in titles
    tops = [
        axis.images[0].get_clim()[1]
        for axis in figure.axes
        if axis.images and axis.images[0].get_cmap().name == "Greys"
    ]
    assert len(tops) == 8
    assert tops[0::2] == tops[1::2]


def test_no_image_to_explain_is_said(demo, frames):
    figure = draw("17", demo, {"explain": frames("17")["explain"].head(0)})
    words = " ".join(text.get_text() for axis in figure.axes for text in axis.texts)
    assert "no image that one of the two gets right" in words


def test_the_descent_leaves_the_valley_only_in_two_dimensions():
    stuck = descent((1.45, 0.0), frozen=True)
    free = descent(tuple(stuck[-1]), frozen=False)
    assert stuck[-1, 0] > 0.5
    assert np.all(stuck[:, 1] == 0)
    assert free[-1, 0] < -0.5
    assert loss_surface(*free[-1]) < loss_surface(*stuck[-1])


def test_a_notice_stands_on_figure_and_caption(demo, demo_final):
    study = replace(demo, config=demo.config | {"report": {"notice": "Synthetic rows: no result."}})
    figure = draw("forest", study, {"final": demo_final})
    assert "Synthetic rows" in figure._supxlabel.get_text()
    assert caption("forest", study, {"final": demo_final}).count("Synthetic rows: no result.") == 1
    assert "Synthetic" not in caption("2", study, {}), "a drawing shows no rows"
    assert draw("2", study, {})._supxlabel is None


@pytest.mark.parametrize("number", [n for n in FIGURES if n not in ("6", "13")])
def test_one_seed_and_nan_are_drawn(number, frames, demo):
    """A single seed has no spread, and a diverged one may hold NaN: drawn or refused in one line, never a traceback."""
    mine = {}
    for kind, frame in frames(number).items():
        frame = frame[frame["seed"] == frame["seed"].iloc[0]].copy() if "seed" in frame and kind != "search" else frame
        for column in ("test_loss", "train_loss", "val_accuracy", "fid_low", "fid_high", "confidence", "seconds"):
            if column in frame:
                frame[column] = frame[column].mask(np.arange(len(frame)) % 7 == 0)
        mine[kind] = frame
    figure = draw(number, demo, mine)
    figure.draw_without_rendering()
    caption(number, demo, mine)


def drawn_text(figure):
    """Every text of a figure that is seen."""
    figure.draw_without_rendering()
    return [text for text in figure.findobj(Text) if text.get_visible() and text.get_text().strip()]


@pytest.mark.parametrize("number", [n for n in FIGURES if n not in ("6", "13")])
def test_no_letter_is_under_seven_points_in_a_column(number, demo, frames):
    """Drawn no wider than 5.5 inches, it is printed as it is; and no exponent, which would be smaller, is set."""
    figure = draw(number, demo, frames(number))
    assert figure.get_figwidth() <= 5.5
    for text in drawn_text(figure):
        assert text.get_fontsize() >= 7, text.get_text()
        assert "^" not in text.get_text()


@pytest.fixture(scope="module")
def crowded():
    """Forty tasks of one's own with titles of more than 25 letters, and rows of them."""
    own = {
        f"own{n}": replace(TASKS["digits"], id=f"own{n}", group="natural", title=f"My own rather long task title {n}")
        for n in range(40)
    }
    mini = "vit_mini_cifar10"
    cells = [Cell(mini, m, t, s) for t in own for s in ("160", "640") for m in ("full", "vpt")]
    study = make_study(cells, "many", base="160", seeds=(42, 44), tasks={**TASKS, **own})
    makers = {
        "final": lambda cells: final_rows(study, cells),
        "curves": lambda cells: curve_rows(study, cells),
        "fid": fid_rows,
        "explain": lambda tasks: explain_rows(study, mini, tasks),
        "search": lambda cells: search_rows(study, cells),
        "predictions": lambda cells: prediction_rows(study, cells),
        "examples": lambda tasks: example_rows(study, tasks),
    }

    def rows(number):
        """Without the predictions that a figure can do without."""
        wanted = inputs(number, study).items()
        return {k: makers[k](cells) for k, cells in wanted if not (k == "predictions" and FIGURES[number].by_cell)}

    return study, rows


@pytest.mark.parametrize("number", ["1", "3", "4", "8", "10", "19", "calibration", "search_vpt", "forest"])
def test_forty_tasks_with_long_titles_stand_apart(number, crowded):
    """No title runs into the next panel's, no label into its neighbour, and nothing leaves the page."""
    study, rows = crowded
    figure = draw(number, study, rows(number))
    figure.draw_without_rendering()
    figure.draw_without_rendering()
    assert figure.get_figheight() <= 9
    inside = figure.bbox.padded(3)
    titles = {}
    for axis in figure.axes:
        if not axis.get_visible():
            continue
        boxes = [t.get_window_extent() for t in (axis._left_title, axis.title) if t.get_text()]
        low, high = axis.get_xlim()
        ticks = zip(axis.get_xticks(), axis.get_xticklabels(), strict=False) if axis.axison else ()
        labels = [label.get_window_extent() for at, label in ticks if low <= at <= high and label.get_text()]
        assert all(a.x1 <= b.x0 + 1 for a, b in pairwise(sorted(labels, key=lambda box: box.x0)))
        for box in [*boxes, *labels]:
            assert inside.x0 <= box.x0
            assert box.x1 <= inside.x1
            assert inside.y0 <= box.y0
        for box in boxes:
            titles.setdefault(round(box.y0), []).append(box)
    for row in titles.values():
        assert all(a.x1 <= b.x0 for a, b in pairwise(sorted(row, key=lambda box: box.x0)))


def test_titles_keep_the_end_that_tells_them_apart():
    assert short("My own rather long task title 7", 15) == "My own ra…tle 7"
    assert short("Digits", 15) == "Digits"


@pytest.mark.parametrize("number", ["4", "14", "cost", "calibration"])
def test_chance_is_drawn_wherever_accuracy_is(number, demo, frames):
    mine = frames(number)
    figure, found = draw(number, demo, mine), mine["predictions"]
    if not isinstance(found, pd.DataFrame):
        found = pd.concat([rows.assign(task=cell.task, method=cell.method) for cell, rows in found.items()])
    # Made-up labels differ between cells and seeds, as real ones do not: the first of each counts.
    rows = found.query("task == 'fashion_mnist'")
    counts = rows[(rows.method == rows.method.iloc[0]) & (rows.seed == rows.seed.iloc[0])].label.value_counts()
    heights = {round(float(line.get_ydata()[0]), 6) for axis in figure.axes for line in axis.lines
               if list(line.get_xdata()) == [0, 1] and len(set(line.get_ydata())) == 1}  # fmt: skip
    scale = 1 if number == "calibration" else 100
    assert round(scale * counts.max() / counts.sum(), 6) in heights
    assert "hance" in caption(number, demo, frames(number))


def test_a_lone_point_says_its_method(demo, frames):
    """FT's marks are full and VPT's hollow: one size alone makes no line to tell them by."""
    faces = {to_hex(line.get_markerfacecolor()) for line in draw("14", demo, frames("14")).axes[0].lines
             if line.get_marker() == "o"}  # fmt: skip
    assert faces == {METHODS["full"].colour.lower(), "#ffffff"}


def test_a_log_axis_has_several_labels(demo, frames):
    for axis in draw("9", demo, frames("9")).axes:
        axis.figure.draw_without_rendering()
        low, high = axis.get_ylim()
        labelled = [t for t, label in zip(axis.get_yticks(), axis.get_yticklabels(), strict=True) if label.get_text()]
        assert sum(low <= tick <= high for tick in labelled) >= 2


def overfitting_frames(paper, paper_final, tasks, methods=("full", "vpt")):
    """Curves whose test loss falls to the end, and of these tasks and methods at 800 images doubles."""
    curves = curve_rows(paper, inputs("13", paper)["curves"]).query("epoch <= 10")
    curves = curves.assign(test_loss=np.where(curves.test_loss.notna(), 2 - 0.1 * curves.epoch, np.nan))
    up = curves.task.isin(tasks) & curves.method.isin(methods) & (curves.train == "800")
    curves.loc[up, "test_loss"] *= np.where(curves.epoch[up] > 5, curves.epoch[up] / 2, 1)
    return {"curves": curves, "final": paper_final[paper_final.backbone == paper.main_backbone]}


def test_figure_13_shows_the_tasks_that_overfit_in_both_methods_and_no_other(paper, paper_final):
    mine = overfitting_frames(paper, paper_final, ("svhn", "dmlab"))
    shown = [axis.get_title(loc="left") for axis in draw("13", paper, mine).axes if axis.get_visible()]
    assert shown == [f"{task}, {size} images" for task in ("SVHN", "DMLab") for size in ("5,000", "10,000", "20,000")]
    drawn = pd.read_csv(io.StringIO(numbers("13", paper, mine)))
    assert set(drawn.task) == {"svhn", "dmlab"}
    assert set(drawn.train) == {5000, 10000, 20000}
    words = caption("13", paper, mine)
    assert "both methods overfit at train size 800: 2 of " in words
    assert "(SVHN and DMLab)" in words
    assert "train sizes 5000, 10000 and 20000" in words
    assert "yet" not in words
    assert draw("6", paper, mine).axes[0].get_title(loc="left").startswith("DMLab")


def test_a_figure_of_what_overfits_says_when_nothing_does(paper, paper_final):
    mine = overfitting_frames(paper, paper_final, ("svhn",), methods=("full",))
    assert "None of" in caption("13", paper, mine)
    (axis,) = draw("13", paper, mine).axes
    assert "no task on which both methods overfit" in axis.texts[0].get_text()
    assert numbers("13", paper, mine).count("\n") == 1


def test_panels_of_sizes_share_their_axes(paper, paper_final):
    axes = [a for a in draw("16", paper, {"final": paper_final}).axes if a.get_visible()]
    assert len({a.get_xlim() for a in axes}) == 1
    mine = overfitting_frames(paper, paper_final, ("dmlab", "clevr_count"))
    by_row = {}
    for axis in draw("13", paper, mine).axes:
        by_row.setdefault(axis.get_subplotspec().rowspan.start, set()).add(axis.get_ylim())
    assert all(len(limits) == 1 for limits in by_row.values())


@pytest.mark.parametrize("number", [n for n in FIGURES if n not in ("6", "13")])
def test_the_numbers_beside_a_figure_read_back(number, demo, frames):
    back = pd.read_csv(io.StringIO(numbers(number, demo, frames(number))))
    assert len(back) > 0
    assert len(back.columns) > 1


def test_the_numbers_are_those_that_are_drawn(demo, frames):
    mine = frames("14")
    back = pd.read_csv(io.StringIO(numbers("14", demo, mine))).set_index(["method", "train"])
    oracle = (
        mine["final"]
        .query("task == 'fashion_mnist' and method in ('full', 'vpt')")
        .groupby(["method", "train"])
        .test_accuracy.mean()
    )
    for (method, train), value in oracle.items():
        assert back.loc[(method, int(train)), "mean"] == pytest.approx(value, abs=1e-5)
    drawn = {round(float(y), 3) for line in draw("14", demo, mine).axes[0].lines for y in line.get_ydata()}
    assert {round(100 * value, 3) for value in oracle} <= drawn


def test_a_style_of_ones_own_is_followed(demo, frames, tmp_path):
    own = tmp_path / "mine.mplstyle"
    own.write_text("font.size: 9\naxes.facecolor: eeeeee\nfigure.figsize: 4.4, 3\n")
    figure = draw("forest", demo, frames("forest"), own)
    assert figure.axes[0].get_facecolor()[:3] == pytest.approx((238 / 255,) * 3)
    assert figure.get_figwidth() == pytest.approx(4.4)
    assert draw("forest", demo, frames("forest")).axes[0].get_facecolor()[:3] == (1, 1, 1)


@pytest.mark.parametrize(
    ("text", "said"),
    [(None, "no such file"), ("font.sise: 9\n", "font.sise"), ("", "it sets nothing"), ("axes.grid: maybe\n", "style")],
)
def test_a_style_that_is_none_is_one_line(text, said, tmp_path):
    own = tmp_path / "mine.mplstyle"
    if text is not None:
        own.write_text(text)
    with pytest.raises(ConfigError, match=said) as error:
        read_style(own)
    assert "\n" not in str(error.value)
