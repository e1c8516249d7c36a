"""The keys of a task in the schema, held to what reads them."""

from __future__ import annotations

import json
from pathlib import Path

import yaml

from tests.vptcore.data.layouts import make_folder
from vptcore.data.decode import RESIZES
from vptcore.data.sources import READERS
from vptstudy.config.resolve import load_study
from vptstudy.config.schema import SCHEMA

KEYS = json.loads(SCHEMA.read_text())["properties"]["tasks"]["additionalProperties"]["properties"]


def test_a_config_may_name_every_reader():
    assert set(KEYS["source"]["enum"]) == set(READERS)


def test_a_config_may_name_every_resize():
    assert set(KEYS["resize"]["enum"]) == set(RESIZES)


def test_bad_images_are_skipped_where_a_task_says_so(tmp_path):
    make_folder(tmp_path, {"ash": 2, "elm": 2})
    slices = {}
    for choice in ({}, {"on_bad_image": "stop"}, {"on_bad_image": "skip"}):
        task = {"leaves": {"source": "folder", "path": str(tmp_path)} | choice}
        demo = yaml.safe_load(Path("profiles/demo/study.yaml").read_text()) | {"tasks": task}
        slices[choice.get("on_bad_image")] = load_study(demo).prepare_slice("leaves", 32)
    assert slices[None] == slices["stop"]
    assert slices["skip"] == slices["stop"] | {"on_bad_image": "skip"}
