"""search: racing in a config: which slices change, what it costs by hand, and what check and plan say."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from vptcore.choices import ConfigError
from vptcore.training.racing import KEEP, SHORT
from vptstudy import slices
from vptstudy.cli import check
from vptstudy.config.resolve import load_study
from vptstudy.plan import printout
from vptstudy.plan.devices import DEVICES
from vptstudy.plan.estimate import Plan
from vptstudy.plan.limits import runtime, work_of
from vptstudy.plan.measured import measured_jobs
from vptstudy.plan.race import RISK, race_lines
from vptstudy.plan.seconds import Speed
from vptstudy.plan.switches import switches
from vptstudy.rehearsal import rows as rehearsed
from vptstudy.study import Cell

PAPER = yaml.safe_load(Path("config.yaml").read_text())
DEMO = yaml.safe_load(Path("profiles/demo/study.yaml").read_text())
# Two rates of full fine-tuning: too few to race.
PAIR = DEMO["methods"]["full"] | {"grid": {"lr": [0.03, 0.01], "weight_decay": [0.01]}}
LONG = DEMO | {"epochs": 40, "methods": DEMO["methods"] | {"full": PAIR}}
VPT = Cell("vit_mini_cifar10", "vpt", "digits", "160")
H100 = Speed(DEVICES["H100"])


def test_only_the_searches_of_a_race_have_other_slices():
    plain, said, raced = (load_study(LONG | more) for more in ({}, {"search": "grid"}, {"search": "racing"}))
    assert "search" not in plain.config
    assert said.config == plain.config, "no table is drawn anew for saying it"
    assert slices.search(raced, VPT) == slices.search(plain, VPT) | {"racing": {"epochs": 10, "warmup": 1, "keep": 2}}
    for cell in raced.cells:
        assert slices.final(raced, cell) == slices.final(plain, cell)
    # Two configurations and one: nothing to race; a probe's grid is trained side by side.
    for method in ("full", "mixed", "linear"):
        cell = Cell("vit_mini_cifar10", method, "digits", "160")
        assert slices.search(raced, cell) == slices.search(plain, cell)


@pytest.mark.parametrize("shares", [{"short": 1}, {"keep": 1}, {"short": 0.99, "keep": 0.999}])
def test_a_race_of_all_or_in_full_is_the_grid(shares):
    raced = load_study(LONG | {"search": {"kind": "racing", **shares}})
    assert [slices.search(raced, cell) for cell in raced.searches] == [
        slices.search(load_study(LONG), cell) for cell in raced.searches
    ]


def test_the_authors_fixed_decay_counts_its_distinct_settings():
    raced = load_study(PAPER | {"search": "racing", "switches": {"full_decay": "fixed"}})
    assert slices.search(raced, Cell("vit_b16_sup21k", "full", "svhn", "800"))["racing"]["keep"] == 2


@pytest.mark.parametrize(
    ("search", "message"),
    [
        ("race", "search.kind: 'race' is unknown; did you mean 'racing'? Choices: grid, racing"),
        ({"kind": "racing", "short": 0}, "search.short: 0 is too small; expected more than 0"),
        ({"kind": "racing", "keep": 2}, "search.keep: 2 is too large; expected at most 1"),
        ({"short": 0.5}, "search: the key 'kind' is missing"),
        (True, "search: true is not grid, racing, or a mapping with kind, short and keep"),
    ],
)
def test_mistakes_are_one_line(search, message):
    with pytest.raises(ConfigError) as error:
        load_study(DEMO | {"search": search})
    assert str(error.value) == message


def test_a_raced_grid_is_not_split_over_jobs():
    with pytest.raises(ConfigError, match=r"search: racing: the grid of .* is split over 2 jobs, none of which sees"):
        load_study(DEMO | {"search": "racing", "shards": {"search": 2}})
    load_study(DEMO | {"search": "racing", "shards": {"final": 5}})


def test_one_search_by_hand():
    """40 configurations for 25 epochs, ten of them for 100, each scored once."""
    cell = Cell("vit_b16_sup21k", "vpt", "svhn", "800")
    plain, raced = (work_of(load_study(PAPER | more), "search", cell) for more in ({}, {"search": "racing"}))
    images = {phase.name: phase.images for phase in raced.phases}
    assert images["train"] == pytest.approx(800 * (40 * 25 + 10 * 100))
    assert images["val"] == 200 * 50
    before = {phase.name: phase for phase in plain.phases}
    assert before["train"].images == 800 * 40 * 100
    assert raced.captures == plain.captures, "a captured step serves schedules of any length"
    watched = load_study(PAPER | {"search": "racing", "switches": {"val_every_epoch": True}})
    often = {phase.name: phase.images for phase in work_of(watched, "search", cell).phases}["val"]
    assert often == 200 * (40 * 25 + 10 * 100 + 50)


def test_further_rates_of_a_race_and_limits():
    cell = Cell("vit_b16_sup21k", "full", "svhn", "800")
    grid, race = (
        runtime(load_study(PAPER | {"edges": "extend", "search": kind}), "search", cell) for kind in ("grid", "racing")
    )
    assert race < grid
    raced = load_study(PAPER | {"edges": "extend", "search": "racing"})
    plan = Plan(raced, [raced.path("search", cell)], H100, whole=True)
    (id,) = [id for id, job in plan.jobs.items() if job.stage == "search"]
    # Four decays for 125 epochs, of 16 configurations for 25 and 4 for 100.
    assert plan.beyond == pytest.approx(plan.costs[id].seconds * 4 * 125 / (16 * 25 + 4 * 100))


def test_the_switch_shows_the_price_both_ways():
    def cost(config):
        return Plan(load_study(config), ["all"], H100, whole=True).gpu_seconds

    one = LONG | {"device": "auto"}
    there = {s.keys: s for s in switches(load_study(one).config, cost)}["search: racing"]
    back = {s.keys: s for s in switches(load_study(one | {"search": "racing"}).config, cost)}["search: grid"]
    assert there.gpu_seconds == pytest.approx(cost(one | {"search": "racing"}) - cost(one))
    assert there.gpu_seconds < 0
    assert back.gpu_seconds == pytest.approx(-there.gpu_seconds)
    assert RISK in there.loses


def test_check_and_plan_say_what_is_saved_and_risked(tmp_path, capsys):
    config = LONG | {"results": str(tmp_path), "search": "racing"}
    raced = load_study(config)
    head, risk = race_lines(raced)
    searches = len(raced.select(method="vpt", train="160"))
    # Five rates for 10 of 40 epochs, and two of them for all.
    assert (
        head == f"search: racing: {searches} of {len(raced.searches)} searches, which take 65% of their grids' epochs"
    )
    assert risk == f"risk of racing: {RISK}"
    assert race_lines(load_study(LONG)) == []
    (none,) = race_lines(load_study(config | {"search": {"kind": "racing", "keep": 1}}))
    assert "no grid is long enough" in none
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(config))
    check.run(argparse.Namespace(config=tmp_path / "study.yaml", all=False))
    assert f"  note       {risk}" in capsys.readouterr().out
    printout.plan(config, ["table_01"])
    assert f"\n{risk}\n" in capsys.readouterr().out
    printout.plan(config, ["table_01"], as_json=True)
    assert json.loads(capsys.readouterr().out)["race"] == [head, risk]
    assert raced.racing == {"kind": "racing", "short": SHORT, "keep": KEEP}


def test_finished_races_measure_a_rate_by_what_they_trained(tmp_path):
    """Of a search that trained more than was planned, as where the first to go on diverged."""
    from vptcore.records import write_rows

    raced = load_study(LONG | {"results": str(tmp_path), "search": "racing"})
    rows = pd.DataFrame(rehearsed.search(raced, VPT, 0.7)).assign(diverged=False, seconds=1.0, compile_seconds=0.0)
    more = rows.tail(1).assign(config=99)
    rows = pd.concat([rows, more], ignore_index=True)
    path = raced.path("search", VPT)
    write_rows(path, "search", rows, {"job": slices.search(raced, VPT), "duration": 100.0, "device": "cpu"})
    (job,) = measured_jobs(raced.root)
    images = int(rows["train_images"].iloc[0])
    assert job.rate == pytest.approx(images * rows["epochs"].sum() / len(rows))
    assert np.isclose(rows["epochs"].sum(), 5 * 10 + 3 * 40)
