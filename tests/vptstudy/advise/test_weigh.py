"""Memory and speed are measured, in a process of their own, and grow with what is trained."""

from __future__ import annotations

import pytest

from vptcore.data.listing import Listing
from vptstudy.advise import rungs
from vptstudy.advise.look import Look
from vptstudy.advise.weigh import weigh
from vptstudy.config.resolve import load_study


@pytest.fixture(scope="module")
def weights():
    """Of a linear probe, and of full fine-tuning in batches of 4 and of 256."""
    found = Look("pets", "folder", "images", Listing("images", classes=("cat", "dog")))
    setting = rungs.Setting(found, "results", "vit_mini_cifar10", device="cpu")
    said = {}
    for method, batch in (("linear", 4), ("full", 4), ("full", 256)):
        config = rungs.config_of(setting, rungs.Budget(4, batch, "train"), "x", {method: (1e-3,)})
        study = load_study(config)
        said[method, batch] = weigh(study, study.cells[0])
    return said


def test_a_process_with_torch_takes_its_room(weights):
    assert all(100e6 < one.memory < 8e9 for one in weights.values())


def test_activations_of_a_large_batch_are_seen(weights):
    # 256 images x 17 tokens x 128 numbers x 4 bytes, some thirty times in each of six blocks: 400 MB.
    assert weights["full", 256].memory - weights["full", 4].memory > 100e6


def test_one_image_takes_milliseconds(weights):
    assert all(0.05 < one.latency < 5000 for one in weights.values())
