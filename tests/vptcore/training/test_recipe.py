"""Recipes: the schedule against the authors' formula, the grid's order, and stable hashes."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vptcore.records import digest
from vptcore.training.protocol import PROTOCOLS
from vptcore.training.recipe import Recipe, check_batch, expand_grid, final_parts

BASE = Recipe("sgd", lr=1.0, weight_decay=0.0, batch=64, epochs=100, warmup=10)


def test_schedule_is_the_authors():
    """KMnP/vpt src/solver/lr_scheduler.py: linear from 0 over the warm-up, then half a cosine; stepped per epoch."""
    assert BASE.lr_factor(0) == 0
    assert BASE.lr_factor(5) == 0.5
    for epoch in range(10, 100):
        assert BASE.lr_factor(epoch) == pytest.approx(0.5 * (1 + math.cos(math.pi * (epoch - 10) / 90)))
    assert BASE.lr_factor(99) == pytest.approx(3e-4, abs=1e-4)
    assert BASE.scaled_lr == 64 / 256


@given(warmup=st.integers(0, 20), more=st.integers(1, 80), zero=st.booleans())
def test_schedule_rises_then_falls(warmup, more, zero):
    recipe = Recipe("sgd", 1.0, 0.0, 64, warmup + more, warmup, zero_first_epoch=zero)
    factors = [recipe.lr_factor(e) for e in range(recipe.epochs)]
    assert all(0 <= f <= 1 for f in factors)
    assert factors[:warmup] == sorted(factors[:warmup])
    assert factors[warmup:] == sorted(factors[warmup:], reverse=True)
    assert factors[warmup] == 1


def test_grid_is_in_the_order_of_ties():
    grid = expand_grid(BASE, {"lr": [5, 0.1, 5], "weight_decay": [0.01, 0.0]})
    assert [(r.lr, r.weight_decay) for r in grid] == [(0.1, 0.0), (0.1, 0.01), (5.0, 0.0), (5.0, 0.01)]


def test_hash_ignores_order_and_sees_values():
    assert digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1})
    assert BASE.hash() != Recipe("sgd", 1.0, 0.0, 64, 100, 11).hash()


def test_wrong_recipes_are_refused():
    with pytest.raises(ValueError, match="optimizer 'adam': choose one of sgd, adamw"):
        Recipe("adam", 1.0, 0.0, 64, 100, 10)
    with pytest.raises(ValueError, match="warmup 11 epochs do not fit into 10"):
        Recipe("sgd", 1.0, 0.0, 64, 10, 11)


@pytest.mark.parametrize(
    ("group", "train", "paper", "authors", "sound"),
    [
        ("natural", "800", "train val", "train val", "train val"),
        ("natural", "train", "train val", "train val", "train val"),
        ("fgvc", "train", "train", "train", "train val"),
        ("fgvc", "800", "train", "train", "train val"),
        ("natural", "one_shot", "train", "final", "train"),
        ("fgvc", "one_shot", "train", "final", "train"),
    ],
)
def test_finals_see_the_parts_that_the_protocol_says(group, train, paper, authors, sound):
    for name, parts in (("paper", paper), ("authors", authors), ("sound", sound)):
        assert final_parts(PROTOCOLS[name], group, train) == tuple(parts.split())


def test_a_batch_is_larger_than_the_set_in_one_shot_alone():
    check_batch({"recipe": {"batch": 64}, "train": "one_shot"}, 2)
    check_batch({"recipe": {"batch": 64}, "train": "64"}, 64)
    with pytest.raises(ValueError, match="64 is larger than the 63 training images; choose at most 63"):
        check_batch({"recipe": {"batch": 64}, "train": "63"}, 63)
