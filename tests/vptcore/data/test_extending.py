"""docs/extending.md on tasks and sources: the examples in it are run as they stand there."""

from __future__ import annotations

import re
import textwrap
import types
from pathlib import Path

import numpy as np
import pytest
import yaml

from tests.vptcore.data.layouts import make_folder, noise
from vptcore import records
from vptcore.data import sources
from vptcore.data.arrays import prepare
from vptcore.data.item import Request

PAGE = (Path(__file__).parents[3] / "docs/extending.md").read_text()


def example(heading: str, language: str) -> str:
    section = PAGE.split(f"\n## {heading}")[1].split("\n## ")[0]
    (block,) = re.findall(rf"^( *)```{language}\n(.*?)^\1```", section, re.S | re.M)
    return textwrap.dedent(block[1])


@pytest.fixture
def npz(monkeypatch):
    """The page's reader as a module, its row among the others."""
    module = types.ModuleType("npz")
    exec(compile(example("A source", "python"), "docs/extending.md", "exec"), module.__dict__)
    monkeypatch.setitem(sources.READERS, module.READER.name, module.READER)
    return module.READER


def test_the_pages_reader_opens_counts_and_says_what_is_missing(npz, tmp_path):
    images = np.stack([noise(i) for i in range(20)])
    np.savez(tmp_path / "mine.npz", images=images, labels=np.arange(20) % 2)
    request = Request("mine", 2, tmp_path / "mine.npz")
    items = list(sources.open_source("npz", request).items)
    assert [item.label for item in items] == [0, 1] * 10
    assert sum(item.split == "test" for item in items) == 4
    assert npz.count(request) == 20
    with pytest.raises(ValueError, match=f"put there {npz.layout}"):
        sources.locate("npz", Request("mine", 2, tmp_path / "none.npz"))
    job = {
        "task": "mine",
        "source": "npz",
        "path": str(request.path),
        "classes": 2,
        "size": 16,
        "max_pool": 99,
        "seed": 0,
    }
    line = prepare(job, tmp_path / "images.npy", tmp_path / "rows.parquet")
    assert line.startswith("20 images, 2 classes, 12x12x3 kept native")
    (drawn,) = records.read_provenance(tmp_path / "rows.parquet")["substitutes"]
    assert "drawn by the images' names: mine.npz names no test split" in drawn
    assert np.array_equal(np.load(tmp_path / "images.npy"), images)
    assert len(records.read_rows(tmp_path / "rows.parquet", "index")) == 20


def test_the_pages_steps_name_files_that_are_there():
    root = Path(__file__).parents[3]
    section = PAGE.split("\n## A source")[1].split("\n## ")[0]
    for path in re.findall(r"`((?:src|tests)/[^`]*)`", section):
        assert "NAME" in path or (root / path).is_file(), path


def test_the_pages_task_is_a_config(tmp_path):
    from vptstudy.config.resolve import load_study

    config = yaml.safe_load(example("A task", "yaml"))
    config["tasks"]["leaves"]["path"] = str(make_folder(tmp_path, {"ash": 3, "elm": 3, "oak": 3}))
    study = load_study(config)
    assert study.tasks["leaves"].classes == 3
    assert {cell.method for cell in study.cells} == {"full", "vpt"}
