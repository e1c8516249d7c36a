"""The captured step on a CPU, its graph replaced by a call: equal to plain steps; and what happens without one."""

import contextlib
from dataclasses import replace

import pytest
import torch

from tests.vptcore.training.small import image_set, vit
from vptcore.data.augment import CropFlip
from vptcore.data.tensors import draw_epoch
from vptcore.training.optimizers import make_optimizer
from vptcore.training.recipe import Recipe
from vptcore.training.step import TrainStep

SGD = Recipe("sgd", 2.0, 0.01, 16, 5, 0)
ADAMW = Recipe("adamw", 0.05, 0.01, 16, 5, 0)


class Calls:
    """What stands in for a graph: recording runs nothing, replaying calls the body on the recorded place."""

    def __init__(self):
        self.sizes = []

    def beside(self):
        return contextlib.nullcontext()

    def capture(self, body, draws):
        self.sizes.append(draws.shape[1])

        def replay(now):
            assert now.shape == draws.shape
            draws.copy_(now)
            body(draws)

        return replay


def run(method, recipe, *, graphs=None, augment=None, steps=20, **more):
    """Losses of so many steps on 50 images in batches of 16: the last of every four has 2. And the trained weights."""
    model, train = vit(method, **more), image_set(50)
    optimizer = make_optimizer(model, recipe)
    torch.manual_seed(3)
    generator, losses = torch.Generator().manual_seed(3), []
    step = TrainStep(model, train, recipe, optimizer, augment, graphs=graphs)
    model.train()
    while len(losses) < steps:
        optimizer.set_lr([recipe.lr_at(len(losses) // 4)])
        drawn = draw_epoch(train, recipe.batch, [] if augment is None else [augment.shift], generator)
        for draws in drawn.split(recipe.batch, dim=1):
            before = step.sums.clone()
            step(draws)
            losses.append(float((step.sums - before)[0]) / draws.shape[1])
    return losses, [p.detach().clone() for p in model.parameters()], step


@pytest.mark.parametrize(
    ("method", "recipe"), [("vpt", SGD), ("full", ADAMW), ("mixed", SGD), ("linear_like", SGD), ("lora", ADAMW)]
)
def test_twenty_steps_of_the_captured_form_equal_plain_ones(method, recipe):
    """Bit for bit: warming up leaves weights, optimizer, dropout's random numbers and sums as they were."""
    expected, weights, _ = run(method, recipe)
    calls = Calls()
    got, captured_weights, step = run(method, recipe, graphs=calls)
    assert calls.sizes == [16, 2]
    assert step.captured == "yes"
    assert got == expected
    assert len(set(got)) > 15, "the losses move"
    for a, b in zip(weights, captured_weights, strict=True):
        assert torch.equal(a, b)


def test_crops_of_the_captured_form_are_the_plain_ones():
    expected, *_ = run("vpt", SGD, augment=CropFlip(2), steps=8)
    got, *_ = run("vpt", SGD, augment=CropFlip(2), steps=8, graphs=Calls())
    without, *_ = run("vpt", SGD, steps=8)
    assert got == expected != without


def test_what_a_graph_reads_stays_where_it_is():
    """Weights, momenta and the learning rate are written in place, or a replay would read freed memory."""
    model, train = vit("vpt"), image_set(32)
    optimizer = make_optimizer(model, SGD)
    for group in optimizer.param_groups:
        group["lr"] = torch.tensor(group["lr"])
    places = []
    step = TrainStep(model, train, replace(SGD, batch=16), optimizer, graphs=Calls())
    for lr in (0.1, 0.2):
        optimizer.set_lr([lr])
        step(torch.arange(16)[None])
        kept = [p for p in model.parameters() if p.requires_grad] + optimizer.tensors()
        places.append([t.data_ptr() for t in [*kept, *(g["lr"] for g in optimizer.param_groups), step.sums]])
        assert float(optimizer.param_groups[0]["lr"]) == pytest.approx(lr)
    assert places[0] == places[1]


def test_a_step_that_cannot_be_captured_is_called_and_said():
    class Refuses(Calls):
        def capture(self, body, draws):
            raise RuntimeError("operation not permitted when stream is capturing\nmore lines")

    expected, *_ = run("vpt", SGD, steps=8)
    got, _, step = run("vpt", SGD, steps=8, graphs=Refuses())
    assert got == expected
    assert step.captured == "no (RuntimeError: operation not permitted when stream is capturing)"


def test_on_a_cpu_nothing_is_warmed_up():
    _, _, step = run("vpt", SGD, steps=1)
    assert (step.seconds, step.compiled, step.captured) == (0.0, "no (compile: never)", "no (no GPU)")
