"""Which parameters are decayed, as the authors' code does it and as it was meant, and what a step of AdamW is."""

import io
import math
from dataclasses import replace

import pytest
import torch
from torch import nn

from tests.vptcore.models.tiny import VIT, job_of, without_weights
from vptcore.models import methods
from vptcore.models.backbones import MINI, Backbone
from vptcore.models.methods import ModelSpec, build, build_head
from vptcore.training.optimizers import _AuthorsAdamWOnGpu, make_optimizer, parameter_groups
from vptcore.training.protocol import PROTOCOLS
from vptcore.training.recipe import Recipe

SWIN = Backbone(
    "swin", "Swin", "swin_tiny_patch4_window7_224", pool="avg", width=128, size=56, depth=4,
    options={"img_size": 56, "embed_dim": 16, "depths": (1, 1, 1, 1), "num_heads": (1, 1, 2, 2)},
)  # fmt: skip


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm1 = nn.LayerNorm(4)
        self.body = nn.Linear(4, 4)
        self.head = nn.Linear(4, 2)


def spec_of(method, backbone=MINI):
    return ModelSpec(backbone, method, 5, 0, True, vars(PROTOCOLS["paper"]), {})


def spared(optimizer, model=None, **more):
    model = Model() if model is None else model
    recipe = Recipe(optimizer, 1.0, 0.1, 8, 10, 1, **more)
    names = {id(p): n for n, p in model.named_parameters()}
    return {names[id(p)] for g in parameter_groups(model, recipe) if g["weight_decay"] == 0 for p in g["params"]}


def test_sgd_spares_the_heads_bias_alone():
    assert spared("sgd") == {"head.bias"}


def test_adamw_spares_biases_and_norms_if_asked():
    biases = {"norm1.bias", "body.bias", "head.bias"}
    assert spared("adamw") == biases
    assert spared("adamw", decay_norms=False) == biases | {"norm1.weight"}


def test_sgd_spares_the_bias_of_every_head_that_is_built():
    assert spared("sgd", build_head(spec_of("linear"), seed=0)) == {"bias"}
    assert spared("sgd", build_head(spec_of("mlp"), seed=0)) == {"head.bias"}
    assert spared("sgd", build(spec_of("full"), seed=0)) == {"head.bias"}


def test_adamw_spares_swins_position_biases(monkeypatch):
    monkeypatch.setattr("vptcore.models.pretrained.load_checkpoint", lambda model, spec: model)
    model = build(spec_of("full", replace(SWIN, checkpoint="none")), seed=0)
    tables = {name for name, _ in model.named_parameters() if "relative_position_bias_table" in name}
    assert len(tables) == 4
    assert tables <= spared("adamw", model)
    assert not tables & spared("sgd", model)


def adamw_by_hand(weight, gradients, lr, decay, form, eps=1e-6):
    """In plain floats, as each of the two is written down."""
    first = second = 0.0
    for t, gradient in enumerate(gradients, 1):
        first, second = 0.9 * first + 0.1 * gradient, 0.999 * second + 0.001 * gradient**2
        first_right, second_right = 1 - 0.9**t, 1 - 0.999**t
        if form == "authors":
            weight -= lr * math.sqrt(second_right) / first_right * first / (math.sqrt(second) + eps)
            weight -= lr * decay * weight
        else:
            weight -= lr * decay * weight
            weight -= lr * (first / first_right) / (math.sqrt(second / second_right) + eps)
    return weight


@pytest.mark.parametrize("form", ["authors", "torch"])
def test_adamw_steps_as_the_recipe_says(form):
    gradients = [1e-5, -3e-5, 2e-6, 4e-5, 1e-6, -2e-5]
    model = nn.Sequential()
    model.weight = nn.Parameter(torch.tensor([0.25], dtype=torch.float64))
    recipe = Recipe("adamw", 0.01, 0.1, 256, 10, 0, adamw=form)
    optimizer = make_optimizer(model, recipe)
    for gradient in gradients:
        optimizer.set_lr([recipe.scaled_lr])
        model.weight.grad = torch.tensor([gradient], dtype=torch.float64)
        optimizer.step()
    by_hand = {name: adamw_by_hand(0.25, gradients, 0.01, 0.1, name) for name in ("authors", "torch")}
    assert model.weight.item() == pytest.approx(by_hand[form], rel=0, abs=1e-14)
    assert abs(by_hand["authors"] - by_hand["torch"]) > 1e-4


def test_adamw_counts_its_steps_on_when_it_is_loaded():
    model = nn.Linear(2, 2)
    recipe = Recipe("adamw", 0.01, 0.1, 256, 10, 0, adamw="authors")

    def steps(optimizer, count):
        for _ in range(count):
            for parameter in model.parameters():
                parameter.grad = torch.full_like(parameter, 1e-5)
            optimizer.step()
        return [parameter.detach().clone() for parameter in model.parameters()]

    optimizer = make_optimizer(model, recipe)
    steps(optimizer, 3)
    saved, weights = (torch.load(_bytes(kept.state_dict()), weights_only=True) for kept in (optimizer, model))
    whole = steps(optimizer, 3)
    model.load_state_dict(weights)
    again = make_optimizer(model, recipe)
    again.load_state_dict(saved)
    assert all(torch.equal(a, b) for a, b in zip(steps(again, 3), whole, strict=True))


def _bytes(state) -> io.BytesIO:
    stream = io.BytesIO()
    torch.save(state, stream)
    stream.seek(0)
    return stream


def test_layer_decay_is_mae_fine_tunings(monkeypatch):
    """decay ** (layers - id) over layers = blocks + 1; patches and positions have id 0, block i has i + 1, the rest the
    last (facebookresearch/mae util/lr_decay.py)."""
    without_weights(monkeypatch)
    model = build(methods.spec_of(job_of(VIT, "full_decayed")), seed=0)
    optimizer = make_optimizer(model, Recipe("adamw", 1.0, 0.1, 256, 10, 1, layer_decay=0.5))
    optimizer.set_lr([0.8])
    names = {id(p): n.removeprefix("encoder.vit.") for n, p in model.named_parameters()}
    rates = {names[id(p)]: group["lr"] for group in optimizer.param_groups for p in group["params"]}

    def layer(name):
        if name.startswith("blocks."):
            return int(name.split(".")[1]) + 1
        return 0 if name.startswith(("cls_token", "pos_embed", "patch_embed")) else 4

    assert rates == {name: 0.8 * 0.5 ** (4 - layer(name)) for name in names.values()}
    decays = {names[id(p)]: group["weight_decay"] for group in optimizer.param_groups for p in group["params"]}
    assert {name for name, decay in decays.items() if decay == 0} == {name for name in decays if "bias" in name}


def test_the_authors_adamw_of_captured_steps_takes_the_same_steps():
    """Its learning rate and its count are tensors, and nothing it computes with is a number of Python's."""
    gradients = [1e-5, -3e-5, 2e-6, 4e-5, 1e-6, -2e-5]
    model = nn.Sequential()
    model.weight = nn.Parameter(torch.tensor([0.25], dtype=torch.float64))
    recipe = Recipe("adamw", 0.01, 0.1, 256, 10, 0)
    options = {"lr": recipe.scaled_lr, "betas": (0.9, 0.999), "eps": 1e-6, "fused": True}
    optimizer = _AuthorsAdamWOnGpu(parameter_groups(model, recipe), **options).on(torch.device("cpu"))
    places = [tensor.data_ptr() for tensor in optimizer.tensors()]
    for gradient in gradients:
        optimizer.set_lr([recipe.scaled_lr])
        model.weight.grad = torch.tensor([gradient], dtype=torch.float64)
        optimizer.step()
    expected = adamw_by_hand(0.25, gradients, 0.01, 0.1, "authors")
    assert model.weight.item() == pytest.approx(expected, rel=0, abs=1e-8)
    assert abs(model.weight.item() - adamw_by_hand(0.25, gradients, 0.01, 0.1, "torch")) > 1e-4
    assert places == [tensor.data_ptr() for tensor in optimizer.tensors()], "what a graph reads stays where it is"
