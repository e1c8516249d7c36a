"""The protocol fair: as many tries for every method, full fine-tuning at its best, edges extended; and its price."""

from __future__ import annotations

from dataclasses import asdict

import pytest

from vptcore.choices import ConfigError
from vptcore.models.methods_table import METHODS
from vptcore.training.protocol import PROTOCOLS
from vptcore.training.recipe import recipes_of
from vptstudy import slices
from vptstudy.config.resolve import load_study
from vptstudy.plan.devices import DEVICES
from vptstudy.plan.estimate import Plan
from vptstudy.plan.seconds import Speed

ALL = list(METHODS)
SHORT = {
    "study": "fair",
    "protocol": "fair",
    "experiments": {"all": {"backbones": ["vit_b16_sup21k"], "methods": ALL, "tasks": ["dtd"], "train": [800]}},
}


def test_every_method_tries_as_many_configurations():
    study = load_study(SHORT)
    tries = {cell.method: len(set(recipes_of(slices.search(study, cell)))) for cell in study.searches}
    assert set(tries) == set(ALL)
    assert set(tries.values()) == {20}
    assert {slices.search(study, cell)["extend"] for cell in study.searches} == {3}


def test_full_fine_tuning_has_layer_decay_and_rates_to_a_millionth():
    study = load_study(SHORT)
    full = next(slices.search(study, cell) for cell in study.searches if cell.method == "full")
    assert full["recipe"]["layer_decay"] == 0.75
    assert full["recipe"]["optimizer"] == "adamw"
    assert (min(full["grid"]["lr"]), max(full["grid"]["lr"])) == (1e-6, 0.01)
    vpt = next(slices.search(study, cell) for cell in study.searches if cell.method == "vpt")
    assert vpt["recipe"]["layer_decay"] == 1.0
    assert max(vpt["grid"]["lr"]) == 50


def test_its_other_switches_are_the_sound_ones():
    fair, sound = asdict(PROTOCOLS["fair"]), asdict(PROTOCOLS["sound"])
    assert {key for key in fair if fair[key] != sound[key]} == {"name", "tries"}


def test_a_switch_does_the_same_under_another_protocol_and_can_be_taken_back():
    equal = load_study(SHORT | {"protocol": "paper", "switches": {"tries": "equal"}})
    assert equal.config["methods"]["full"] == load_study(SHORT).config["methods"]["full"]
    assert equal.protocol.head_bias == PROTOCOLS["paper"].head_bias
    own = load_study(SHORT | {"switches": {"tries": "own"}})
    assert (own.config["edges"], len(own.config["methods"]["full"]["grid"]["lr"])) == ("mark", 4)
    assert load_study(SHORT | {"edges": "mark"}).config["edges"] == "mark"


def test_grids_that_differ_in_size_are_refused_in_one_line():
    some = SHORT | {"methods": {"full": {"grid": {"lr": [0.001, 0.0001]}}}}
    with pytest.raises(ConfigError, match="the grids have 4 for full; 20 for ") as mistake:
        load_study(some)
    assert "\n" not in str(mistake.value)
    used = {"all": SHORT["experiments"]["all"] | {"methods": ["full"]}}
    assert load_study(some | {"experiments": used}).used("method") == ["full"]


def test_a_peft_adapter_of_the_configs_own_tries_as_many():
    mine = {"my_dora": {"peft": {"peft_type": "LORA", "use_dora": True, "r": 8, "target_modules": ["qkv"]}}}
    experiment = SHORT["experiments"]["all"] | {"methods": ["full", "my_dora"]}
    study = load_study(SHORT | {"methods": mine, "experiments": {"all": experiment}})
    assert {len(recipes_of(slices.search(study, cell))) for cell in study.searches} == {20}


def test_the_plan_prices_it():
    h100 = Speed(DEVICES["H100"])
    fair, sound = (Plan(load_study(SHORT | {"protocol": p}), ["all"], h100, whole=True) for p in ("fair", "sound"))
    costs = [
        {job.of["method"]: plan.costs[id].phases["train"] for id, job in plan.jobs.items() if job.stage == "search"}
        for plan in (fair, sound)
    ]
    assert costs[0]["full"] == pytest.approx(costs[1]["full"] * 20 / 16, rel=0.02)
    assert costs[0]["vpt"] == pytest.approx(costs[1]["vpt"] * 20 / 40, rel=0.02)
    assert fair.beyond > 0 == sound.beyond
