from __future__ import annotations

import hashlib
import json
import tarfile

import numpy as np
import pyarrow as pa
import pytest
from sklearn.datasets import load_digits

from tests.vptcore.data.layouts import add_member, encode, make_folder, make_parquet, make_vtab1k, make_wds, noise
from vptcore.choices import ConfigError
from vptcore.data.decode import to_rgb
from vptcore.data.item import Request, load
from vptcore.data.sources import locate, open_source
from vptcore.data.tasks import EMBEDDED, VTAB


def read(source, path=None, task="mine", classes=3, **more):
    opened = open_source(source, Request(task, classes, path, **more))
    return opened, list(opened.items)


def fails(source, path=None, task="mine", classes=3, **more) -> str:
    """The one line that reading ends in."""
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the callers hold the message
        read(source, path, task, classes, **more)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_digits_are_scaled_and_split_by_the_seed():
    _, items = read("sklearn_digits", task="digits", classes=10)
    digits = load_digits()
    assert [i.label for i in items] == digits.target.tolist()
    assert sum(i.split == "test" for i in items) == 500
    assert items[7].image.shape == (8, 8, 1)
    assert items[7].image[..., 0].tolist() == [[round(v * 255 / 16) for v in row] for row in digits.images[7]]
    others = read("sklearn_digits", task="digits", classes=10, seed=1)[1]
    assert [i.split for i in items] != [i.split for i in others]


@pytest.mark.parametrize("task", EMBEDDED, ids=lambda task: task.id)
def test_every_task_that_needs_no_download_has_the_size_its_row_says(task):
    opened, items = read(task.source, task=task.id, classes=task.classes)
    assert sum(i.split == "train" for i in items) == task.pool
    assert sum(i.split == "test" for i in items) == task.test
    assert len(opened.class_names) == task.classes
    assert len({i.key for i in items}) == len(items)


def test_fashion_mnist_is_balanced_and_names_its_rows():
    opened, items = read("embedded_parquet", task="fashion_mnist", classes=10)
    for split, count in (("train", 250), ("test", 50)):
        assert np.bincount([i.label for i in items if i.split == split]).tolist() == [count] * 10
    assert opened.class_names[9] == "Ankle boot"
    # The first image of the train file is an ankle boot (label 9), as in the original's own documentation.
    assert (items[0].key, items[0].label) == ("train/00000", 9)
    assert to_rgb(items[0].image).shape == (28, 28, 3)


def test_a_persons_parquet(tmp_path):
    columns = {
        "image": [encode(noise(i)) for i in range(4)],
        "label": [0, 1, 2, 0],
        "split": ["train", "validation", "test", "train"],
        "name": ["a", "b", "c", "d"],
    }
    path = make_parquet(tmp_path / "mine.parquet", columns, ["x", "y", "z"])
    opened, items = read("parquet", path)
    assert opened.class_names == ("x", "y", "z")
    assert [(i.key, i.split, i.label) for i in items] == [
        ("a", "train", 0), ("b", "val", 1), ("c", "test", 2), ("d", "train", 0)
    ]  # fmt: skip
    assert np.array_equal(to_rgb(items[2].image), noise(2))
    # data_root/<task> finds data_root/<task>.parquet
    assert len(read("parquet", tmp_path / "mine")[1]) == 4


def test_a_parquet_without_splits_has_a_fifth_drawn_for_test(tmp_path):
    structs = [{"bytes": encode(noise(i)), "path": None} for i in range(50)]
    path = make_parquet(tmp_path / "mine.parquet", {"image": structs, "label": [i % 3 for i in range(50)]})
    opened, items = read("parquet", path)
    # 17, 17 and 16 images: a fifth of each class, rounded
    assert np.bincount([i.label for i in items if i.split == "test"]).tolist() == [3, 3, 3]
    assert "drawn by the images' names: mine.parquet names no test split" in opened.substitutes[0]
    assert [i.split for i in items] == [i.split for i in read("parquet", path)[1]]
    assert opened.class_names == ("0", "1", "2")
    assert np.array_equal(to_rgb(items[49].image), noise(49))


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        ([0, 3], ["row 1", "label 3", "0 to 2"]),
        ([0, -1], ["row 1", "label -1", "0 to 2"]),
        ([0.0, 1.5], ["row 0", "0.0", "not a whole number"]),
        ([0, None], ["row 1", "None", "not a whole number"]),
        ([True, False], ["row 0", "True", "not a whole number"]),
    ],
)
def test_a_wrong_label_names_file_and_row(tmp_path, labels, words):
    path = make_parquet(tmp_path / "mine.parquet", {"image": [b"x", b"x"], "label": labels, "split": ["train"] * 2})
    message = fails("parquet", path)
    assert all(word in message for word in [str(path), *words])


def test_labels_that_are_texts_are_the_classes_in_their_order(tmp_path):
    columns = {"image": [b"x"] * 4, "label": ["owl", "cat", "dog", "owl"], "split": ["train"] * 3 + ["test"]}
    opened, items = read("parquet", make_parquet(tmp_path / "mine.parquet", columns))
    assert opened.class_names == ("cat", "dog", "owl")
    assert [i.label for i in items] == [2, 0, 1, 2]


def test_paths_in_place_of_bytes(tmp_path):
    """As `datasets` writes an Image column of files that were not embedded."""
    for name, seed in (("a.png", 0), ("deep/b.png", 1)):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(encode(noise(seed)))
    paths = ["a.png", str(tmp_path / "deep/b.png")]
    structs = {"image": [{"bytes": None, "path": path} for path in paths], "label": [0, 1], "split": ["train", "test"]}
    for columns in (structs, structs | {"image": paths}):
        _, items = read("parquet", make_parquet(tmp_path / "mine.parquet", columns), classes=2)
        assert all(np.array_equal(to_rgb(load(item.image)), noise(seed)) for seed, item in enumerate(items))


def test_a_csv_of_paths_and_labels(tmp_path):
    make_folder(tmp_path, {"x": 6, "y": 4})
    rows = [f"x/{i}.png,{'owl' if i % 2 else 'cat'}" for i in range(6)] + [f"y/{i}.png,owl" for i in range(4)]
    (tmp_path / "mine.csv").write_text("\n".join(["path,label", *rows]))
    opened, items = read("csv", tmp_path / "mine", classes=2)
    assert opened.class_names == ("cat", "owl")
    assert [(i.key, i.label) for i in items] == [
        (key, int(name == "owl")) for key, _, name in (r.partition(",") for r in rows)
    ]
    assert sorted(i.label for i in items if i.split == "test") == [0, 1]
    assert np.array_equal(to_rgb(load(items[3].image)), noise(3))


@pytest.mark.parametrize("counts", [{"a": 1, "b": 2, "c": 40}, {"a": 10, "b": 5, "c": 100}])
def test_a_drawn_test_set_has_a_fifth_of_every_class(tmp_path, counts):
    _, items = read("folder", make_folder(tmp_path, counts))
    tested = [sum(i.split == "test" and i.label == label for i in items) for label in range(3)]
    assert tested == [0 if n == 1 else max(1, round(n / 5)) for n in counts.values()]


def test_a_large_train_set_is_capped_in_every_class_alike(tmp_path):
    make_folder(tmp_path, {"train/a": 40, "train/b": 20, "train/c": 1, "test/a": 1})
    _, items = read("folder", tmp_path, max_train=31)
    kept = [sum(i.split == "train" and i.label == label for i in items) for label in range(3)]
    assert sum(kept) == 31
    assert kept[2] == 1
    assert abs(kept[0] - 2 * kept[1]) <= 2
    assert [i.key for i in items] == [i.key for i in read("folder", tmp_path, max_train=31)[1]]


def test_a_folders_problems_are_one_line(tmp_path):
    make_folder(tmp_path, {"train/a": 1, "train/b": 1, "train/c": 0, "train/d": 0})
    assert fails("folder", tmp_path).count("class folder") == 2


def test_other_mistakes_in_a_parquet(tmp_path):
    columns = {"image": [b"x"], "label": [0], "split": ["holdout"]}
    assert "'holdout'" in fails("parquet", make_parquet(tmp_path / "a.parquet", columns))
    message = fails("parquet", make_parquet(tmp_path / "b.parquet", {"picture": [b"x"], "label": [0]}))
    assert "no column image" in message
    assert "picture, label" in message
    (tmp_path / "c.parquet").write_bytes(b"not parquet")
    assert str(tmp_path / "c.parquet") in fails("parquet", tmp_path / "c.parquet")
    path = make_parquet(tmp_path / "d.parquet", {"image": [b"x"], "label": [0]}, ["x", "y"])
    assert "found 2 classes" in fails("parquet", path)


def test_class_folders_below_splits(tmp_path):
    make_folder(tmp_path, {"train/b": 2, "train/a": 1, "test/b": 1, "valid/a": 1, "test/c": 1})
    (tmp_path / "train" / "a" / "notes.txt").write_text("not an image")
    opened, items = read("folder", tmp_path)
    assert opened.class_names == ("a", "b", "c")
    assert [(i.key, i.split, i.label) for i in items] == [
        ("train/a/0.png", "train", 0), ("train/b/0.png", "train", 1), ("train/b/1.png", "train", 1),
        ("valid/a/0.png", "val", 0), ("test/b/0.png", "test", 1), ("test/c/0.png", "test", 2),
    ]  # fmt: skip


def test_class_folders_alone_and_a_class_called_train(tmp_path):
    make_folder(tmp_path, {"bus": 10, "car": 10, "train": 10})
    opened, items = read("folder", tmp_path)
    assert opened.class_names == ("bus", "car", "train")
    assert sum(i.split == "test" for i in items) == 6
    assert [i.label for i in items] == [0] * 10 + [1] * 10 + [2] * 10
    assert "found 3 classes (bus, car, train, ...), expected 4" in fails("folder", tmp_path, classes=4)


def test_vtab1k_has_the_very_lists(tmp_path):
    root = make_vtab1k(tmp_path, {"train800": 5, "val200": 3, "test": 4})
    opened, items = read("vtab1k", root)
    assert [i.split for i in items] == ["train"] * 5 + ["val"] * 3 + ["test"] * 4
    assert items[4].key == "images/train800/000004.jpg"
    assert [i.label for i in items[:5]] == [0, 1, 2, 0, 1]
    assert load(items[5].image) == encode(noise(0), "JPEG")
    (note,) = opened.substitutes
    assert "JPEG" in note


def test_vtab1k_is_found_under_its_own_name(tmp_path):
    make_vtab1k(tmp_path / "vtab-1k" / "dsprites_ori", {"train800": 3, "val200": 3, "test": 3}, classes=16)
    found = locate("vtab1k", Request("dsprites_orientation", 16, tmp_path / "dsprites_orientation"))
    assert found == tmp_path / "vtab-1k" / "dsprites_ori"


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("images/test/000000.jpg cat", ["line 1", "'cat'", "not a whole number"]),
        ("images/test/000000.jpg", ["line 1", "LABEL"]),
        ("../../secret.jpg 0", ["line 1", "../../secret.jpg"]),
        ("/etc/secret.jpg 0", ["line 1", "/etc/secret.jpg"]),
        ("images/test/000009.jpg 0", ["000009.jpg", "test.txt", "not there"]),
        ("images/test/000000.jpg 3", ["images/test/000000.jpg", "label 3", "0 to 2"]),
    ],
)
def test_vtab1k_mistakes(tmp_path, line, words):
    root = make_vtab1k(tmp_path, {"train800": 1, "val200": 1, "test": 1})
    (root / "test.txt").write_text(line + "\n")
    message = fails("vtab1k", root)
    assert all(word in message for word in words)


@pytest.mark.parametrize("form", ["webp", "png"])
def test_wds_in_order_over_shards(tmp_path, form):
    root = make_wds(tmp_path / "t", {"train": [0, 1, 2, 0, 1, 2, 1], "test": [2, 1, 0]}, per_shard=3, form=form)
    opened, items = read("wds", root)
    assert [i.label for i in items] == [0, 1, 2, 0, 1, 2, 1, 2, 1, 0]
    assert [i.split for i in items] == ["train"] * 7 + ["test"] * 3
    assert items[3].key == "train/1.tar:s0000003"
    assert opened.class_names == ("name 0", "name 1", "name 2")
    for i, item in enumerate(items[:7]):
        assert np.array_equal(to_rgb(load(item.image)), noise(i))


def test_wds_reads_no_train_shard_beyond_the_cap(tmp_path):
    root = make_wds(tmp_path / "t", {"train": [0, 1, 2, 0, 1, 2], "test": [2]}, per_shard=2)
    (root / "train" / "2.tar").unlink()
    _, items = read("wds", root, max_train=3)
    assert [i.split for i in items] == ["train"] * 3 + ["test"]
    assert "2.tar: no such shard" in fails("wds", root)


@pytest.mark.parametrize(("task", "raw"), [("dsprites_location", 32), ("dsprites_orientation", 40)])
def test_wds_bins_the_raw_classes_of_dsprites(tmp_path, task, raw):
    root = make_wds(tmp_path / task, {"train": list(range(raw)), "test": [0]}, per_shard=100)
    _, items = read("wds", root, task, classes=16)
    assert [i.label for i in items[:-1]] == [int(label / (raw / 16)) for label in range(raw)]
    root = make_wds(tmp_path / "more", {"train": [raw], "test": [0]})
    assert f"label {raw}" in fails("wds", root, task, classes=16)


@pytest.mark.parametrize("name", ["../s0000000.png", "/s0000000.png", "deep/s0000000.png", "s0000000.exe", "s1.png"])
def test_wds_members_with_other_names_are_refused(tmp_path, name):
    root = make_wds(tmp_path / "t", {"train": [0], "test": [0]})
    with tarfile.open(root / "train" / "0.tar", "w") as tar:
        add_member(tar, name, encode(noise(0)))
    message = fails("wds", root)
    assert repr(name) in message
    assert "0.tar" in message


def test_wds_links_are_refused(tmp_path):
    root = make_wds(tmp_path / "t", {"train": [0], "test": [0]})
    with tarfile.open(root / "train" / "0.tar", "w") as tar:
        link = tarfile.TarInfo("s0000000.png")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
    assert "s0000000.png" in fails("wds", root)


def test_wds_mistakes(tmp_path):
    root = make_wds(tmp_path / "t", {"train": [0, 1], "test": [0]})
    shard = root / "train" / "0.tar"
    whole = shard.read_bytes()
    for cut in (700, 1000, 1536, len(whole) // 2, len(whole) - 9000):
        shard.write_bytes(whole[:cut])
        assert str(shard) in fails("wds", root)
    with tarfile.open(shard, "w") as tar:
        add_member(tar, "s0000000.png", encode(noise(0)))
    assert "s0000000 has no .cls" in fails("wds", root)
    with tarfile.open(shard, "w") as tar:
        add_member(tar, "s0000000.png", encode(noise(0)))
        add_member(tar, "s0000000.cls", b"cat")
    message = fails("wds", root)
    assert "train/0.tar:s0000000" in message
    assert "'cat'" in message
    (root / "train" / "nshards.txt").write_text("many")
    assert "'many'" in fails("wds", root)


@pytest.mark.parametrize("source", ["parquet", "folder", "vtab1k", "wds"])
def test_a_missing_path_says_what_to_put_where(tmp_path, source):
    where = tmp_path / "eurosat"
    message = fails(source, where, "eurosat", 10)
    assert message.startswith("eurosat: no ")
    assert str(where) in message
    assert "put there" in message
    assert ("vptcore data fetch eurosat" in message) == (source == "wds")
    assert "tasks.eurosat.path" in fails(source, None, "eurosat", 10)


def test_an_unknown_source_lists_the_choices():
    with pytest.raises(ConfigError, match=r"tasks\.mine\.source.*vtab1k, wds"):
        open_source("tdfs", Request("mine", 3))


def test_every_vtab_task_has_a_reader_and_its_repository():
    assert sum(bool(task.repo) for task in VTAB) == 18
    assert {task.source for task in VTAB if not task.repo} == {"vtab1k"}


def test_the_embedded_parquet_is_the_one_its_note_describes():
    from importlib import resources

    import pyarrow.parquet as pq

    table = pq.read_table(str(resources.files("vptcore") / "assets" / "fashion_mnist.parquet"))
    assert table.schema.field("image").type == pa.binary()
    assert len(json.loads(table.schema.metadata[b"classes"])) == 10
    pixels = b"".join(to_rgb(image)[..., 0].tobytes() for image in table["image"].to_pylist())
    assert hashlib.sha256(pixels).hexdigest() == "f07e61be6cb6e521ef41d07f4132c1ab73174e52a7777dbc132194f4a26a90ca"
