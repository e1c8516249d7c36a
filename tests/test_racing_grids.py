"""Recording grids for the replay of search: racing: stacked configurations, and what is like the study."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import yaml

from bench import racing_grids
from bench.advise_grids import Images, cut_backbone
from bench.racing_grids import STUDY, Grid, Kind, like_the_study
from vptcore.data.listing import Listing
from vptstudy.advise.look import Look

PARTS = {"train": 18, "val": 12, "truth": 10}
VPT = {"batch": 8, "grid": {"lr": [2.0, 8.0, 64.0], "weight_decay": [0.01]}}


@pytest.fixture(scope="module")
def grid(tmp_path_factory):
    rng = np.random.default_rng(0)
    labels_N = rng.integers(0, 2, sum(PARTS.values()))
    images_NHWC = rng.integers(0, 256, (len(labels_N), 32, 32, 3))
    look = Look("made up", "folder", "images", Listing("images", classes=("dark", "light")))
    of = Images("made up", look, images_NHWC.astype(np.uint8), labels_N)
    kind = Kind("made up", {"vpt": VPT}, epochs=4, parts=PARTS, prompts=3, classes=2, protocol="paper")
    return Grid(of, kind, "vpt", cut_backbone(tmp_path_factory.mktemp("backbone")))


def test_configurations_side_by_side_end_where_they_end_alone(grid, monkeypatch):
    """Prompt dropout, decay and the last, smaller batch among it; a stack of three, and one of two and a rest."""
    found = {}
    for many in (1, 3, 2):
        monkeypatch.setattr(racing_grids, "STACK", many)
        found[many] = list(grid.rows())
    assert [(row["config"], row["epochs"]) for row in found[1]] == [(c, e) for e in (1, 4) for c in range(3)]
    losses = [row.pop("val_loss") for row in found[1]]
    assert len(set(np.round(losses, 3))) == 6
    for many in (3, 2):
        assert [row.pop("val_loss") for row in found[many]] == pytest.approx(losses, rel=1e-4)
        assert found[many] == found[1]


def test_a_grid_like_the_study_takes_its_steps(grid):
    """As many configurations, epochs, steps an epoch, and as large a step, on an eighth of the images."""
    kind, study = like_the_study(), yaml.safe_load(STUDY.read_text())
    assert (kind.epochs, kind.protocol, kind.parts["val"]) == (100, "paper", 200)
    for method, configurations in {"vpt": 40, "full": 16}.items():
        own, small = study["methods"][method], kind.methods[method]
        steps = -(-800 // own["batch"])
        assert -(-kind.parts["train"] // small["batch"]) == steps
        of = replace(grid, kind=kind, method=method).job
        assert of["racing"]["epochs"] == 25
        assert len(of["grid"]["lr"]) * len(of["grid"]["weight_decay"]) == configurations
        assert [lr * small["batch"] for lr in sorted(small["grid"]["lr"])] == pytest.approx(
            [lr * own["batch"] for lr in sorted(own["grid"]["lr"])]
        )
