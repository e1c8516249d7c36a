from __future__ import annotations

import os

import pytest

from tests.vptcore.data.layouts import make_folder
from vptcore.data import signature


def fresh(path) -> str:
    signature._signature.cache_clear()
    return signature.signature(path)


@pytest.mark.parametrize("stated", [10_000, 2])
def test_a_signature_changes_with_names_sizes_and_times(tmp_path, monkeypatch, stated):
    monkeypatch.setattr(signature, "STATED", stated)
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
