"""Wherever a person's images lie, a replaced one is seen, and one that was touched alone is known to be the same."""

from __future__ import annotations

import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.vptcore.data.layouts import encode, make_folder, make_parquet, noise
from vptcore.data import signature, whereabouts
from vptcore.data.readers import parquet_files

OUTSIDE = "elsewhere"


@pytest.fixture
def root(tmp_path) -> Path:
    """Two images in the folder of the tables, and one outside of it."""
    for name, seed in (("set/a.png", 0), ("set/deep/b.png", 1), (f"{OUTSIDE}/c.png", 2)):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(encode(noise(seed)))
    return tmp_path


def paths(root: Path) -> list[str]:
    return ["a.png", "deep/b.png", str(root / OUTSIDE / "c.png")]


def columns(root: Path, *, structs: bool, bytes_of: int = 0) -> dict:
    """An image column of paths, as texts or as `datasets` writes them; the first `bytes_of` with their bytes too."""
    given = [
        {"bytes": encode(noise(place)) if place < bytes_of else None, "path": path}
        for place, path in enumerate(paths(root))
    ]
    return {"image": given if structs else paths(root), "label": [0, 1, 0]}


def arrow(path: Path, table: pa.Table) -> Path:
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_stream(sink, table.schema) as out:
        out.write_table(table)
    return path


def make_set(kind: str, root: Path) -> tuple[str, Path]:
    """(source, path) of the three images as each kind of table lists them."""
    folder = root / "set"
    if kind == "csv":
        (folder / "set.csv").write_text("path,label\n" + "".join(f"{path},x\n" for path in paths(root)))
        return "csv", folder / "set"
    if kind == "hf arrow":
        arrow(folder / "train.arrow", pa.table(columns(root, structs=True)))
        return "hf", folder
    made = make_parquet(folder / "train.parquet", columns(root, structs=kind != "texts"))
    return ("hf", folder) if kind == "hf parquet" else ("parquet", made.with_suffix(""))


KINDS = ("csv", "texts", "structs", "hf parquet", "hf arrow")


def looked_at(source: str, path: Path) -> tuple[str, str | None]:
    """(signature, content) as another run sees them."""
    for cached in (signature._signature, signature._content, whereabouts._named):
        cached.cache_clear()
    job = {"source": source, "path": str(path), "task": "mine", "classes": 2}
    return signature.signature(*whereabouts.images_of(job)), whereabouts.content_of(job)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("image", ["set/a.png", "set/deep/b.png", f"{OUTSIDE}/c.png"])
def test_an_image_that_a_table_names_is_watched(root, kind, image):
    source, path = make_set(kind, root)
    (root / "set/named.train").write_text("")
    before = looked_at(source, path)
    assert looked_at(source, path) == before
    os.utime(root / image, (1, 1))
    touched = looked_at(source, path)
    assert touched[0] != before[0]
    assert touched[1] == before[1], "other times, the same bytes"
    (root / image).write_bytes(encode(noise(9)))
    os.utime(root / image, (1, 1))
    replaced = looked_at(source, path)
    assert replaced[1] != before[1]
    (root / image).unlink()
    assert len({*looked_at(source, path), *replaced}) == 4


def test_images_in_a_table_are_its_bytes_and_are_not_read_to_see_what_it_names(root, monkeypatch):
    whole = make_parquet(root / "whole.parquet", columns(root, structs=True, bytes_of=3))
    some = make_parquet(root / "some.parquet", columns(root, structs=True, bytes_of=2))
    kept = arrow(root / "whole.arrow", pq.read_table(whole))
    plain = make_parquet(root / "plain.parquet", {"image": [b"x"], "label": [0]})
    read = []
    theirs = parquet_files._batches
    monkeypatch.setattr(parquet_files, "_batches", lambda path, names: read.append(names) or theirs(path, names))
    assert [parquet_files.named_images(path, "image") for path in (whole, plain)] == [[], []]
    assert read == []
    assert parquet_files.named_images(kept, "image") == []
    assert paths(root)[2] in parquet_files.named_images(some, "image")
    assert read == [["image"], ["image.path"]]


def test_what_cannot_be_read_names_nothing(tmp_path):
    (tmp_path / "set").mkdir()
    for name in ("train.parquet", "small/train.parquet"):
        (tmp_path / "set" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "set" / name).write_bytes(b"broken")
    for source, name in (("hf", "set"), ("parquet", "set/train.parquet"), ("parquet", "set/none"), ("csv", "set/none")):
        job = {"source": source, "path": str(tmp_path / name), "task": "mine", "classes": 2}
        assert whereabouts.images_of(job)[1] == ()
    assert whereabouts.images_of({"source": "shapes", "path": None, "task": "shapes_count", "classes": 4}) == ("", ())
    assert whereabouts.images_of({"task": "mine", "grid": {}}) == ("", ())


def test_a_record_speaks_of_images_that_a_slice_has_a_signature_of(root):
    make_folder(root / "folder", {"a": 2, "b": 2})
    job = {"source": "folder", "path": str(root / "folder"), "task": "mine", "classes": 2}
    assert whereabouts.seen(job | {"signature": ""}) is None
    assert whereabouts.seen(job | {"signature": "12ab"}) == {"content": signature.content(root / "folder")}
    assert whereabouts.seen({"seed": 1}) is None
    (root / "folder/.cache").mkdir()
    (root / "folder/.cache/x.png").write_bytes(b"litter")
    signature._content.cache_clear()
    before = whereabouts.seen(job | {"signature": "12ab"})
    (root / "folder/.cache/x.png").write_bytes(b"other litter")
    signature._content.cache_clear()
    assert whereabouts.seen(job | {"signature": "12ab"}) == before
