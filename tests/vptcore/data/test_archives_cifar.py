"""CIFAR-100 in both of its owners' versions, and pickles that want more than data."""

from __future__ import annotations

import os
import pickle

import numpy as np
import pytest

from tests.vptcore.data.archive_layouts import (
    cifar_batch,
    cifar_binary,
    cifar_python,
    fails,
    make_files,
    make_tar,
    md5_order,
    read,
)
from vptcore.data.readers.archives import pickles

COUNTS = {"train": 200, "test": 100}


@pytest.mark.parametrize("layout", ["python", "binary", "plain tar", "unpacked", "unpacked itself"])
def test_both_versions_give_the_same_rows(tmp_path, layout):
    root = tmp_path / "cifar100"
    if layout == "binary":
        make_tar(root / "cifar-100-binary.tar.gz", cifar_binary(COUNTS))
    elif layout.startswith("unpacked"):
        make_files(root, cifar_python(COUNTS))
        root = root / "cifar-100-python" if layout.endswith("itself") else root
    else:
        make_tar(root / f"cifar-100-python.tar{'' if layout == 'plain tar' else '.gz'}", cifar_python(COUNTS),
                 "w" if layout == "plain tar" else "w:gz")  # fmt: skip
    opened, items, images = read("cifar100", root)
    order = md5_order("train", list(range(200)))
    assert [item.key for item in items[:180]] == [f"train/{row}" for row in order[:180]]
    assert [item.split for item in items] == ["train"] * 180 + ["val"] * 20 + ["test"] * 100
    assert [item.label for item in items[180:200]] == [row % 100 for row in order[180:]]
    pixels_ND, _ = cifar_batch(200, 0)
    for row, image in zip(order, images, strict=False):
        assert np.array_equal(image, np.stack([pixels_ND[row].reshape(3, 32, 32)[c] for c in range(3)], axis=-1))
    assert opened.class_names[42] in ("thing 42", "thing_42")
    assert len(opened.substitutes) == 2  # 200 and 100 images are not the benchmark's 50,000 and 10,000
    assert [item.key for item in read("cifar100", root, max_train=7)[1]][:8] == [f"train/{r}" for r in order[:7]] + [
        f"train/{order[180]}"
    ]


class Runs:
    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return os.system, (f"touch {self.mark}",)


class Evals:
    def __reduce__(self):
        return eval, ("__import__('os').abort()",)


class NumpyLoads:
    def __reduce__(self):
        return np.fromfile, ("/etc/passwd",)


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_a_pickle_that_runs_code_runs_none(tmp_path, protocol):
    mark = tmp_path / "ran"
    members = cifar_python(COUNTS)
    members["cifar-100-python/train"] = pickle.dumps({b"data": Runs(mark), b"fine_labels": []}, protocol)
    make_tar(tmp_path / "cifar100" / "cifar-100-python.tar.gz", members)
    message = fails("cifar100", tmp_path / "cifar100")
    assert "cifar-100-python.tar.gz: train" in message
    assert "system" in message
    assert not mark.exists()
    for thing in (Evals(), NumpyLoads(), os.path.join, pytest):
        try:
            data = pickle.dumps({"a": thing}, protocol)
        except (TypeError, pickle.PicklingError):
            continue
        with pytest.raises(ValueError, match="a file: not a pickle of plain data"):
            pickles.load(data, "a file")


@pytest.mark.parametrize(
    "data",
    [
        b"", b"\x80", b"not a pickle", pickle.dumps([1, 2]), b"\x80\x02}q\x00", b"\x80\x02]R.",
        # An extension code, a name from the stack, a memo far away, a persistent id.
        b"\x80\x02\x82\x01.", b"\x80\x04\x8c\x02os\x8c\x06system\x93.", b"\x80\x02h\xff.", b"\x80\x02Pid\n.",
        # An array whose bytes are fewer than its shape, one of objects, a state that is none.
        pickle.dumps({"a": np.zeros(3, object)}, 2), pickle.dumps({"a": np.zeros(3, "f4")}, 2),
        b"\x80\x02}U\x01acnumpy\nndarray\n)\x81K\x01bs.",
        b"\x80\x02}U\x01acnumpy.core.multiarray\n_reconstruct\n)R(K\x01K\xff\x85cnumpy\ndtype\nU\x02u1\x85R\x89U\x01xtbs.",
    ],
)  # fmt: skip
def test_files_that_are_no_such_pickle(data):
    with pytest.raises(ValueError, match="a file: not a pickle of plain data and arrays") as caught:
        pickles.load(data, "a file")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4])
@pytest.mark.parametrize("keys", [str, str.encode])
def test_plain_data_and_arrays_are_read_as_pickle_reads_them(protocol, keys):
    array = np.random.default_rng(0).integers(0, 256, (5, 7), dtype=np.uint8)
    batch = {keys("data"): array, keys("fine_labels"): [3, 1, 2], keys("filenames"): [b"a.png", "b.png"]}
    found = pickles.load(pickle.dumps(batch, protocol), "a file")
    assert np.array_equal(found["data"], array)
    assert found["fine_labels"] == [3, 1, 2]


def test_a_batch_as_python_2_wrote_it():
    array = (b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\nK\x00\x85U\x01btR"
             b"(K\x01K\x02K\x03\x86cnumpy\ndtype\nU\x02u1K\x00K\x01\x87R(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xff"
             b"K\x00tb\x89U\x06abcdeftb")  # fmt: skip
    found = pickles.load(b"\x80\x02}(U\x04data" + array + b"U\x0bfine_labels](K\x05K\x06eu.", "a file")
    assert found["data"].tolist() == [list(b"abc"), list(b"def")]
    assert found["fine_labels"] == [5, 6]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"cifar-100-python/test": None}, ["no test in it"]),
        ({"cifar-100-python/test": b""}, ["test: an empty file"]),
        ({"cifar-100-python/meta": pickle.dumps({"other": 1})}, ["meta: no list of fine_label_names"]),
        ({"cifar-100-python/train": pickle.dumps({"data": 1})}, ["train: expected data of 3072 bytes"]),
        ({"cifar-100-python/train": "labels"}, ["train: row 1: label 'cat'"]),
        ({"cifar-100-python/train": "few"}, ["train: 200 images but 199 labels"]),
        ({"cifar-100-python/train": "high"}, ["train: row 5 has label 100", "0 to 99"]),
        ({"cifar-100-python/train": "absent"}, ["train: no image of class 'thing 99'"]),
    ],
)
def test_archives_that_are_not_whole(tmp_path, change, words):
    members = cifar_python(COUNTS)
    data, labels = cifar_batch(200, 0)
    for name, value in change.items():
        if isinstance(value, str):
            wrong = {"labels": [0, "cat", *labels[2:]], "few": labels[1:], "high": [*labels[:5], 100, *labels[6:]],
                     "absent": [label % 99 for label in labels]}[value]  # fmt: skip
            value = pickle.dumps({"data": data, "fine_labels": wrong}, 2)
        members[name] = value
    members = {name: value for name, value in members.items() if value is not None}
    make_tar(tmp_path / "cifar100" / "cifar-100-python.tar.gz", members)
    message = fails("cifar100", tmp_path / "cifar100")
    assert "cifar-100-python.tar.gz" in message
    assert all(word in message for word in words)


def test_a_binary_batch_that_breaks_off(tmp_path):
    members = cifar_binary(COUNTS)
    members["cifar-100-binary/train.bin"] = members["cifar-100-binary/train.bin"][:-1]
    make_tar(tmp_path / "cifar100" / "cifar-100-binary.tar.gz", members)
    assert "train.bin has 614,799 bytes" in fails("cifar100", tmp_path / "cifar100")
