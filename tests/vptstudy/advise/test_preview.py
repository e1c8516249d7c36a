"""What an advice would run: jobs counted by hand, nothing written, and a cluster's GPUs in place of this machine."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from vptstudy.advise import climb, preview
from vptstudy.advise.backbone import ON_GPU, choose
from vptstudy.advise.floor import assumed_seconds
from vptstudy.advise.look import look
from vptstudy.advise.rungs import Budget, Setting, probe
from vptstudy.cli import main
from vptstudy.config.resolve import load_study
from vptstudy.plan.devices import DEVICES
from vptstudy.run.launch import find_profile, is_cluster

ROOT = Path(__file__).parents[3]


@pytest.fixture
def here(tmp_path, monkeypatch) -> Path:
    """A folder of photographs, where a clone's profiles are."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "profiles").symlink_to(ROOT / "profiles")
    for name, count in {"cat": 30, "dog": 16}.items():
        (tmp_path / "pets" / name).mkdir(parents=True)
        for number in range(count):
            Image.new("RGB", (8, 8), (number, 0, 0)).save(tmp_path / "pets" / name / f"{number}.png")
    return tmp_path


def setting(folder: Path) -> Setting:
    return Setting(look(folder), "results", "vit_b16_sup21k")


def test_five_folds_counted_by_hand(here):
    """Four arms: VPT of two lengths, LoRA, full. Each is tried twice in each of 5 folds, three methods go on, and two
    of them with the probe, whose grid is narrower then, to the end."""
    said = list(preview.lines(setting(here / "pets")))
    assert said[:4] == [
        "[1/5] look: 1 prepare",
        "[2/5] first answer: 5 split, 5 search",
        "[3/5] rates: 40 search, and up to 20 more search beyond an end of the grid",
        "[4/5] methods: 20 search",
    ]
    assert said[4].startswith("[5/5] answer: 5 search, 15 final, ")
    assert "  prepare: " in said[-1]
    assert ["a GPU" in line for line in said[-3:]] == [True, True, False]


def test_a_folder_with_a_test_of_its_own_is_tested_once(here):
    (here / "whole").mkdir()
    for part in ("train", "test"):
        (here / "whole" / part).symlink_to(here / "pets")
    said = list(preview.lines(setting(here / "whole")))
    assert said[1:4] == [
        "[2/5] first answer: 1 split, 1 search",
        "[3/5] rates: 8 search, and up to 4 more search beyond an end of the grid",
        "[4/5] methods: 4 search",
    ]
    assert said[4].startswith("[5/5] answer: 1 search, 3 final, ")
    shared = list(preview.lines(setting(here / "whole"), True))
    assert shared[4].startswith("[5/5] answer: 1 search, 10 final_shard, 2 final_merge, 1 final, ")


def test_a_dry_run_writes_nothing(here, capsys):
    before = sorted(here.rglob("*"))
    assert main.main(["advise", "pets", "--profile", "slurm", "--dry-run"]) == 0
    said = capsys.readouterr().out
    assert "46 images in 2 classes" in said
    assert "[5/5] answer" in said
    assert sorted(here.rglob("*")) == before


def test_it_works_in_any_folder(here, monkeypatch, capsys):
    """The results are below the folder where it was called."""
    (here / "profiles").unlink()
    asked = {}
    monkeypatch.setattr(climb, "advise", lambda look, minutes, setting, *_: asked.update(vars(setting)) or 0)
    assert main.main(["advise", "pets"]) == 0
    assert asked["results"] == str(here / "results")
    assert asked["look"].path == str(here / "pets")
    assert asked["look"].listing.total == 46


def test_a_cluster_has_the_gpus_that_this_machine_lacks(here, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert {name: is_cluster(find_profile(name)) for name in ("demo", "gpu", "slurm")} == {
        "demo": False, "gpu": False, "slurm": True,
    }  # fmt: skip
    name, _, why = choose("", "", "slurm")
    assert (name, why.on_gpu) == (ON_GPU, True)
    assert "profile slurm" in why.sentence
    assert not choose("", "")[2].on_gpu


def test_a_clusters_pace_is_that_of_the_plans_card(here):
    """ViT-B/16: 17.6 billion multiply-adds forward (Dosovitskiy et al., 2021), three times that for a step."""
    study = load_study(probe(setting(here / "pets"), Budget(4, 8, "train")))
    card = DEVICES[study.config["plan"]["device"]]
    flops = 3 * 2 * 17.6e9
    assert assumed_seconds(study, study.cells[0]) == pytest.approx(flops / (card.peak * card.train), rel=0.1)
    slower = replace(study, config=study.config | {"plan": {"device": "cpu"}})
    assert assumed_seconds(slower, study.cells[0]) > 10 * assumed_seconds(study, study.cells[0])
