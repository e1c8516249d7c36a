"""Optimizer steps, learning rates, first draws and LoRA, beside KMnP/vpt's and loralib's."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from tests.peers.models import CLASSES, make
from tests.peers.pattern import dot, pattern, recorded, weight
from vptcore.models.heads import MlpHead, linear_head
from vptcore.models.prompts import Prompts
from vptcore.training.fit import cross_entropy_per_model
from vptcore.training.optimizers import make_optimizer
from vptcore.training.protocol import PROTOCOLS
from vptcore.training.recipe import Recipe, recipes_of

__all__ = ["make"]
STEPS, SCHEDULE, INIT, LORA = (recorded(name) for name in ("steps", "schedule", "init", "lora"))
BIAS = PROTOCOLS["authors"].head_bias


def recipe_of(case: str) -> Recipe:
    """What a search under `authors` makes of the recorded grid point: AdamW decays by 0.01, or is SGD at decay 0."""
    full, asked = "full" in case, STEPS[case]
    base = {"lr": 0.0, "weight_decay": 0.0, "batch": 256, "epochs": 5, "warmup": 0, "optimizer": "sgd"}
    job = {
        "recipe": base | ({"optimizer": "adamw"} if full else {}),
        "grid": {"lr": [asked["lr"]], "weight_decay": [asked["weight_decay"]]},
        "fixed_decay": full,
    }
    (recipe,) = recipes_of(job)
    assert (recipe.optimizer == "adamw") == (asked["class"] == "AdamW")
    return recipe


@pytest.mark.parametrize("case", STEPS)
def test_five_steps_of_each_optimizer(make, case):
    swin = case.startswith("swin")
    method = case.removeprefix("swin ").split()[0]
    model, theirs = make("swin" if swin else "vit", method), STEPS[case]
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    model.eval() if swin else model.train()
    images = torch.from_numpy(pattern("images", (2, 3, 224, 224) if swin else (4, 3, 24, 24), 2))
    labels = torch.arange(len(images)) % CLASSES
    recipe = recipe_of(case)
    optimizer = make_optimizer(model, recipe)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    for step in range(5):
        optimizer.set_lr([recipe.scaled_lr])
        loss = cross_entropy_per_model(model(images * (1 + step / 10)), (labels + step) % CLASSES)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() == pytest.approx(theirs["loss"], rel=1e-9)
    moved = {name: p.detach() - before[name] for name, p in model.named_parameters() if p.requires_grad}
    assert set(moved) == set(theirs["moved"])
    for name, change in moved.items():
        room = 1e-9 * theirs["how_far"][name] * math.sqrt(change.numel())
        assert dot(name, change) == pytest.approx(theirs["moved"][name], rel=0, abs=room), name


@pytest.mark.parametrize("warmup", SCHEDULE)
def test_100_learning_rates(warmup):
    recipe = Recipe("sgd", 0.375 * 256 / 64, 0.0, 64, 100, int(warmup))
    assert [recipe.lr_at(epoch) for epoch in range(100)] == pytest.approx(SCHEDULE[warmup], rel=1e-12, abs=1e-15)


def test_heads_are_drawn_as_theirs():
    torch.manual_seed(0)
    linear, mlp = linear_head(768, 397, bias=BIAS), MlpHead(768, 397, bias=BIAS)
    assert linear.weight.std().item() == pytest.approx(INIT["linear"]["weight_std"], rel=0.01)
    assert abs(linear.weight.mean().item()) < 5e-4
    assert set(linear.bias.tolist()) == set(INIT["linear"]["bias"]) == set(INIT["mlp"]["last_bias"])
    assert set(mlp.head.bias.tolist()) == set(INIT["mlp"]["last_bias"])
    assert mlp.head.weight.std().item() == pytest.approx(INIT["mlp"]["last_weight_std"], rel=0.01)
    assert [type(layer).__name__ for layer in mlp.hidden] == INIT["mlp"]["layers"]
    assert [layer.p for layer in mlp.hidden if isinstance(layer, nn.Dropout)] == INIT["mlp"]["dropout"]
    for place, layer in enumerate(layer for layer in mlp.hidden if isinstance(layer, nn.Linear)):
        assert layer.weight.std().item() == pytest.approx(INIT["mlp"]["weight_std"][place], rel=0.01)
        assert layer.bias.std().item() == pytest.approx(INIT["mlp"]["bias_std"][place], rel=0.1)
        assert layer.bias.abs().max().item() == pytest.approx(INIT["mlp"]["bias_max"][place], rel=0.02)


def test_prompts_are_drawn_as_theirs():
    torch.manual_seed(0)
    tokens = Prompts(3, 4000, 32, 8, dropout=0.0, init="uniform").tokens
    for part, theirs in ((tokens[:1], INIT["prompts"]["first"]), (tokens[1:], INIT["prompts"]["deep"])):
        assert part.min().item() == pytest.approx(theirs["min"], rel=1e-3)
        assert part.max().item() == pytest.approx(theirs["max"], rel=1e-3)
        assert part.std().item() == pytest.approx(theirs["std"], rel=0.01)


def test_lora_is_loralibs():
    """TOAST's r = 4 and alpha 1 on qkv: what peft adds for config.yaml's lora settings."""
    from peft import LoraConfig, inject_adapter_in_model

    model = nn.Sequential()
    model.qkv = nn.Linear(6, 18).double()
    inject_adapter_in_model(LoraConfig(r=4, lora_alpha=1, target_modules=["qkv"]), model)
    model.double()
    layer = model.qkv
    layer.base_layer.weight.data, layer.base_layer.bias.data = weight("qkv.weight", (18, 6)), weight("qkv.bias", (18,))
    layer.lora_A["default"].weight.data = weight("lora_A", (4, 6))
    layer.lora_B["default"].weight.data = weight("lora_B", (18, 4))
    got = layer(torch.from_numpy(pattern("lora x", (3, 6))))
    assert (got - torch.tensor(LORA["out"], dtype=torch.float64)).abs().max() < 1e-13
    assert layer.scaling["default"] == LORA["scaling"]
    wide = nn.Sequential()
    wide.qkv = nn.Linear(768, 2304)
    inject_adapter_in_model(LoraConfig(r=4, lora_alpha=1, target_modules=["qkv"]), wide)
    assert wide.qkv.lora_A["default"].weight.std().item() == pytest.approx(LORA["A_std"], rel=0.05)
