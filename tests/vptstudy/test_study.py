"""Configs: the shipped ones resolve to the right cells; every mistake ends in one line that names the key."""

import copy
import json
from pathlib import Path

import pytest
import yaml

from vptcore.choices import ConfigError
from vptcore.training.recipe import recipes_of
from vptstudy import slices
from vptstudy.config.resolve import load_study
from vptstudy.study import Cell

# Without the anchors of YAML, which would make one change a change of several methods.
PAPER = json.loads(json.dumps(yaml.safe_load(Path("config.yaml").read_text())))
DEMO = yaml.safe_load(Path("profiles/demo/study.yaml").read_text())


def changed(config, path, value):
    """A copy of `config` with the dotted `path` set; None removes it."""
    config = copy.deepcopy(config)
    *parents, last = path.split(".")
    place = config
    for key in parents:
        place = place[key]
    if value is None:
        del place[last]
    else:
        place[last] = value
    return config


def test_the_papers_cells():
    study = load_study(PAPER)
    vtab = [
        t
        for t, row in study.tasks.items()
        if (row.group != "fgvc" and row.pool > 2500) or t.startswith("oxford_flowers102")
    ]
    count = {
        name: len(study.select(method=name, train="800", backbone="vit_b16_sup21k")) for name in study.used("method")
    }
    assert count == {"full": 19, "vpt": 19, "mixed": 19, "ft_then_pt": 19, "linear": 19, "mlp": 19, "lora": 1}
    assert len(vtab) >= 19
    assert len(study.select(method="vpt", train="one_shot")) == 19
    assert len(study.select(method="vpt", train="20000")) == 9
    assert len(study.select(method="vpt", train="train")) == 5
    assert len(study.select(backbone="swin_b_sup21k", method="full")) == 19
    assert ("oxford_flowers102", "5000") in study.left_out
    assert len(study.cells) == len(study.cell_set)


def test_the_papers_grids_and_seeds():
    study = load_study(PAPER)
    vpt = recipes_of(slices.search(study, Cell("vit_b16_sup21k", "vpt", "svhn", "800")))
    full = recipes_of(slices.search(study, Cell("vit_b16_sup21k", "full", "svhn", "800")))
    assert (len(vpt), len(full)) == (40, 16)
    assert vpt[0].lr == 0.05
    assert (vpt[0].warmup, vpt[0].epochs, vpt[0].batch) == (10, 100, 64)
    assert {r.optimizer for r in full} == {"adamw"}
    assert study.seeds == (42, 44, 82, 100, 800)
    assert study.prompt_length(Cell("vit_b16_sup21k", "vpt", "svhn", "800")) == 50


def test_the_authors_grid_has_eight_distinct_settings():
    study = load_study(changed(PAPER, "protocol", "authors"))
    full = recipes_of(slices.search(study, Cell("vit_b16_sup21k", "full", "svhn", "800")))
    assert len(full) == 8
    assert {(r.optimizer, r.weight_decay) for r in full} == {("adamw", 0.01), ("sgd", 0.0)}
    assert full[0].warmup == 5


def test_other_sizes_reuse_the_base_recipe_unless_regridded():
    cell = Cell("vit_b16_sup21k", "vpt", "svhn", "5000")
    assert load_study(PAPER).searched_by(cell).train == "800"
    assert load_study(changed(PAPER, "regrid", True)).searched_by(cell) == cell
    shot = Cell("vit_b16_sup21k", "vpt", "svhn", "one_shot")
    assert load_study(PAPER).searched_by(shot) == shot


def test_a_slice_moves_only_when_its_job_does():
    demo, cell = load_study(DEMO), Cell("vit_mini_cifar10", "vpt", "digits", "160")
    other = load_study(changed(DEMO, "methods.full.batch", 16))
    assert slices.search(demo, cell) == slices.search(other, cell)
    assert slices.final(demo, cell) != slices.final(load_study(changed(DEMO, "epochs", 11)), cell)
    assert slices.search(demo, cell) == slices.search(load_study(changed(DEMO, "curves.seeds", 2)), cell)


MISTAKES = {
    "study": ("De mo", "study: .* is not a name of lower-case letters"),
    "protocol": ("papr", "protocol: 'papr' is unknown; did you mean 'paper'"),
    "epochs": (-1, "epochs: -1 is too small; expected at least 1"),
    "epoch": (10, "epoch: 'epoch' is not a key here; did you mean 'epochs'"),
    "seeds": ([1, 1], r"seeds: \[1, 1\] names something twice"),
    "seeds.0": (None, None),
    "methods.vpt.grid.lr": (0.1, r"methods.vpt.grid.lr: 0.1 is not a list; write \[0.1\]"),
    "methods.vpt.grid.weight_decay": ([], "methods.vpt.grid.weight_decay: is empty; expected at least 1"),
    "methods.vpt.grid.lr.0": (None, None),
    "methods.vpt.batch": (0, "methods.vpt.batch: 0 is too small; expected at least 1"),
    "methods.vtp": ({}, "methods.vtp: 'vtp' is not a key here; did you mean 'vpt'"),
    "experiments.sizes.tasks": (["cifar"], "experiments.sizes.tasks: 'cifar' is unknown; did you mean"),
    "experiments.sizes.methods": (
        ["vpt", "prompt"],
        r"experiments.sizes.methods: 'prompt' is unknown; choices: full, vpt",
    ),
    "experiments.sizes.backbones": (["vit"], "experiments.sizes.backbones: 'vit' is unknown"),
    "experiments.sizes.train": ([-400], "experiments.sizes.train.* -400 is not a number of training images from 4 on"),
    "experiments.strategies.methods": (["vpt", "ft_then_pt"], "ft_then_pt on .* starts from full; add full"),
    "base_train": (400, "reuses the recipe of train 400, which is not in the study; add 400"),
    "prompts.lengths": ("long", "prompts.lengths: 'long' is unknown"),
    "prompts.sets": ({"demo": {}, "deep_lengths": {}}, "the key 'default' is missing"),
    "explain.tasks": (["cat"], "explain.tasks: 'cat' is unknown"),
    "report.main_backbone": ("vit", "report.main_backbone: 'vit' is unknown"),
    "backbones": ({"mine": {"width": 3}}, "backbones.mine: a backbone of your own needs timm"),
    "tasks": ({"mine": {"group": "natural"}}, "tasks.mine: a task of your own needs source as well"),
    "switches": ({"head_biass": 1}, "switches: 'head_biass' is unknown; did you mean 'head_bias'"),
    "device": ("tpu", "device: 'tpu' is unknown; did you mean 'cpu'. Choices: auto, cpu, cuda"),
}


def test_a_required_key_with_a_typo_is_the_mistake():
    config = {"stduy" if key == "study" else key: value for key, value in DEMO.items()}
    with pytest.raises(ConfigError, match=r"^stduy: 'stduy' is not a key here; did you mean 'study'\?"):
        load_study(config)


@pytest.mark.parametrize("key", [k for k, (_, message) in MISTAKES.items() if message])
def test_mistakes_end_in_one_line(key):
    value, message = MISTAKES[key]
    config = PAPER if key not in ("epochs",) else DEMO
    with pytest.raises(ConfigError, match=message) as mistake:
        load_study(changed(config, key, value))
    assert "\n" not in str(mistake.value)


def test_a_task_and_a_backbone_of_ones_own():
    config = copy.deepcopy(DEMO)
    config["tasks"] = {"leaves": {"source": "folder", "path": "leaves", "group": "natural", "classes": 3}}
    config["backbones"] = {"my_vit": {"timm": "vit_small_patch16_224", "width": 384, "size": 224}}
    config["experiments"] = {
        "mine": {"tasks": ["leaves"], "backbones": ["my_vit"], "methods": ["full", "vpt"], "train": [160]}
    }
    config |= {"report": {}, "base_train": 160}
    study = load_study(config)
    assert slices.prepare(study, "leaves", study.input_size("leaves"))["path"] == "leaves"
    assert study.input_size("leaves") == 224


def test_vtabs_resize_is_the_protocols():
    """TensorFlow 1's under `authors` and `paper`; a config's word for a task, or for all, goes before it."""
    for name, resize in (("paper", "tf1"), ("authors", "tf1"), ("sound", "bilinear")):
        study = load_study(changed(PAPER, "protocol", name))
        cell = Cell("vit_b16_sup21k", "vpt", "cifar100", "800")
        assert slices.prepare(study, "cifar100", 224)["resize"] == slices.search(study, cell)["resize"] == resize
        assert study.resize_of("cub200") == "256_crop"
    assert load_study(changed(PAPER, "resize", "antialias")).resize_of("cifar100") == "antialias"
    assert load_study(changed(PAPER, "switches", {"vtab_resize": "bilinear"})).resize_of("cifar100") == "bilinear"
    assert load_study(changed(DEMO, "protocol", "authors")).resize_of("digits") == "bilinear", "VTAB's alone"


def test_the_distance_sees_the_crop_that_the_methods_are_scored_on():
    study = load_study(PAPER)
    assert slices.features(study, "cub200")["crop"] == 224
    assert "crop" not in slices.features(study, "cifar100")


def test_batches_that_the_authors_yaml_files_give():
    """base-linear.yaml has 1,024 and base-prompt_swin.yaml 80; the config's are 64."""
    cells = {
        "linear": Cell("vit_b16_sup21k", "linear", "cifar100", "800"),
        "swin": Cell("swin_b_sup21k", "vpt", "cifar100", "800"),
        "vit": Cell("vit_b16_sup21k", "vpt", "cifar100", "800"),
    }
    for name, linear, swin in (("paper", 64, 80), ("authors", 1024, 80), ("sound", 64, 64)):
        study = load_study(changed(PAPER, "protocol", name))
        found = {key: slices.search(study, cell)["recipe"]["batch"] for key, cell in cells.items()}
        assert found == {"linear": linear, "swin": swin, "vit": 64}


def test_the_authors_search_every_size():
    cell = Cell("vit_b16_sup21k", "vpt", "svhn", "5000")
    assert load_study(PAPER).searched_by(cell).train == "800"
    assert load_study(changed(PAPER, "protocol", "authors")).searched_by(cell) == cell


def test_lora_has_the_settings_of_the_papers_93():
    """bfshi/TOAST: loralib's rank 4 and alpha 1, SGD, batch 32, learning rates 1 to 0.01 x batch / 256."""
    slice_ = slices.search(load_study(PAPER), Cell("vit_b16_sup21k", "lora", "cifar100", "800"))
    recipes = recipes_of(slice_)
    assert {recipe.optimizer for recipe in recipes} == {"sgd"}
    assert sorted({recipe.scaled_lr for recipe in recipes}) == [lr / 8 for lr in (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1)]
    assert slice_["settings"]["lora"] == {"rank": 4, "alpha": 1, "targets": ["qkv"]}
