from __future__ import annotations

import os

import pytest

from tests.vptcore.data.layouts import make_folder
from vptcore.data import signature


def fresh(path) -> str:
    signature._signature.cache_clear()
    return signature.signature(path)


@pytest.mark.parametrize("share", [10_000, 2])
def test_a_signature_changes_with_names_sizes_and_times(tmp_path, monkeypatch, share):
    monkeypatch.setattr(signature, "SHARE", share)
    root = make_folder(tmp_path / "in", {"a": 3, "b": 3})
    before = fresh(root)
    assert fresh(root) == before
    seen = {before}
    first = root / "a" / "0.png"
    os.utime(first, ns=(0, 0))
    seen.add(fresh(root))
    first.write_bytes(first.read_bytes() + b"x")
    os.utime(first, ns=(0, 0))
    seen.add(fresh(root))
    (root / "b" / "2.png").rename(root / "b" / "9.png")
    seen.add(fresh(root))
    (root / "b" / "9.png").unlink()
    seen.add(fresh(root))
    assert len(seen) == 5


def test_what_is_no_image_or_not_there(tmp_path):
    root = make_folder(tmp_path / "in", {"a": 1})
    before = fresh(root)
    (root / ".DS_Store").write_bytes(b"x")
    assert fresh(root) == before
    assert fresh(root / "a" / "0.png") not in ("", before)
    assert fresh(tmp_path / "nothing") == ""
    assert fresh(None) == ""


def test_one_image_replaced_among_many_changes_it(tmp_path):
    """Beyond any number of files; a copy that keeps names, sizes and times does not."""
    (tmp_path / "in").mkdir()
    for number in range(12_000):
        (tmp_path / "in" / f"{number}.png").touch()
    before = fresh(tmp_path / "in")
    (tmp_path / "in").rename(tmp_path / "moved")
    assert fresh(tmp_path / "moved") == before
    os.utime(tmp_path / "moved/11999.png", ns=(1, 1))
    assert fresh(tmp_path / "moved") != before


def test_a_single_file_is_known_by_its_bytes_and_by_the_images_that_it_names(tmp_path):
    table = tmp_path / "in.csv"
    table.write_text("path,label\na.png,x\n")
    (tmp_path / "a.png").write_bytes(b"one")
    before = fresh(table)
    os.utime(table, ns=(1, 1))
    assert fresh(table.rename(tmp_path / "other.csv")) == before
    table.write_text("path,label\na.png,y\n")
    assert fresh(table) != before
    named = signature.signature(table, ["a.png"])
    (tmp_path / "a.png").write_bytes(b"another")
    signature._signature.cache_clear()
    assert signature.signature(table, ["a.png"]) != named


def test_a_dead_link_and_a_disk_that_fails_are_no_error(tmp_path, monkeypatch):
    make_folder(tmp_path, {"a": 2})
    whole = signature.signature(tmp_path)
    (tmp_path / "a/9.png").symlink_to(tmp_path / "gone")
    signature._signature.cache_clear()
    linked = signature.signature(tmp_path)
    (tmp_path / "gone").write_bytes(b"there")
    signature._signature.cache_clear()
    assert len({whole, linked, signature.signature(tmp_path)}) == 3
    signature._signature.cache_clear()

    def failing(_):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("os.scandir", failing)
    assert signature.signature(tmp_path) not in (whole, linked, "")
    signature._signature.cache_clear()
