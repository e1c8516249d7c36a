"""Every method of METHODS in a study: checked, planned, rehearsed, in tables and figures."""

import math
from pathlib import Path

import pandas as pd
import pytest
import yaml

from vptcore.choices import ConfigError
from vptcore.models.methods_table import METHODS
from vptstudy.config.resolve import load_study
from vptstudy.plan.devices import DEVICES
from vptstudy.plan.limits import need_of, work_of
from vptstudy.plan.seconds import Speed
from vptstudy.rehearsal import levels, rows
from vptstudy.report.figures.style import method_colour
from vptstudy.report.tables import build, specs

GRID = {"batch": 16, "grid": {"lr": [0.1, 0.01], "weight_decay": [0.0]}}
# One that the config makes up, as an adapter of peft.
OWN, PEFT = "my_loha", {"peft_type": "LOHA", "r": 4, "target_modules": ["qkv"]}
ALL = [*METHODS, OWN]


@pytest.fixture(scope="module")
def study():
    config = yaml.safe_load(Path("profiles/demo/study.yaml").read_text())
    config["methods"] = dict.fromkeys(METHODS, GRID) | {OWN: GRID | {"peft": PEFT}}
    whole = {"backbones": ["vit_mini_cifar10"], "methods": ALL, "tasks": ["digits"], "train": [160]}
    config["experiments"] = {"whole": whole}
    config["explain"] = {"tasks": [], "images": 1}
    return load_study(config)


@pytest.fixture(scope="module")
def rehearsed(study):
    level = levels.accuracies(study)
    searched = {cell: rows.search(study, cell, level[cell]) for cell in study.cells}
    return {cell: (searched[cell], rows.finals(study, cell, level[cell], searched[cell])) for cell in study.cells}


@pytest.mark.parametrize("method", ALL)
def test_planned(study, method):
    (cell,) = study.select(method=method)
    for kind in ("search", "final"):
        work = work_of(study, kind, cell)
        seconds = sum(Speed(DEVICES["H100"]).seconds_by_phase(work).values())
        assert math.isfinite(seconds)
        assert seconds > 0
        assert need_of(study, kind, cell).host > 0
    full = work_of(study, "final", study.select(method="full")[0])
    assert 0 < work_of(study, "final", cell).flops <= 1.5 * full.flops


@pytest.mark.parametrize("method", ALL)
def test_rehearsed(study, rehearsed, method):
    (cell,) = study.select(method=method)
    search, final = rehearsed[cell]
    assert len(search["config"]) == 2
    assert set(search["optimizer"]) <= {"sgd", "adamw"}
    tuned, total = final["final"]["tuned_parameters"][0], final["final"]["total_parameters"][0]
    assert 0 < tuned <= total
    assert min(final["final"]["seconds"]) > 0


def test_shown(study, rehearsed):
    """Table 1 has a row for every method that was run as widely as full fine-tuning; each has its colour."""
    frames = [
        pd.DataFrame(final["final"]).assign(
            backbone=cell.backbone, method=cell.method, task=cell.task, train=cell.train
        )
        for cell, (_, final) in rehearsed.items()
    ]  # fmt: skip
    number = next(n for n in (1, 2) if specs.cells(n, study))
    table = build.build(number, study, pd.concat(frames, ignore_index=True))
    assert set(table.frame["method"]) >= set(ALL)
    assert len({method_colour(method) for method in ALL}) == len(ALL)


@pytest.mark.parametrize(
    ("peft", "message"),
    [
        ({"peft_type": "LORRA", "target_modules": ["qkv"]}, "methods.mine.peft.peft_type: 'LORRA' is unknown; did you"),
        ({"peft_type": "LORA"}, "methods.mine.peft: the key 'target_modules' is missing"),
        ({"peft_type": "LORA", "target_modules": []}, r"methods.mine.peft.target_modules: \[\] names no layers"),
    ],
)
def test_a_wrong_adapter_is_one_line(peft, message):
    config = yaml.safe_load(Path("profiles/demo/study.yaml").read_text())
    config["methods"]["mine"] = {"peft": peft}
    with pytest.raises(ConfigError, match=message):
        load_study(config)


def test_a_setting_of_another_method_is_one_line():
    config = yaml.safe_load(Path("profiles/demo/study.yaml").read_text())
    config["methods"]["vpt"]["layer_decay"] = 0.5
    with pytest.raises(ConfigError, match=r"methods.vpt.layer_decay: 'layer_decay' is unknown; choices: batch, grid"):
        load_study(config)
