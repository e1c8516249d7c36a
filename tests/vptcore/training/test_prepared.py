"""Runs that take up an optimizer and a captured step again are the runs that make their own, bit for bit."""

from dataclasses import replace

import pytest
import torch

from tests.vptcore.training.small import image_set, vit
from tests.vptcore.training.test_step import Calls
from vptcore.data.tensors import ImageSet
from vptcore.jobs import stopping
from vptcore.models.heads import StackedHeads, linear_head
from vptcore.training.fit import fit
from vptcore.training.fresh import Models, OneModel
from vptcore.training.optimizers import _AuthorsAdamWOnGpu, parameter_groups
from vptcore.training.prepared import Prepared
from vptcore.training.recipe import Recipe, expand_grid

CPU = torch.device("cpu")
SGD = Recipe("sgd", 0.0, 0.0, 16, 2, 0)
AUTHORS = Recipe("adamw", 0.0, 0.0, 16, 2, 0)
TORCHS = Recipe("adamw", 0.0, 0.0, 16, 2, 0, adamw="torch")
GRID = {"lr": [0.5, 2.0, 4.0], "weight_decay": [0.0, 0.1]}


def outcome(model, history):
    losses = [float(epoch["train_loss"]) for epoch in history.epochs]
    return losses, [p.detach().clone() for p in model.parameters()]


def same(a, b):
    return a[0] == b[0] and all(torch.equal(x, y) for x, y in zip(a[1], b[1], strict=True))


@pytest.mark.parametrize(
    ("method", "recipe"),
    [("vpt", SGD), ("mixed", SGD), ("full", AUTHORS), ("full", TORCHS), ("lora", AUTHORS), ("full", SGD)],
)
def test_a_grid_on_one_model_is_its_runs_alone_and_captures_once_a_decay(method, recipe):
    """50 images in batches of 16: two sizes of batch, and two decays, whatever the number of learning rates."""
    train, recipes = image_set(50), expand_grid(recipe, GRID)
    alone = []
    for one in recipes:
        model = vit(method)
        alone.append(outcome(model, fit(model, train, one, seed=1)))
    calls = Calls()
    models, prepared = Models(lambda: vit(method), CPU), Prepared(calls)
    for one, expected in zip(recipes, alone, strict=True):
        model = models.fresh()
        assert same(outcome(model, fit(model, train, one, seed=1, prepared=prepared)), expected), one
    assert sorted(calls.sizes) == [2, 2, 16, 16]
    assert len({losses[-1] for losses, _ in alone}) == len(recipes), "each configuration is another run"


def test_a_short_schedule_and_a_full_one_share_a_captured_step():
    """As a race runs them; 32 images are two batches of one size."""
    train, short, full = image_set(32), replace(SGD, lr=1.0, epochs=1), replace(SGD, lr=1.0, epochs=3, warmup=1)
    alone = vit("vpt")
    expected = outcome(alone, fit(alone, train, full, seed=1))
    calls = Calls()
    models, prepared = Models(lambda: vit("vpt"), CPU), Prepared(calls)
    fit(models.fresh(), train, short, seed=1, prepared=prepared)
    model = models.fresh()
    assert same(outcome(model, fit(model, train, full, seed=1, prepared=prepared)), expected)
    assert calls.sizes == [16]


def test_another_set_or_another_model_is_made_ready_anew():
    calls = Calls()
    prepared, recipe = Prepared(calls), replace(SGD, lr=1.0)
    model, sets = vit("vpt"), (image_set(32), image_set(16))
    for train in sets:
        fit(model, train, recipe, seed=1, prepared=prepared)
    fit(vit("vpt"), sets[1], recipe, seed=1, prepared=prepared)
    fit(model, sets[1], replace(recipe, label_smoothing=0.1), seed=1, prepared=prepared)
    assert calls.sizes == [16] * 4


def test_seeds_of_one_model_are_the_seeds_models_and_capture_once():
    train, recipe, calls = image_set(50), replace(SGD, lr=2.0), Calls()
    one, prepared = OneModel(CPU), Prepared(calls)
    for seed in (1, 2, 3):
        torch.manual_seed(seed)
        apart, built = vit("vpt"), vit("vpt")
        for parameter, other in zip(apart.parameters(), built.parameters(), strict=True):
            parameter.data.normal_(0, 0.1)  # frozen ones too: each seed may start from a backbone of its own
            other.data.copy_(parameter)
        expected = outcome(apart, fit(apart, train, recipe, seed=seed))
        model = one.take(built)
        assert same(outcome(model, fit(model, train, recipe, seed=seed, prepared=prepared)), expected)
    assert sorted(calls.sizes) == [2, 16]


def test_a_resumed_run_goes_on_and_the_next_begins_at_nothing(tmp_path):
    """What is loaded lies elsewhere than what a graph reads, so the step is made again; then it serves the next."""
    train, checkpoint = image_set(50), tmp_path / "run.checkpoint"
    recipes = [replace(AUTHORS, lr=lr, weight_decay=0.1, epochs=3) for lr in (0.5, 1.0)]
    alone = []
    for recipe in recipes:
        model = vit("full")
        alone.append(outcome(model, fit(model, train, recipe, seed=1)))

    def stop(record, rate):
        if record["epoch"] == 2:
            raise stopping.Stopped("told to end")

    models, prepared = Models(lambda: vit("full"), CPU), Prepared(Calls())
    fit(models.fresh(), train, recipes[1], seed=1, prepared=prepared)
    with pytest.raises(stopping.Stopped):
        fit(vit("full"), train, recipes[0], seed=1, checkpoint=checkpoint, on_epoch=stop)
    model = models.fresh()
    history = fit(model, train, recipes[0], seed=1, checkpoint=checkpoint, prepared=prepared)
    assert same(outcome(model, history), alone[0])
    model = models.fresh()
    assert same(outcome(model, fit(model, train, recipes[1], seed=1, prepared=prepared)), alone[1])


def test_a_stack_taken_up_again_is_a_new_stack():
    """A stack's decays lie on the device, so that one step serves stacks of other decays too."""
    torch.manual_seed(0)
    train, calls = ImageSet(torch.randn(48, 8), torch.arange(48) % 3), Calls()
    prepared, stacks = Prepared(calls), ([0.0, 0.3], [0.2, 0.1])
    heads = StackedHeads(lambda: linear_head(8, 3), seed=0, count=2)
    for decays in stacks:
        recipes = [replace(SGD, lr=lr, weight_decay=decay) for lr, decay in zip((1.0, 2.0), decays, strict=True)]
        alone = StackedHeads(lambda: linear_head(8, 3), seed=0, count=2)
        fit(alone, train, recipes, seed=1)
        heads.load_state_dict(StackedHeads(lambda: linear_head(8, 3), seed=0, count=2).state_dict())
        fit(heads, train, recipes, seed=1, prepared=prepared)
        assert torch.equal(heads.weight, alone.weight)
        assert torch.equal(heads.bias, alone.bias)
    assert calls.sizes == [16]


def test_the_authors_adamw_of_captured_steps_begins_anew_in_place():
    model, recipe = torch.nn.Linear(4, 2), replace(AUTHORS, lr=1.0, weight_decay=0.1)
    options = {"lr": 0.0, "betas": (0.9, 0.999), "eps": 1e-6, "fused": True}

    def steps(optimizer, weights):
        with torch.no_grad():
            for parameter, value in zip(model.parameters(), weights, strict=True):
                parameter.copy_(value)
        for _ in range(3):
            optimizer.set_lr([recipe.scaled_lr])
            for parameter in model.parameters():
                parameter.grad = torch.full_like(parameter, 1e-3)
            optimizer.step()
        return [p.detach().clone() for p in model.parameters()]

    def make(of):
        return _AuthorsAdamWOnGpu(parameter_groups(model, of), **options).on(CPU)

    built = [p.detach().clone() for p in model.parameters()]
    other = replace(recipe, weight_decay=3.0)
    again = make(other)
    changed = steps(again, built)
    places = [tensor.data_ptr() for tensor in again.tensors()]
    again.start_anew(model, recipe)
    expected = steps(make(recipe), built)
    got = steps(again, built)
    assert all(torch.equal(a, b) for a, b in zip(got, expected, strict=True))
    assert not torch.equal(changed[0], expected[0])
    assert places == [tensor.data_ptr() for tensor in again.tensors()]
