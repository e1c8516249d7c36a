"""The loop against a plain one written here, resumption bit for bit, stacks against single heads, divergence."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from vptcore.data.tensors import ImageSet
from vptcore.jobs import stopping
from vptcore.models.heads import MlpHead, StackedHeads, linear_head
from vptcore.training.batches import batch_sizes, cuts
from vptcore.training.fit import fit, predict, scores
from vptcore.training.recipe import Recipe

RECIPE = Recipe("sgd", lr=2.0, weight_decay=0.01, batch=16, epochs=6, warmup=2)


def features(count=50, width=8, classes=3, dtype=torch.float32):
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(0, classes, (count,), generator=generator)
    x = torch.randn(count, width, generator=generator) + F.one_hot(labels, width) * 2
    return ImageSet(x.to(dtype), labels)


def make_model(dropout=0.0, dtype=torch.float32):
    torch.manual_seed(1)
    model = nn.Sequential()
    model.add_module("body", nn.Linear(8, 8))
    model.add_module("drop", nn.Dropout(dropout))
    model.add_module("head", nn.Linear(8, 3))
    return model.to(dtype)


def plain_sgd(model, data, recipe, seed):
    """The textbook loop: numpy-free, optimizer-free, one tensor at a time."""
    generator = torch.Generator().manual_seed(seed)
    buffers = {}
    for epoch in range(recipe.epochs):
        lr = recipe.scaled_lr * recipe.lr_factor(epoch)
        for rows in torch.randperm(len(data), generator=generator).split(recipe.batch):
            loss = F.cross_entropy(model(data.images[rows]), data.labels_N[rows])
            grads = torch.autograd.grad(loss, list(model.parameters()))
            for (name, p), g in zip(model.named_parameters(), grads, strict=True):
                g = g + (0 if name == "head.bias" else recipe.weight_decay) * p.detach()
                buffers[name] = g if name not in buffers else 0.9 * buffers[name] + g
                p.data -= lr * buffers[name]


def test_equals_the_plain_loop():
    data, ours, plain = features(dtype=torch.float64), make_model(dtype=torch.float64), make_model(dtype=torch.float64)
    history = fit(ours, data, RECIPE, seed=5)
    plain_sgd(plain, data, RECIPE, seed=5)
    for a, b in zip(ours.parameters(), plain.parameters(), strict=True):
        assert torch.allclose(a, b, rtol=0, atol=1e-12)
    assert [e["epoch"] for e in history.epochs] == [1, 2, 3, 4, 5, 6]
    assert history.images == 6 * 50
    assert not history.diverged


def test_scores_against_numpy():
    data, model = features(), make_model()
    logits = predict(model, data, batch=7)
    loss, accuracy = scores(logits, data.labels_N)
    z, y = logits.double().numpy(), data.labels_N.numpy()
    assert float(loss) == pytest.approx(np.mean(np.log(np.exp(z).sum(1)) - z[np.arange(50), y]))
    assert float(accuracy) == np.mean(z.argmax(1) == y)


def test_watching_changes_nothing_that_is_learned():
    data, a, b = features(), make_model(dropout=0.5), make_model(dropout=0.5)
    watched = fit(a, data, RECIPE, seed=2, watch=features(20))
    fit(b, data, RECIPE, seed=2)
    assert all(torch.equal(x, y) for x, y in zip(a.parameters(), b.parameters(), strict=True))
    assert all("test_loss" in record for record in watched.epochs)


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_resumed_equals_uninterrupted_bit_for_bit(tmp_path, optimizer):
    recipe = Recipe(optimizer, lr=0.5, weight_decay=0.01, batch=16, epochs=6, warmup=2)
    data, whole = features(), make_model(dropout=0.3)
    expected = fit(whole, data, recipe, seed=4)

    class Killed(Exception):
        pass

    def kill_in_epoch_4(record, rate):
        if record["epoch"] == 4:
            raise Killed

    file = tmp_path / "run.checkpoint"
    with pytest.raises(Killed):
        fit(make_model(dropout=0.3), data, recipe, seed=4, checkpoint=file, on_epoch=kill_in_epoch_4)
    assert file.exists()
    torch.manual_seed(99)  # whatever happens between the two runs
    again = make_model(dropout=0.3)
    history = fit(again, data, recipe, seed=4, checkpoint=file)
    assert all(torch.equal(x, y) for x, y in zip(whole.parameters(), again.parameters(), strict=True))
    for a, b in zip(history.epochs, expected.epochs, strict=True):
        assert a["epoch"] == b["epoch"]
        assert torch.equal(a["train_loss"], b["train_loss"])


@pytest.mark.parametrize("step", [1, 2, 5, 11, 23])
def test_stopped_at_any_step_and_gone_on_equals_uninterrupted_bit_for_bit(tmp_path, step, monkeypatch):
    """50 images in batches of 16 are 4 steps an epoch; the watched set is one more place to stop at."""
    recipe = Recipe("adamw", lr=0.5, weight_decay=0.01, batch=16, epochs=6, warmup=2)
    data, watch, whole = features(), features(20), make_model(dropout=0.3)
    expected = fit(whole, data, recipe, seed=4, watch=watch)
    calls, plain = [], stopping.check

    def check():
        calls.append(1)
        if len(calls) == step:
            raise stopping.Stopped("stopped by SIGTERM")
        plain()

    monkeypatch.setattr(stopping, "check", check)
    file = tmp_path / "run.checkpoint"
    message = rf"^stopped by SIGTERM in epoch {(step - 1) // 5 + 1} of 6: saved; run it again and it continues there$"
    with pytest.raises(stopping.Stopped, match=message):
        fit(make_model(dropout=0.3), data, recipe, seed=4, watch=watch, checkpoint=file, checkpoint_seconds=1e9)
    torch.manual_seed(99)
    again = make_model(dropout=0.3)
    history = fit(again, data, recipe, seed=4, watch=watch, checkpoint=file, checkpoint_seconds=1e9)
    assert len(calls) == 6 * 5 + 1, "no step was done twice"
    assert all(torch.equal(x, y) for x, y in zip(whole.parameters(), again.parameters(), strict=True))
    assert history.images == expected.images
    for a, b in zip(history.epochs, expected.epochs, strict=True):
        assert {k: float(v) for k, v in a.items()} == {k: float(v) for k, v in b.items()}


def test_a_folder_that_was_taken_over_is_not_written_to(tmp_path, monkeypatch):
    monkeypatch.setattr(stopping, "_asked", stopping.Stopped("taken over", saves=False))
    with pytest.raises(stopping.Stopped, match=r"^taken over$"):
        fit(make_model(), features(), RECIPE, seed=4, checkpoint=tmp_path / "run.checkpoint")
    assert not list(tmp_path.iterdir())


def test_stacked_heads_equal_one_by_one():
    data = features(dtype=torch.float64)
    recipes = [Recipe("sgd", lr, decay, 16, 6, 2) for lr, decay in itertools.product((0.1, 1.0, 4.0), (0.0, 0.1))]

    def make():
        return linear_head(8, 3, bias=-1.0).double()

    stack = StackedHeads(make, seed=7, count=len(recipes))
    history = fit(stack, data, recipes, seed=7)
    for g, recipe in enumerate(recipes):
        torch.manual_seed(7)
        alone = make()
        single = fit(alone, data, recipe, seed=7)
        assert torch.allclose(stack.weight[g], alone.weight, rtol=0, atol=1e-10)
        assert torch.allclose(stack.bias[g], alone.bias, rtol=0, atol=1e-10)
        assert history.epochs[-1]["train_loss"][g] == pytest.approx(float(single.epochs[-1]["train_loss"]))


def test_few_images_keep_the_learning_rate_of_the_batch_asked_for():
    """One-shot: lr x batch / 256 however few images there are (KMnP/vpt tune_vtab.py:100). By hand, in float64."""
    data = features(dtype=torch.float64)
    few = ImageSet(data.images[:4], data.labels_N[:4])
    head = linear_head(8, 3, init="zeros").double()
    fit(head, few, Recipe("sgd", 2.0, 0.0, 64, 1, 0), seed=0)
    share_4C = np.full((4, 3), 1 / 3) - np.eye(3)[few.labels_N.numpy()]
    by_hand = -2.0 * 64 / 256 * share_4C.T @ few.images.numpy() / 4
    assert np.allclose(head.weight.detach().numpy(), by_hand, rtol=0, atol=1e-12)


def test_a_diverged_run_stops_and_is_marked():
    history = fit(make_model(), features(), Recipe("sgd", 1e30, 0.0, 16, 50, 0), seed=0)
    assert bool(history.diverged)
    assert len(history.epochs) < 50


def test_a_diverged_head_leaves_its_neighbours_alone():
    data, recipes = features(), [Recipe("sgd", lr, 0.0, 16, 6, 0, scale_lr=False) for lr in (0.1, 3e38)]
    stack = StackedHeads(lambda: linear_head(8, 3), seed=0, count=2)
    history = fit(stack, data, recipes, seed=0)
    assert history.diverged.tolist() == [False, True]
    assert torch.isfinite(stack.weight[0]).all()


def test_same_seed_same_weights_other_seed_others():
    models = [make_model() for _ in range(3)]
    for model, seed in zip(models, (1, 1, 2), strict=True):
        fit(model, features(), RECIPE, seed=seed)
    assert torch.equal(models[0].head.weight, models[1].head.weight)
    assert not torch.equal(models[0].head.weight, models[2].head.weight)


@pytest.mark.parametrize(
    ("images", "batch", "plain", "joined"),
    [(33, 16, [16, 16, 1], [16, 17]), (34, 16, [16, 16, 2], [16, 16, 2]), (17, 16, [16, 1], [17]), (1, 16, [1], [1]),
     (32, 16, [16, 16], [16, 16]), (5, 1, [1] * 5, [1, 1, 1, 2]), (7, 16, [7], [7])],
)  # fmt: skip
def test_where_batches_are_cut(images, batch, plain, joined):
    assert cuts(images, batch) == plain
    assert cuts(images, batch, joined=True) == joined
    assert batch_sizes(images, batch) == sorted(set(plain), reverse=True)


def test_under_batch_norm_a_last_image_alone_joins_the_batch_before_it():
    data = features(count=33)
    model = MlpHead(8, 3)
    history = fit(model, data, replace(RECIPE, batch=16, epochs=2), seed=5)
    assert not history.diverged
    assert history.images == 2 * 33
    norm = next(module for module in model.modules() if isinstance(module, nn.BatchNorm1d))
    assert norm.num_batches_tracked == 2 * 2
