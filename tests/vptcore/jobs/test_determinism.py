"""The switches that last bits depend on are set, are undone, and every method trains under them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
import yaml

from vptcore.jobs.determinism import WORKSPACE, settle
from vptstudy import slices
from vptstudy.config.resolve import load_study
from vptstudy.study import Cell


@pytest.fixture
def plain():
    threads = torch.get_num_threads()
    yield
    settle(threads)


def test_threads_are_the_configs_whatever_the_environment_says(plain):
    settle(2)
    assert torch.get_num_threads() == 2
    settle()
    assert torch.get_num_threads() == 1


def test_deterministic_kernels_are_asked_for_and_given_up_again(plain, monkeypatch):
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    settle(deterministic=True)
    assert torch.are_deterministic_algorithms_enabled()
    assert not torch.is_deterministic_algorithms_warn_only_enabled()
    assert torch.backends.cudnn.deterministic
    assert not torch.backends.cuda.mem_efficient_sdp_enabled()
    assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == WORKSPACE
    assert not torch.utils.deterministic.fill_uninitialized_memory, "new tensors are filled first"
    # An operation that has no deterministic form is refused, not run.
    with pytest.raises(RuntimeError, match="deterministic"):
        torch.zeros(3).put_(torch.tensor([0, 0]), torch.tensor([1.0, 2.0]), accumulate=False)
    settle()
    assert not torch.are_deterministic_algorithms_enabled()
    assert torch.backends.cuda.mem_efficient_sdp_enabled()


def study(**change):
    return load_study(yaml.safe_load(Path("profiles/demo/study.yaml").read_text()) | change)


CELL = Cell("vit_mini_cifar10", "vpt", "digits", "160")


def test_the_config_reaches_the_jobs_and_its_defaults_change_no_slice():
    plain = slices.search(study(), CELL)
    assert slices.search(study(threads=1, deterministic=False), CELL) == plain
    for made in (slices.search, slices.final):
        job = made(study(threads=4, deterministic=True), CELL)
        assert (job["threads"], job["deterministic"]) == (4, True)
    assert slices.features(study(deterministic=True), "digits")["deterministic"]
    assert slices.explain(study(deterministic=True), "vit_mini_cifar10", "digits", "160")["deterministic"]
    assert study(threads=3).threads == 3


@pytest.mark.parametrize("method", ["full", "vpt", "mixed", "lora"])
def test_every_method_trains_under_it_and_gives_the_same_bits_twice(plain, method):
    from vptcore.data.tensors import ImageSet, Normalise
    from vptcore.models.backbones import MINI
    from vptcore.models.methods import build, spec_of
    from vptcore.training.fit import fit, predict
    from vptcore.training.recipe import Recipe

    settle(deterministic=True)
    config = yaml.safe_load(Path("profiles/demo/study.yaml").read_text())
    config["methods"]["lora"] = {
        "batch": 16, "grid": {"lr": [0.01], "weight_decay": [0.0]}, "lora": {"rank": 2, "alpha": 2, "targets": ["qkv"]},
    }  # fmt: skip
    job = slices.final(load_study(config), Cell("vit_mini_cifar10", method, "digits", "160"))
    images = torch.randint(0, 255, (24, 32, 32, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    train = ImageSet(images, torch.arange(24) % 10, Normalise(MINI.size, MINI.mean, MINI.std))
    recipe = Recipe(**job["recipe"] | {"epochs": 2, "lr": 0.05, "batch": 8, "warmup": 0})
    runs = []
    for _ in range(2):
        model = build(spec_of(job), seed=3)
        fit(model, train, recipe, seed=3)
        runs.append(predict(model, train))
    assert torch.equal(*runs)
