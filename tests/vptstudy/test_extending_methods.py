"""The methods that docs/extending.md adds, as it adds them: counted, trained, planned, rehearsed."""

import re
from pathlib import Path

import pytest
import torch
import yaml

from tests.vptcore.models.tiny import VIT, job_of, without_weights
from vptcore.data.tensors import ImageSet
from vptcore.models.changes import count_tuned
from vptcore.models.methods import BRANCHES, build, count_parameters, spec_of
from vptcore.models.methods_table import METHODS
from vptcore.training.fit import fit
from vptcore.training.recipe import Recipe
from vptstudy.config.resolve import load_study
from vptstudy.plan.limits import work_of
from vptstudy.rehearsal import levels, rows
from vptstudy.study import Cell

PAGE = Path("docs/extending.md").read_text(encoding="utf-8")


def code(language: str) -> list[str]:
    section = PAGE.split("\n## A method")[1].split("\n## ")[0]
    return re.findall(rf"```{language}\n(.*?)```", section, flags=re.S)


@pytest.fixture
def added(monkeypatch):
    """The page's rows in METHODS, and its branch."""
    page: dict = {}
    for block in code("python"):
        exec(compile(block, "docs/extending.md", "exec"), page)
    for row in (page["ATTENTION"], page["MLP_SCALE"]):
        monkeypatch.setitem(METHODS, row.id, row)
    monkeypatch.setitem(BRANCHES, "mlp_scale", page["mlp_scale"])


@pytest.mark.parametrize(
    ("method", "tuned"),
    # Three blocks: qkv and projection with biases; or a scale and a shift a channel. The head has 7 classes.
    [("attention", 3 * (4 * 48 * 48 + 4 * 48) + 7 * 49), ("mlp_scale", 3 * 2 * 48 + 7 * 49)],
)
def test_counted_and_trained(added, monkeypatch, method, tuned):
    without_weights(monkeypatch)
    model, recipe = build(spec_of(job_of(VIT, method)), seed=0), Recipe("adamw", 0.1, 0.0, 8, 1, 0)
    assert count_tuned(job_of(VIT, method)) == count_parameters(model)
    assert count_parameters(model)[0] == tuned
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    history = fit(model, ImageSet(torch.randn(16, 3, 32, 32), torch.arange(16) % 7), recipe, seed=0)
    assert torch.isfinite(history.epochs[0]["train_loss"])
    changed = {name for name, parameter in model.named_parameters() if not torch.equal(parameter, before[name])}
    assert changed == {name for name, parameter in model.named_parameters() if parameter.requires_grad}


@pytest.mark.parametrize("method", ["attention", "mlp_scale", "my_dora"])
def test_planned_and_rehearsed(added, method):
    config = yaml.safe_load(Path("profiles/demo/study.yaml").read_text())
    config["methods"] |= yaml.safe_load(code("yaml")[0])["methods"]
    config["experiments"]["mine"] = {
        "backbones": ["vit_mini_cifar10"], "methods": [method], "tasks": ["digits"], "train": [160],
    }  # fmt: skip
    study = load_study(config)
    cell = Cell("vit_mini_cifar10", method, "digits", "160")
    work = {m: work_of(study, "search", Cell("vit_mini_cifar10", m, "digits", "160")) for m in ("linear", "full")}
    assert work["linear"].flops < work_of(study, "final", cell).flops
    level = levels.accuracies(study)[cell]
    searched = rows.search(study, cell, level)
    assert len(searched["config"]) == len(METHODS[method].grid["lr"]) * len(METHODS[method].grid["weight_decay"])
    final = rows.finals(study, cell, level, searched)["final"]
    assert set(final["tuned_parameters"]) == {levels.parameters(cell, study)[0]}
