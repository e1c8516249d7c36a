"""The keys of a task in the schema, held to what reads them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from tests.vptcore.data.layouts import make_folder
from vptcore.choices import ConfigError
from vptcore.data.decode import RESIZES
from vptcore.data.sources import READERS
from vptstudy import slices
from vptstudy.config.resolve import load_study
from vptstudy.config.schema import SCHEMA

KEYS = json.loads(SCHEMA.read_text())["properties"]["tasks"]["additionalProperties"]["properties"]


def test_a_config_may_name_every_reader():
    assert set(KEYS["source"]["enum"]) == set(READERS)


def test_a_config_may_name_every_resize():
    assert set(KEYS["resize"]["enum"]) == set(RESIZES)


def test_bad_images_are_skipped_where_a_task_says_so(tmp_path):
    make_folder(tmp_path, {"ash": 2, "elm": 2})
    made = {}
    for choice in ({}, {"on_bad_image": "stop"}, {"on_bad_image": "skip"}):
        task = {"leaves": {"source": "folder", "path": str(tmp_path)} | choice}
        demo = yaml.safe_load(Path("profiles/demo/study.yaml").read_text()) | {"tasks": task}
        made[choice.get("on_bad_image")] = slices.prepare(load_study(demo), "leaves", 32)
    assert made[None] == made["stop"]
    assert made["skip"] == made["stop"] | {"on_bad_image": "skip"}


def test_a_counted_task_knows_its_sizes_and_says_what_is_too_large(tmp_path):
    make_folder(tmp_path, {"ash": 60, "elm": 40})
    config = {
        "study": "mine", "tasks": {"leaves": {"source": "folder", "path": str(tmp_path)}},
        "experiments": {"mine": {"backbones": ["vit_b16_sup21k"], "methods": ["linear"], "tasks": ["leaves"]}},
    }  # fmt: skip
    config["experiments"]["mine"]["train"] = [64, 800]
    study = load_study(config)
    # a fifth of each class is test: 12 and 8; of the other 80, 64 train and 16 validate
    assert (study.tasks["leaves"].pool, study.tasks["leaves"].test) == (80, 20)
    assert {cell.train for cell in study.cells} == {"64"}
    assert study.left_out == (("leaves", "800"),)
    again = load_study(study.config)
    assert again.tasks["leaves"] == study.tasks["leaves"]
    config["experiments"]["mine"]["train"] = [800]
    with pytest.raises(ConfigError, match=r"leaves has 80 images to train and validate on, and train 800 needs 1,000"):
        load_study(config)


def test_a_task_may_have_grids_of_its_own(tmp_path):
    """What it does not say is its method's; others keep theirs."""
    make_folder(tmp_path, {"ash": 60, "elm": 40})
    task = {"source": "folder", "path": str(tmp_path), "grids": {"linear": {"lr": [3.0]}}}
    config = {
        "study": "mine", "tasks": {"leaves": task, "other": {"source": "folder", "path": str(tmp_path)}},
        "experiments": {"mine": {"backbones": ["vit_b16_sup21k"], "methods": ["linear", "full"],
                                 "tasks": ["leaves", "other"], "train": [64]}},
    }  # fmt: skip
    study = load_study(config)
    grids = {(cell.task, cell.method): slices.search(study, cell)["grid"] for cell in study.searches}
    assert grids["leaves", "linear"] == grids["other", "linear"] | {"lr": [3.0]}
    assert grids["leaves", "full"] == grids["other", "full"]
    task["grids"] = {"vtp": {"lr": [1.0]}}
    with pytest.raises(ConfigError, match=r"tasks\.leaves\.grids: 'vtp' is unknown; did you mean 'vpt'"):
        load_study(config)
