"""Compiled against plain, batches that are filled up, models that are used again."""

import pytest
import torch
from torch import nn

from vptcore.data.tensors import ImageSet
from vptcore.training.fit import fit, padded, predict
from vptcore.training.recipe import Recipe
from vptcore.training.step import forward_of, renew

CPU = torch.device("cpu")


def make(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(8, 8), nn.GELU(), nn.Linear(8, 3))


def data(count=50):
    generator = torch.Generator().manual_seed(0)
    return ImageSet(torch.randn(count, 8, generator=generator), torch.randint(0, 3, (count,), generator=generator))


def test_auto_and_never_are_plain_on_a_cpu():
    model = make()
    assert forward_of(model, CPU, "auto") is model
    assert forward_of(model, CPU, "never") is model


def test_batches_are_filled_up_and_cut_again():
    order = torch.arange(10)
    assert [b.tolist() for b in padded(order, 4)] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 0, 1]]
    assert [b.tolist() for b in padded(order, 20)] == [order.tolist()]
    model = make()
    assert torch.allclose(predict(model, data(), batch=16), model(data().images), atol=1e-6)


def test_renewed_is_fresh():
    model = renew(None, make(1), CPU)
    again = renew(model, make(2), CPU)
    assert again is model
    assert all(torch.equal(a, b) for a, b in zip(again.parameters(), make(2).parameters(), strict=True))


def test_a_compiled_model_trains_on_one_shape_and_learns_the_same(monkeypatch):
    """50 images in batches of 16: the plain loop ends with a batch of 2."""
    shapes = []

    def recorded(model, **_):
        return lambda inputs: shapes.append(tuple(inputs.shape)) or model(inputs)

    recipe = Recipe("sgd", 0.5, 0.0, 16, 3, 0)
    plain, compiled = make().double(), make().double()
    images = ImageSet(data().images.double(), data().labels_N)
    expected = fit(plain, images, recipe, seed=1)
    monkeypatch.setattr(torch, "compile", recorded)
    got = fit(compiled, images, recipe, seed=1, compile="always")
    assert set(shapes) == {(16, 8)}
    for a, b in zip(plain.parameters(), compiled.parameters(), strict=True):
        assert torch.allclose(a, b, rtol=0, atol=1e-12)
    assert float(got.epochs[-1]["train_loss"]) == pytest.approx(float(expected.epochs[-1]["train_loss"]), abs=1e-12)


@pytest.mark.slow
def test_compiled_equals_plain():
    recipe = Recipe("sgd", 0.5, 0.0, 16, 3, 0)
    plain, compiled = make(), make()
    fit(plain, data(), recipe, seed=1)
    fit(compiled, data(), recipe, seed=1, compile="always")
    for a, b in zip(plain.parameters(), compiled.parameters(), strict=True):
        assert torch.allclose(a, b, atol=1e-5)
    assert torch.allclose(predict(compiled, data(), compile="always"), predict(compiled, data()), atol=1e-5)


def test_where_compilation_fails_the_plain_model_takes_over(monkeypatch, capsys):
    def broken(model, **_):
        def call(*_):
            raise RuntimeError("no compiler")

        return call

    monkeypatch.setattr(torch, "compile", broken)
    model = make()
    forward = forward_of(model, CPU, "always")
    x = torch.randn(4, 8)
    assert torch.equal(forward(x), model(x))
    assert torch.equal(forward(x), model(x))
    assert capsys.readouterr().out.count("torch.compile failed (RuntimeError)") == 1
