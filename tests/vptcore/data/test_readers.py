"""Every reader by its row: it says what it reads, opens a tiny set of it, counts it, and says what is missing."""

from __future__ import annotations

import sys
import types

import numpy as np
import pytest

from tests.vptcore.data.archive_layouts import make_svhn
from tests.vptcore.data.layouts import make_folder, make_parquet, make_vtab1k, make_wds
from tests.vptcore.data.test_hf import shard
from vptcore.data.item import Request, load
from vptcore.data.sources import READERS, is_there, locate, look, open_source
from vptcore.data.tasks import EMBEDDED, TASKS

PNG = {"a": 3, "b": 2}
FOLDERS = {"train/a": 3, "train/b": 2, "test/a": 1, "test/b": 1}


def csv(root):
    make_folder(root, PNG)
    names = [f"{kind}/{i}.png,{kind}" for kind, count in PNG.items() for i in range(count)]
    (root / "mine.csv").write_text("\n".join(["path,label", *names]))
    return root / "mine.csv"


def parquet(root):
    root.mkdir()
    return make_parquet(root / "mine.parquet", {"image": [b"x"] * 5, "label": [0, 1, 0, 1, 0]})


def hf(root):
    shard(root / "train.parquet", range(4))
    shard(root / "test.parquet", range(4, 7))
    return root


def fgvc(root):
    make_folder(root, FOLDERS)
    return root


def svhn(root):
    make_svhn(root, {"train": 10, "test": 10})
    return root


# reader: task, classes, what makes a tiny set, its images
TINY = {
    "csv": ("mine", 2, csv, 5),
    "parquet": ("mine", 2, parquet, 5),
    "folder": ("mine", 2, lambda root: make_folder(root, FOLDERS), 7),
    "hf": ("mine", 3, hf, 7),
    "vtab1k": ("mine", 3, lambda root: make_vtab1k(root, {"train800": 4, "val200": 2, "test": 3}), 9),
    "wds": ("mine", 3, lambda root: make_wds(root, {"train": [0, 1, 2, 0, 1], "test": [2, 1]}), 7),
    "fgvc": ("mine", 2, fgvc, 7),
    # 10 % of train is val and is read too
    "original": ("svhn", 10, svhn, 20),
}
SHIPPED = {task.source: task for task in EMBEDDED}


def test_every_reader_is_tried_here():
    assert set(TINY) | set(SHIPPED) | {"tfds"} == set(READERS)


@pytest.mark.parametrize("reader", READERS.values(), ids=READERS)
def test_a_row_says_what_it_reads(reader):
    assert len(reader.layout.split()) >= 3
    assert READERS[reader.name] is reader
    assert bool(reader.look) == reader.own


@pytest.mark.parametrize("name", TINY)
def test_it_opens_its_own_layout_and_counts_it(tmp_path, name):
    task, classes, make, images = TINY[name]
    request = Request(task, classes, make(tmp_path / "set"))
    assert is_there(name, request)
    assert locate(name, request) == request.path
    items = list(open_source(name, request).items)
    assert len(items) == images
    assert {item.label for item in items} <= set(range(classes))
    assert all(isinstance(load(item.image), bytes | np.ndarray) for item in items)
    assert READERS[name].count(request) in (images, None)
    assert (READERS[name].count(request) is None) == (name == "original")


@pytest.mark.parametrize("name", [row.name for row in READERS.values() if row.look])
def test_what_looks_agrees_with_what_opens(tmp_path, name):
    task, classes, make, _ = TINY[name]
    path = make(tmp_path / "set")
    listing, source = look(name, path), open_source(name, Request(task, classes, path))
    items = list(source.items)
    assert (listing.classes, listing.problems) == (source.class_names, ())
    assert listing.total == len(items)
    for number, kind in enumerate(listing.classes):
        assert listing.of_class(kind) == sum(item.label == number for item in items)


@pytest.mark.parametrize("name", [*TINY, "tfds"])
def test_what_is_missing_is_one_line_with_the_layout(tmp_path, monkeypatch, name):
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", types.ModuleType("tensorflow_datasets"))
    task, classes = ("svhn", 10) if name in ("original", "tfds") else ("mine", 2)
    request = Request(task, classes, tmp_path / "nowhere")
    assert not is_there(name, request)
    for ask in (locate, lambda *a: list(open_source(*a).items)):
        with pytest.raises(ValueError, match=task) as error:
            ask(name, request)
        assert "\n" not in str(error.value)
        assert str(tmp_path / "nowhere") in str(error.value)
    with pytest.raises(ValueError, match=task) as error:
        locate(name, request)
    assert name == "original" or READERS[name].layout in str(error.value)


@pytest.mark.parametrize("task", SHIPPED.values(), ids=SHIPPED)
def test_what_ships_is_counted(task):
    reader, request = READERS[task.source], Request(task.id, task.classes)
    assert reader.ships
    assert reader.count(request) == len(list(reader.open(request).items)) == task.pool + task.test


def test_a_disk_that_fails_has_no_images(tmp_path, monkeypatch):
    def failing(*_, **__):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("os.scandir", failing)
    monkeypatch.setattr("os.walk", failing)
    assert not is_there("folder", Request("mine", 2, tmp_path))


def test_every_task_names_a_reader():
    assert {task.source for task in TASKS.values()} <= set(READERS)
