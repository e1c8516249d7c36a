"""report.text: words and numbers in captions."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.vptstudy.report.synthetic import make_study
from vptcore.training.protocol import PROTOCOLS
from vptcore.wording import plural
from vptstudy.report.captions import (
    edges_line,
    finals_line,
    full_stop,
    join,
    marks_line,
    recipe_line,
    target,
    train_phrase,
)
from vptstudy.study import Cell


@pytest.mark.parametrize(
    ("trains", "words"),
    [
        (["800"], "train size 800"),
        (["one_shot"], "one-shot"),
        (["train"], "all of train"),
        (["400", "800", "5000"], "train sizes 400, 800 and 5000"),
    ],
)
def test_train_phrase(trains, words):
    assert train_phrase(trains) == words


def test_an_abbreviation_ends_a_sentence_as_it_is():
    assert full_stop("KITTI/dist.") == "KITTI/dist."
    assert full_stop("DMLab") == "DMLab."


def test_join_counts_what_it_leaves_out():
    assert join([]) == ""
    assert join("ab") == "a and b"
    assert join(map(str, range(10))).endswith("7 and 2 more")


def test_sizes_without_a_search_of_their_own_say_whose_recipe_they_use():
    small, base = (Cell("vit_b16_sup21k", "vpt", "cifar100", train) for train in ("400", "800"))
    study = make_study([small, base])
    assert recipe_line(study, [base]) == ""
    assert recipe_line(study, [small, base]).endswith(
        "use the learning rate and weight decay found with train size 800."
    )
    study.config["regrid"] = True
    assert recipe_line(study, [small, base]) == ""


ONE, OWN = "one pick for all seeds, whose luck is in no interval", "each seed on its own pick"


@pytest.mark.parametrize(
    ("task", "train", "paper", "authors", "sound"),
    [
        ("cifar100", "800", "train and val: 1,000 images at train size 800", "", ""),
        (
            "cifar100",
            "one_shot",
            f"one image a class: {ONE}",
            f"two images a class, drawn anew: {ONE}",
            f"one image a class: {OWN}",
        ),
        ("cub200", "train", "train alone, without val", "", "train and val"),
    ],
)
def test_captions_say_what_finals_are_trained_on(task, train, paper, authors, sound):
    """An empty text: as under `paper`."""
    cell = Cell("vit_b16_sup21k", "vpt", task, train)
    for name, words in (("paper", paper), ("authors", authors or paper), ("sound", sound or paper)):
        study = replace(make_study([cell]), protocol=PROTOCOLS[name])
        assert finals_line(study, [cell, cell]) == f"Finals are trained on {words}."


def test_captions_count_the_images_of_every_size():
    cells = [Cell("vit_b16_sup21k", "vpt", "cifar100", train) for train in ("10000", "400", "one_shot", "400")]
    assert finals_line(make_study(cells), cells).startswith(
        "Finals are trained on train and val: 500 and 12,500 images at train sizes 400 and 10000. Finals are "
    )


def test_a_rule_that_draws_nothing_has_one_pick():
    cell = Cell("vit_b16_sup21k", "vpt", "cifar100", "one_shot")
    study = replace(make_study([cell]), protocol=PROTOCOLS["sound"])
    assert OWN in finals_line(study, [cell])
    study.config["one_shot"] = {"selection": "medoid"}
    assert ONE in finals_line(study, [cell])


def test_plural():
    assert [plural(n, "cell") for n in (0, 1, 2)] == ["0 cells", "1 cell", "2 cells"]


@pytest.mark.parametrize(
    ("edges", "words"),
    [
        (["", ""], ""),
        (["", "highest"], "1 of 2 chosen rates on the edge of the grid (highest 1, lowest 0)."),
        (["flat"], "Flat, all rates that held scoring the same: 1 of 1 grid."),
        (
            ["", "lowest", "flat"],
            "1 of 3 chosen rates on the edge of the grid (highest 0, lowest 1). "
            "Flat, all rates that held scoring the same: 1 of 3 grids.",
        ),
    ],
)
def test_edges_and_flat_grids_are_counted(edges, words):
    assert edges_line(edges) == words


def test_marks_line_explains_those_that_occur():
    assert marks_line(["", "slip"]) == (
        "Beside the paper: ‡ a slip of the paper, which no rounding of its own cells gives (1)."
    )
    assert marks_line(["doubt", "another definition"]).count("(1)") == 2
    assert marks_line([""]) == ""


@pytest.mark.parametrize(
    ("kind", "number", "name"),
    [("table", 3, "table_03"), ("figure", "12", "figure_12"), ("figure", "forest", "figure_forest")],
)
def test_target(kind, number, name):
    assert target(kind, number) == name
