"""Edges named in the terminal, and a study that extends its grids: config, plan, limits, rehearsal and audit."""

from __future__ import annotations

import argparse
from pathlib import Path

import pandas as pd
import pytest
import yaml

from vptcore.choices import ConfigError
from vptcore.records import write_rows
from vptcore.training.trials import trials_of
from vptstudy import slices
from vptstudy.cli import check
from vptstudy.config.resolve import load_study
from vptstudy.plan.devices import DEVICES
from vptstudy.plan.estimate import Plan
from vptstudy.plan.limits import runtime
from vptstudy.plan.seconds import Speed
from vptstudy.rehearsal import rows as rehearsed
from vptstudy.report.on_edge import edge_lines, edges_of
from vptstudy.study import Cell

DEMO = yaml.safe_load(Path("profiles/demo/study.yaml").read_text())
VPT = Cell("vit_mini_cifar10", "vpt", "digits", "160")


def write_search(study, cell, best: float) -> None:
    rows = pd.DataFrame(rehearsed.search(study, cell, 0.7))
    rows["val_accuracy"] = 0.5 - 0.01 * (rows["lr"] - best).abs() / rows["lr"].max()
    write_rows(study.path("search", cell), "search", rows.assign(diverged=False), {})


@pytest.fixture
def study(tmp_path):
    return load_study(DEMO | {"results": str(tmp_path)})


def test_check_names_the_cells_on_an_edge(study, tmp_path, capsys):
    assert edge_lines(study) == []
    rates = study.config["methods"]["vpt"]["grid"]["lr"]
    write_search(study, VPT, max(rates))
    write_search(study, Cell("vit_mini_cifar10", "vpt", "shapes_count", "160"), sorted(rates)[2])
    assert sorted(edges_of(study).values()) == [("", ""), ("highest", f"{max(rates):g}, the highest tried")]
    head, line = edge_lines(study)
    assert head.startswith("1 of 2 chosen rates on the edge of what was tried; edges: extend")
    assert line == f"vpt on digits (160): {max(rates):g}, the highest tried"
    config = tmp_path / "study.yaml"
    config.write_text(yaml.safe_dump(DEMO | {"results": str(tmp_path)}))
    check.run(argparse.Namespace(config=config, all=False))
    assert f"  edge       {line}" in capsys.readouterr().out


def test_a_flat_grid_is_named_and_is_no_edge(study):
    rows = pd.DataFrame(rehearsed.search(study, VPT, 0.7)).assign(val_accuracy=0.2, diverged=False)
    write_rows(study.path("search", VPT), "search", rows, {})
    head, line = edge_lines(study)
    assert head == "1 of 1 grid flat, so that val prefers no rate; try rates elsewhere, or more val images"
    assert line == "vpt on digits (160): val 20.0% at every rate"
    for cell in study.searches:
        rows = pd.DataFrame(rehearsed.search(study, cell, 0.7)).assign(val_accuracy=0.2, diverged=False)
        write_rows(study.path("search", cell), "search", rows, {})
    lines = edge_lines(study)
    assert lines[0].startswith("15 of 25 grids flat"), "full, vpt and linear on five tasks; the others try one rate"
    assert lines[-1] == "and 7 more (table_selection)"


def test_only_a_study_that_extends_has_other_searches(study):
    extended = load_study(DEMO | {"edges": "extend"})
    plain = slices.search(study, VPT)
    assert slices.search(extended, VPT) == plain | {"extend": 3, "ties": "inside"}
    assert slices.final(extended, VPT) == slices.final(study, VPT)


def test_shards_of_a_search_are_refused_in_one_line():
    with pytest.raises(
        ConfigError, match=r"edges: extend: the grid of .* is split over 2 jobs, none of which sees all"
    ):
        load_study(DEMO | {"edges": "extend", "shards": {"search": 2}})
    load_study(DEMO | {"edges": "extend", "shards": {"final": 5}})


def test_the_plan_prices_further_rates_and_limits_leave_time_for_them(study):
    extended = load_study(DEMO | {"edges": "extend"})
    cpu = Speed(DEVICES["cpu"])
    plan = Plan(extended, ["all"], cpu, whole=True)
    searches = [(id, job) for id, job in plan.jobs.items() if job.stage == "search"]
    expected = sum(plan.costs[id].seconds / len(job.slice["grid"]["lr"]) for id, job in searches)
    assert plan.beyond == pytest.approx(expected)
    assert Plan(study, ["all"], cpu, whole=True).beyond == 0
    paper = yaml.safe_load(Path("config.yaml").read_text())
    cell = Cell("vit_b16_sup21k", "full", "svhn", "800")
    now, then = (runtime(load_study(paper | {"edges": e}), "search", cell) for e in ("mark", "extend"))
    # Four rates, and six more at most: 2.5 times the work, beside compilation and ten minutes for the file system.
    assert 2.2 * (now - 10) < then - 10 <= 2.5 * (now - 10)


def test_a_rehearsal_extends_as_a_search_does():
    narrow = {"full": DEMO["methods"]["full"] | {"grid": {"lr": [0.03, 0.01], "weight_decay": [0.01]}}}
    extended = load_study(DEMO | {"edges": "extend", "methods": DEMO["methods"] | narrow})
    bought = 0
    for cell in extended.searches:
        rows = pd.DataFrame(rehearsed.search(extended, cell, 0.7))
        job = slices.search(extended, cell)
        recipes = [trial.recipe for trial in trials_of(job, rows)]
        assert [(r.lr, r.weight_decay) for r in recipes] == list(zip(rows["lr"], rows["weight_decay"], strict=True))
        bought += len(set(rows["lr"]) - set(job["grid"]["lr"]))
    assert bought
