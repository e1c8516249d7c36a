"""SVHN, dSprites, SmallNORB and PCam in their owners' formats."""

from __future__ import annotations

import gzip
import pickle

import h5py
import numpy as np
import pytest
from scipy.io import loadmat, savemat

from tests.vptcore.data.archive_layouts import (
    dsprites_arrays,
    fails,
    make_files,
    make_pcam,
    make_svhn,
    md5_order,
    norb_bytes,
    norb_members,
    read,
)
from vptcore.data.readers.archives.pixels import norb_matrix
from vptcore.data.readers.archives.table import DSPRITES, NORB_TEST, NORB_TRAIN


def test_svhn(tmp_path):
    root = make_svhn(tmp_path / "svhn", {"train": 60, "test": 20})
    _, items, images = read("svhn", root)
    order = md5_order("train", list(range(60)))
    assert [item.key for item in items] == [f"train/{r}" for r in order] + [
        f"test/{r}" for r in md5_order("test", list(range(20)))
    ]
    assert [item.split for item in items] == ["train"] * 54 + ["val"] * 6 + ["test"] * 20
    stored = loadmat(root / "train_32x32.mat")
    assert [item.label for item in items[:60]] == [int(stored["y"][r, 0]) % 10 for r in order]
    assert 10 in stored["y"]
    for row, image in zip(order, images, strict=False):
        assert np.array_equal(image, stored["X"][:, :, :, row])


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"X": np.zeros((32, 32, 3, 4), np.uint8)}, ["no array 'y'"]),
        ({"X": np.zeros((32, 32, 3, 4), np.uint8), "y": np.ones(3)}, ["4 images but 3 labels"]),
        ({"X": np.zeros((32, 32, 3, 4), np.uint8), "y": np.array([1, 2, 11, 4])}, ["row 2 has label 11", "1 to 10"]),
        ({"X": np.zeros((32, 32, 3, 4)), "y": np.ones(4)}, ["float64", "expected uint8"]),
        ({"X": np.zeros((32, 32, 3, 4), np.uint8), "y": np.arange(1, 5)}, ["no image of class", "6 of 10"]),
    ],
)
def test_svhn_files_that_cannot_be(tmp_path, arrays, words):
    root = make_svhn(tmp_path / "svhn", {"train": 20, "test": 20})
    savemat(root / "train_32x32.mat", arrays)
    message = fails("svhn", root)
    assert all(word in message for word in ["train_32x32.mat", *words])


@pytest.mark.parametrize("cut", [0, 50, 1000])
def test_a_mat_file_that_breaks_off(tmp_path, cut):
    root = make_svhn(tmp_path / "svhn", {"train": 20, "test": 20})
    path = root / "test_32x32.mat"
    path.write_bytes(path.read_bytes()[:cut])
    assert "test_32x32.mat" in fails("svhn", root)


@pytest.mark.parametrize(("task", "column", "raw"), [("dsprites_location", 4, 32), ("dsprites_orientation", 3, 40)])
def test_dsprites(tmp_path, task, column, raw):
    root = tmp_path / "dsprites"
    root.mkdir()
    arrays = dsprites_arrays(400)
    np.savez_compressed(root / DSPRITES, **arrays)
    # Found under the data set's name too, so that both tasks share the file.
    _, items, images = read(task, tmp_path / task)
    order = md5_order("train", list(range(400)))
    assert [item.key for item in items] == [f"train/{row}" for row in order]
    assert [item.split for item in items] == ["train"] * 320 + ["val"] * 40 + ["test"] * 40
    assert [item.label for item in items] == [int(arrays["latents_classes"][row, column] / (raw / 16)) for row in order]
    for row, image in zip(order, images, strict=True):
        assert np.array_equal(image[..., 0], 255 * arrays["imgs"][row])


class Aborts:
    def __reduce__(self):
        import os

        return os.abort, ()


def test_dsprites_pickled_metadata_is_not_read_and_pickled_images_are_refused(tmp_path):
    arrays = dsprites_arrays(80)
    metadata = np.empty(1, object)
    metadata[0] = Aborts()
    np.savez_compressed(tmp_path / DSPRITES, **(arrays | {"metadata": metadata}))
    assert len(read("dsprites_location", tmp_path)[1]) == 80
    np.savez_compressed(tmp_path / DSPRITES, **(arrays | {"imgs": metadata}))
    message = fails("dsprites_location", tmp_path)
    assert DSPRITES in message
    assert "'imgs' cannot be read" in message


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"imgs": None}, ["no array 'imgs'"]),
        ({"imgs": np.zeros((79, 64, 64), np.uint8)}, ["79 images but 80 labels"]),
        ({"imgs": np.zeros((80, 64, 64))}, ["imgs (80, 64, 64)", "expected dSprites'"]),
        ({"latents_classes": np.full((80, 6), 32)}, ["row 0 has label 32", "0 to 31"]),
        ({"latents_classes": np.zeros((80, 6), int)}, ["no image of class '1'", "15 of 16"]),
    ],
)
def test_dsprites_files_that_cannot_be(tmp_path, change, words):
    arrays = {name: array for name, array in (dsprites_arrays(80) | change).items() if array is not None}
    np.savez_compressed(tmp_path / DSPRITES, **arrays)
    message = fails("dsprites_location", tmp_path)
    assert all(word in message for word in [DSPRITES, *words])
    (tmp_path / DSPRITES).write_bytes((tmp_path / DSPRITES).read_bytes()[:2000])
    assert DSPRITES in fails("dsprites_location", tmp_path)


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize(("task", "column", "step"), [("smallnorb_azimuth", 2, 2), ("smallnorb_elevation", 1, 1)])
def test_smallnorb(tmp_path, packed, task, column, step):
    train, test = norb_members(40, NORB_TRAIN, 0), norb_members(60, NORB_TEST, 1)
    files = train | test
    if packed:
        files = {f"{name}.gz": gzip.compress(data) for name, data in files.items()}
    root = make_files(tmp_path / task, files)
    _, items, images = read(task, root)
    orders = {"train": md5_order("train", list(range(40))), "test": md5_order("test", list(range(60)))}
    assert [item.split for item in items] == ["train"] * 40 + ["val"] * 30 + ["test"] * 30
    assert [item.key for item in items] == [f"{split}/{row}" for split in orders for row in orders[split]]
    for split, stem, members, start in (("train", NORB_TRAIN, train, 0), ("test", NORB_TEST, test, 40)):
        info = np.frombuffer(members[f"{stem}-info.mat"][20:], "<i4").reshape(-1, 4)
        dat = np.frombuffer(members[f"{stem}-dat.mat"][24:], np.uint8).reshape(-1, 2, 12, 12)
        for row, item, image in zip(orders[split], items[start:], images[start:], strict=False):
            assert item.label == info[row, column] // step
            assert np.array_equal(image[..., 0], dat[row, 0])
    assert pickle.loads(pickle.dumps(items[0])).key == items[0].key


@pytest.mark.parametrize("array", [np.arange(7, dtype="<i4"), np.zeros((2, 3), "u1"), np.ones((2, 3, 4, 5), "u1")])
def test_a_norb_matrix_of_any_rank(tmp_path, array):
    path = tmp_path / "a.mat"
    path.write_bytes(norb_bytes(array))
    assert np.array_equal(norb_matrix(path), array)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "first bytes are none"), (b"MATLAB 5.0 MAT-file", "first bytes are 4d41544c"),
        (norb_bytes(np.ones((4, 3), "u1"))[:-1], "needs 12 bytes, it has 11"),
        (norb_bytes(np.ones((4, 3), "u1")) + b"x", "needs 12 bytes, it has 13"),
        (norb_bytes(np.ones((4, 3), "u1"))[:15], "needs"),
        (b"\x55\x4c\x3d\x1e\x03\x00\x00\x00" + b"\xff" * 12, "needs"),
    ],
)  # fmt: skip
def test_norb_matrices_that_cannot_be(tmp_path, data, words):
    path = tmp_path / "a.mat"
    path.write_bytes(data)
    with pytest.raises(ValueError, match=words) as caught:
        norb_matrix(path)
    assert str(path) in str(caught.value)


def test_smallnorb_companions(tmp_path):
    files = norb_members(40, NORB_TRAIN, 0) | norb_members(60, NORB_TEST, 1)
    info = f"{NORB_TRAIN}-info.mat"
    root = make_files(tmp_path / "smallnorb_azimuth", {name: data for name, data in files.items() if name != info})
    message = fails("smallnorb_azimuth", root)
    assert f"no {info}.gz found" in message
    (root / info).write_bytes(norb_bytes(np.zeros((39, 4), "<i4")))
    assert "(40, 4)" in fails("smallnorb_azimuth", root)
    odd = np.zeros((40, 4), "<i4")
    odd[3, 2] = 5
    (root / info).write_bytes(norb_bytes(odd))
    assert "row 3 has azimuth 5" in fails("smallnorb_azimuth", root)


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("storage", [{}, {"chunks": (4, 12, 12, 3)}, {"compression": "gzip"}])
def test_pcam(tmp_path, packed, storage):
    counts = {"train": 30, "valid": 10, "test": 12}
    root = make_pcam(tmp_path / "patch_camelyon", counts, packed, **storage)
    _, items, images = read("patch_camelyon", root)
    at = 0
    for seed, (split, tfds) in enumerate((("train", "train"), ("valid", "validation"), ("test", "test"))):
        order = md5_order(tfds, [f"{split}_{row}" for row in range(counts[split])])
        stored = np.random.default_rng(seed).integers(0, 256, (counts[split], 12, 12, 3), dtype=np.uint8)
        for key, item, image in zip(order, items[at:], images[at:], strict=False):
            row = int(key.partition("_")[2])
            assert (item.key, item.label) == (f"{tfds}/{key}", row % 2)
            assert np.array_equal(image, stored[row])
        at += counts[split]
    assert [item.split for item in items] == ["train"] * 30 + ["val"] * 10 + ["test"] * 12
    few = read("patch_camelyon", root, max_train=5)
    assert [item.key for item in few[1][:5]] == [item.key for item in items[:5]]
    assert np.array_equal(few[2][4], images[4])


def test_a_damaged_copy_of_pcams_rows_is_one_line(tmp_path):
    root = make_pcam(tmp_path / "patch_camelyon", {"train": 8, "valid": 8, "test": 8})
    read("patch_camelyon", root)
    copy = max(root.rglob("*-rows.npy"))
    copy.write_bytes(b"<html>")
    assert fails("patch_camelyon", root).startswith(f"{copy}: this copy of camelyonpatch_level_2_split_")
    copy.unlink()
    read("patch_camelyon", root)


def test_pcam_files_that_cannot_be(tmp_path):
    root = make_pcam(tmp_path / "patch_camelyon", {"train": 8, "valid": 8, "test": 8}, packed=False)
    x, y = (root / f"camelyonpatch_level_2_split_valid_{name}.h5" for name in "xy")
    with h5py.File(y, "w") as file:
        file["y"] = np.ones((7, 1, 1, 1), np.uint8)
    assert "8 images but 7 labels" in fails("patch_camelyon", root)
    with h5py.File(y, "w") as file:
        file["y"] = np.array([0, 1, 2, 0, 0, 0, 0, 0], np.uint8)
    assert "valid_2 has label 2" in fails("patch_camelyon", root)
    with h5py.File(y, "w") as file:
        file["y"] = h5py.ExternalLink(str(x), "x")
    assert "leads to another file" in fails("patch_camelyon", root)
    y.write_bytes(b"not h5")
    message = fails("patch_camelyon", root)
    assert str(y) in message
    assert "not a whole .h5 file" in message
    y.unlink()
    assert "no camelyonpatch_level_2_split_valid_y.h5.gz found" in fails("patch_camelyon", root)
