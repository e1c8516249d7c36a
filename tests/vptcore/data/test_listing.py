"""A folder of images as people have it, listed without decoding: splits, classes, counts, left out, problems."""

from __future__ import annotations

import os
import re

import pytest

from tests.vptcore.data.layouts import make_folder
from vptcore.data.item import Request
from vptcore.data.listing import FOREIGN, LOOSE, list_folder
from vptcore.data.readers.own import sizes
from vptcore.data.remedies import left_out_line, stop_for
from vptcore.data.sources import open_source
from vptcore.data.walk import tree


def put(root, *names: str):
    """Empty files: nothing is opened, so nothing need be in them."""
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    return root


def folders(root, *names: str):
    for name in names:
        (root / name).mkdir(parents=True)
    return root


PLAIN = ("cat/1.png", "cat/2.JPG", "dog/1.jfif", "dog/2.avif", "dog/3.jp2", "dog/4.jpe")


def test_class_folders_alone(tmp_path):
    found = list_folder(put(tmp_path, *PLAIN))
    assert (found.splits, found.classes, found.problems, found.remarks) == ((), ("cat", "dog"), (), ())
    assert found.counts == {"all": {"cat": 2, "dog": 4}}
    assert [image.name for image in found.images] == sorted(PLAIN)
    assert (found.total, found.of_class("dog"), found.in_split("all")) == (6, 4, 6)


@pytest.mark.parametrize(
    ("train", "val", "test"),
    [
        ("train", "val", "test"),
        ("Train", "Validation", "Test"),
        ("Training", "dev", "Testing"),
        ("TRAIN", "valid", "test"),
    ],
)
def test_splits_are_called_many_things(tmp_path, train, val, test):
    names = [f"{split}/{kind}/{i}.png" for split in (test, val, train) for kind in ("b", "a") for i in range(2)]
    found = list_folder(put(tmp_path, *names))
    assert found.splits == ("train", "val", "test")
    assert found.counts == {split: {"a": 2, "b": 2} for split in found.splits}
    assert found.problems == found.remarks == ()


def test_splits_below_the_classes(tmp_path):
    names = [f"{kind}/{split}/{i}.png" for kind in ("a", "b") for split in ("train", "test") for i in range(2)]
    found = list_folder(put(tmp_path, *names))
    assert (found.splits, found.classes) == (("train", "test"), ("a", "b"))


def test_a_class_may_be_called_train(tmp_path):
    found = list_folder(put(tmp_path, "train/1.png", "train/2.png", "bus/1.png", "bus/2.png"))
    assert (found.splits, found.classes) == ((), ("bus", "train"))


def test_images_beside_the_splits_are_left_out(tmp_path):
    found = list_folder(
        put(tmp_path, "train/a/1.png", "train/b/1.png", "test/a/1.png", "test/b/1.png", "extra/x/1.png")
    )
    assert found.splits == ("train", "test")
    assert found.left_out == {FOREIGN: ["extra/x/1.png"]}


@pytest.mark.parametrize("deeper", ["leaves", "leaves/leaves", "train"])
def test_a_set_unpacked_deeper_is_found_there(tmp_path, deeper):
    found = list_folder(put(tmp_path, f"{deeper}/cat/1.png", f"{deeper}/cat/2.png", f"{deeper}/dog/1.png",
                            f"{deeper}/dog/2.png", "README.md"))  # fmt: skip
    assert (found.splits, found.classes, found.counts["all"]) == ((), ("cat", "dog"), {"cat": 2, "dog": 2})
    assert found.remarks == (f"read from {deeper}, the one folder with images in it",)
    assert found.left_out == {".md": ["README.md"]}


def test_folders_below_a_class_belong_to_it(tmp_path):
    found = list_folder(put(tmp_path, "cat/2019/may/1.png", "cat/2.png", "dog/x/1.png", "dog/y/1.png"))
    assert found.counts["all"] == {"cat": 2, "dog": 2}


def test_litter_is_neither_used_nor_counted(tmp_path):
    litter = (
        "__MACOSX/cat/._1.png",
        "cat/@eaDir/1.png",
        "lost+found/1.png",
        "cat/.hidden.png",
        "cat/Thumbs.db",
        ".DS_Store",
    )
    found = list_folder(put(tmp_path, *PLAIN, *litter))
    assert (found.classes, found.left_out, found.problems) == (("cat", "dog"), {}, ())


def test_what_is_left_out_is_counted_and_named(tmp_path, monkeypatch):
    monkeypatch.setattr("vptcore.data.listing.can_heic", lambda: False)
    found = list_folder(
        put(tmp_path, *PLAIN, "cat/1.heic", "cat/2.HEIC", "cat/3.heic", "dog/4.heic", "a.txt", "loose.png")
    )
    assert found.left_out == {
        ".heic": ["cat/1.heic", "cat/2.HEIC", "cat/3.heic", "dog/4.heic"], ".txt": ["a.txt"], LOOSE: ["loose.png"],
    }  # fmt: skip
    assert left_out_line(found.left_out) == (
        "6 files left out: 4 .heic (cat/1.heic, cat/2.HEIC, cat/3.heic, ...; pip install pillow-heif), 1 .txt (a.txt), "
        "1 images outside class folders (loose.png)"
    )
    assert left_out_line({}) == ""


def test_heic_is_read_where_its_package_is_there(tmp_path, monkeypatch):
    monkeypatch.setattr("vptcore.data.listing.can_heic", lambda: True)
    assert list_folder(put(tmp_path, *PLAIN, "cat/1.heic")).of_class("cat") == 3


FLAT = (
    "2 images and no class folders, so they have no labels; move the images of each class into a folder of its name, "
    "or list them in a csv (source: csv)"
)
UNLABELLED = (
    "test has 2 images and no class folders, so they have no labels; sort them into class folders, or move test away: "
    "a fifth of each class's train images is drawn for test"
)
EMPTY = "class folder {} has no image{}; add images or remove the folder"
ONE_NAME = "classes 'Cat' and 'cat' differ in case or blanks alone; give them one name or two"
# What is wrong: files, empty folders, the one line.
PROBLEMS = {
    "empty class": (PLAIN, ("owl",), EMPTY.format("owl", "")),
    "annotations": ((*PLAIN, "notes/1.xml"), (), EMPTY.format("notes", " (it has 1 .xml)")),
    "empty in train": (("train/a/1.png", "train/b/1.png", "test/c/1.png"), ("train/c",), EMPTY.format("train/c", "")),
    "flat": (("1.png", "2.png"), (), FLAT),
    "flat splits": (("train/1.png", "test/2.png"), (), FLAT),
    "unlabelled test": (("train/a/1.png", "train/b/1.png", "test/1.png", "test/2.png"), (), UNLABELLED),
    "one class": (("a/1.png", "a/2.png"), (), "one class alone (a); expected at least two"),
    "one name": (("train/Cat/1.png", "train/dog/1.png", "test/cat/1.png", "test/dog/1.png"), (), ONE_NAME),
    "no train": (
        ("val/a/1.png", "val/b/1.png", "test/a/1.png", "test/b/1.png"),
        (),
        "no train images; found val, test",
    ),
    "nothing": ((), (), "no images in it"),
}


@pytest.mark.parametrize("case", PROBLEMS)
def test_each_problem_is_one_line_with_the_remedy(tmp_path, case):
    names, empty, expected = PROBLEMS[case]
    found = list_folder(folders(put(tmp_path, *names), *empty))
    assert found.problems == (expected,)
    with pytest.raises(ValueError, match=f"^{re.escape(f'{tmp_path}: {expected}')}$"):
        stop_for(found)


def test_an_empty_class_of_test_alone_is_no_problem(tmp_path):
    found = list_folder(folders(put(tmp_path, "train/a/1.png", "train/b/1.png", "test/a/1.png"), "test/b"))
    assert found.problems == ()


def test_names_that_are_not_utf8_are_named(tmp_path):
    put(tmp_path, *PLAIN)
    (tmp_path / os.fsdecode(b"cat/caf\xe9.png")).write_bytes(b"")
    (problem,) = list_folder(tmp_path).problems
    assert problem.startswith("1 file name not in UTF-8 (as Latin-1: cat/café.png)")


@pytest.mark.parametrize("name", ["cat/a\nb.png", "c\tat/1.png", "cat/\u2028.png"])
def test_names_that_would_not_stay_on_their_line_are_named(tmp_path, name):
    (problem, *_) = list_folder(put(tmp_path, *PLAIN, name)).problems
    assert "line breaks or other control characters in " in problem
    assert problem.isprintable()
    assert problem.endswith("rename them")


def test_remarks_on_few_images(tmp_path):
    (remark,) = list_folder(put(tmp_path, *PLAIN, "owl/1.png")).remarks
    assert remark == "1 class of one image (owl) that is trained on, never tested; add images"


def test_train_and_val_alone_are_told_of_their_test(tmp_path):
    found = list_folder(put(tmp_path, *(f"{s}/{k}/{i}.png" for s in ("train", "val") for k in "ab" for i in "12")))
    (remark,) = found.remarks
    assert remark.startswith("no test split: a fifth of each class's train images is drawn for test")


def test_a_dead_link_is_an_image_that_is_named(tmp_path):
    put(tmp_path, *PLAIN)
    (tmp_path / "cat/9.png").symlink_to(tmp_path / "gone.png")
    found = list_folder(tmp_path)
    assert found.dead == ("cat/9.png",)
    assert (found.of_class("cat"), found.problems) == (3, ())


def test_links_to_folders_are_followed_but_not_in_circles(tmp_path):
    put(tmp_path / "there", "1.png", "2.png")
    put(tmp_path / "set", "dog/1.png", "dog/2.png")
    (tmp_path / "set/cat").symlink_to(tmp_path / "there")
    (tmp_path / "set/dog/round").symlink_to(tmp_path / "set")
    (tmp_path / "set/loop").symlink_to(tmp_path / "set/loop")
    assert list_folder(tmp_path / "set").counts["all"] == {"cat": 2, "dog": 2}


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_folder_that_cannot_be_read_is_a_problem(tmp_path):
    put(tmp_path, *PLAIN)
    (tmp_path / "dog").chmod(0)
    try:
        assert "folder dog cannot be read (Permission denied)" in list_folder(tmp_path).problems
    finally:
        (tmp_path / "dog").chmod(0o755)


def test_a_walk_that_meets_an_error_goes_on(tmp_path, monkeypatch):
    put(tmp_path, *PLAIN)
    scandir = os.scandir

    def failing(path):
        if os.path.basename(path) == "dog":
            raise OSError(5, "Input/output error")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", failing)
    found = tree(tmp_path)
    assert (found.files, found.unreadable) == (["cat/1.png", "cat/2.JPG"], [("dog", "Input/output error")])


def test_no_folder_is_a_problem(tmp_path):
    assert list_folder(tmp_path / "nowhere").problems == (f"{tmp_path / 'nowhere'}: no such folder",)


@pytest.mark.parametrize(
    "counts",
    [{"a": 1, "b": 2, "c": 33}, {"train/a": 9, "train/b": 4, "val/a": 3}, {"train/a": 9, "train/b": 4, "test/a": 3}],
)
def test_the_sizes_are_those_that_are_read(tmp_path, counts):
    make_folder(tmp_path, counts)
    found = list_folder(tmp_path)
    items = list(open_source("folder", Request("mine", len(found.classes), tmp_path)).items)
    test = sum(item.split == "test" for item in items)
    assert sizes(found) == (len(items) - test, test)
