"""Preparation goes on after a kill, converts instead of decoding twice, and gives the same bytes whatever happened."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.vptcore.data.layouts import encode, noise
from vptcore import records
from vptcore.data import chunks
from vptcore.data.arrays import prepare
from vptcore.data.decode import resize_bilinear
from vptcore.records import digest

COUNT = 3 * chunks.CHUNK + 5


def images_in(folder: Path, sizes: dict[int, tuple[int, int]], default=(12, 12), channels: int = 3) -> Path:
    """COUNT images in two classes below train and test; `sizes` are those of single ones."""
    for i in range(COUNT):
        path = folder / ("test" if i >= COUNT - 3 else "train") / "ab"[i % 2] / f"{i:04d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode(noise(i, *sizes.get(i, default), channels=channels)))
    return folder


def job_of(path: Path, workers: int = 2, **more) -> dict:
    return {
        "task": "mine", "source": "folder", "path": str(path), "classes": 2, "size": 16, "max_pool": 25000, "seed": 0,
        "version": 1, "workers": workers, "resize": "bilinear", "signature": "a", **more,
    }  # fmt: skip


def made(out: Path, job: dict, work: Path | None = None) -> tuple[bytes, list[str]]:
    prepare(job, out / "images.npy", out / "rows.parquet", work)
    return (out / "images.npy").read_bytes(), records.read_rows(out / "rows.parquet", "index")["sha256"].tolist()


def garble(paths: list[Path]) -> None:
    """Other bytes under the same size and time: whoever decodes these files again will find out."""
    for path in paths:
        found = path.stat()
        path.write_bytes(bytes(found.st_size))
        os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns))


def test_a_killed_preparation_goes_on_from_its_finished_chunks(tmp_path):
    root, work = images_in(tmp_path / "in", {}), tmp_path / "work"
    expected = made(tmp_path / "whole", job_of(root))
    paths = sorted(root.rglob("*.png"), key=lambda p: (p.parts[-3] == "test", p.parts[-2:]))
    last = paths[-1]
    whole = last.read_bytes()
    last.unlink()
    os.mkfifo(last)  # reading blocks here: the last chunk never finishes
    child = os.fork()
    if child == 0:
        prepare(job_of(root), tmp_path / "out" / "images.npy", tmp_path / "out" / "rows.parquet", work)
        os._exit(0)
    notes = work / "12x12x3-native"
    deadline = time.monotonic() + 60
    while len(list(notes.glob("*.json"))) < 3 and time.monotonic() < deadline:
        time.sleep(0.01)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    assert sorted(path.name for path in notes.glob("*.json")) == [f"{n:06d}.json" for n in range(3)]
    assert not (tmp_path / "out").exists()
    last.unlink()
    last.write_bytes(whole)
    garble(paths[: 3 * chunks.CHUNK])
    assert made(tmp_path / "out", job_of(root), work) == expected
    assert not work.exists()


def test_one_image_replaced_costs_one_chunk(tmp_path):
    root, work = images_in(tmp_path / "in", {}), tmp_path / "work"
    paths = sorted((root / "train").rglob("*.png"))
    bad = paths[2 * chunks.CHUNK]
    good = bad.read_bytes()
    bad.write_bytes(b"no image")
    with pytest.raises(ValueError, match=f"{bad.name} cannot be decoded"):
        prepare(job_of(root, workers=1), tmp_path / "out" / "images.npy", tmp_path / "out" / "rows.parquet", work)
    bad.write_bytes(good)
    # A person who mends the folder has another signature: what was finished still counts.
    expected = made(tmp_path / "whole", job_of(root, signature="b"))
    garble(paths[: 2 * chunks.CHUNK])
    assert made(tmp_path / "out", job_of(root, signature="b"), work) == expected


@pytest.mark.parametrize("spoil", ["bytes", "job", "array"])
def test_chunks_of_another_job_or_with_wrong_bytes_are_not_taken(tmp_path, spoil):
    root, work = images_in(tmp_path / "in", {}), tmp_path / "work"
    expected = made(tmp_path / "whole", job_of(root))
    (work / "keep").mkdir(parents=True)
    kept = chunks.Chunks(work, 16, "bilinear")
    kept.widen(chunks.Form((12, 12, 3), native=True))
    items = sorted((root / "train" / "a").iterdir())[: chunks.CHUNK]
    first = tuple(chunks.Item(f"train/a/{path.name}", "train", 0, path) for path in items)
    kept.make(chunks.Chunk(0, first, str(root)))
    job = job_of(root)
    decides = {k: v for k, v in job.items() if k not in ("workers", "signature")}
    (work / "made_by").write_text(digest(decides | ({"seed": 1} if spoil == "job" else {})))
    array = work / "12x12x3-native.npy"
    if spoil == "array":
        array.unlink()
    else:
        data = bytearray(array.read_bytes())
        data[chunks.HEADER + 7] ^= 1
        array.write_bytes(data)
    assert made(tmp_path / "out", job, work) == expected


@pytest.mark.parametrize(
    ("odd", "shape"),
    [
        ({}, (12, 12, 3)),
        ({2 * chunks.CHUNK + 9: (13, 12)}, (16, 16, 3)),
        ({0: (40, 40)}, (16, 16, 3)),
        ({COUNT - 1: (9, 9)}, (16, 16, 3)),
    ],
)
def test_the_form_follows_from_all_images(tmp_path, odd, shape):
    root = images_in(tmp_path / "in", odd)
    runs = [made(tmp_path / str(workers), job_of(root, workers)) for workers in (1, 3)]
    assert runs[0] == runs[1]
    images = np.load(tmp_path / "1" / "images.npy")
    assert images.shape == (COUNT, *shape)
    keys = records.read_rows(tmp_path / "1" / "rows.parquet", "index")["key"]
    for image, key in zip(images, keys, strict=True):
        pixels = np.asarray(Image.open(root / key).convert("RGB"))
        assert np.array_equal(image, pixels if shape == (12, 12, 3) else resize_bilinear(pixels, 16))


def test_a_late_colour_image_turns_grey_into_colour(tmp_path):
    root = images_in(tmp_path / "in", {}, channels=1)
    grey, _ = made(tmp_path / "grey", job_of(root))
    (root / "test" / "a" / "9999.png").write_bytes(encode(noise(1)))
    made(tmp_path / "colour", job_of(root))
    assert np.load(tmp_path / "grey" / "images.npy").shape == (COUNT, 12, 12, 1)
    images = np.load(tmp_path / "colour" / "images.npy")
    assert images.shape == (COUNT + 1, 12, 12, 3)
    assert sum(np.ptp(image.astype(int), axis=2).max() > 0 for image in images) == 1
    assert len(grey) == chunks.HEADER + COUNT * 144


def test_widening_converts_what_was_written(tmp_path):
    """The last image does not fit; the others are not decoded again: their files are garbled meanwhile."""
    root, work = images_in(tmp_path / "in", {COUNT - 1: (9, 9)}), tmp_path / "work"
    expected = made(tmp_path / "whole", job_of(root))
    paths = sorted(root.rglob("*.png"), key=lambda p: (p.parts[-3] == "test", p.parts[-2:]))
    (odd,) = [path for path in paths if path.stem == f"{COUNT - 1:04d}"]
    whole = odd.read_bytes()
    odd.write_bytes(b"")
    with pytest.raises(ValueError, match="no image bytes"):
        prepare(job_of(root, 1), tmp_path / "out" / "images.npy", tmp_path / "out" / "rows.parquet", work)
    assert json.loads((work / "forms.json").read_text()) == [[[12, 12, 3], True]]
    odd.write_bytes(whole)
    garble(paths[: 3 * chunks.CHUNK])
    assert made(tmp_path / "out", job_of(root), work) == expected


def test_large_images_in_the_first_chunk_are_not_all_held(tmp_path):
    """One image that is too large is enough to know the form: the next, which is broken, is not yet looked at."""
    first = chunks.Chunk(
        0, tuple(chunks.Item(str(i), "train", 0, x) for i, x in enumerate([noise(0, 40, 40), b""])), ""
    )
    with pytest.raises(chunks.DoesNotFit) as wider:
        chunks.Chunks(tmp_path, 16, "bilinear").make(first)
    assert wider.value.form == chunks.Form((16, 16, 3), native=False)
