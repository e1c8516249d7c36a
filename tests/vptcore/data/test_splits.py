from __future__ import annotations

from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vptcore import records
from vptcore.data.readers.own import with_test
from vptcore.data.splits import run, split
from vptcore.data.tasks import VTAB
from vptcore.jobs.manifest import identity


def index_of(train: int, val: int, test: int, classes: int = 5, seed: int = 0, source: str = "wds") -> pd.DataFrame:
    """An index of random labels in which the splits do not stand in a row."""
    rng = np.random.default_rng(seed)
    count = train + val + test
    frame = pd.DataFrame({"split": rng.permutation(["train"] * train + ["val"] * val + ["test"] * test)})
    return frame.assign(
        row=range(count), label=rng.integers(0, classes, count), class_name="", key=[str(i) for i in range(count)],
        source=source, sha256="", width=8, height=8,
    )  # fmt: skip


def job_of(train, task="mine", classes=5, seed=0) -> dict:
    return {"task": task, "train": str(train), "seed": seed, "classes": classes, "version": 1}


def parts(train, index, **more) -> dict[str, list[int]]:
    frame = split(job_of(train, **more), index)[0]
    assert frame["part"].drop_duplicates().tolist() == ["train", "val", "test"]
    return {part: rows["row"].tolist() for part, rows in frame.groupby("part")}


@pytest.mark.parametrize("task", ["cifar100", "smallnorb_elevation"])
def test_vtab_800_is_the_first_of_each_split(task):
    index = index_of(900, 300, 40)
    got = parts(800, index, task=task)
    assert got["train"] == index[index["split"] == "train"]["row"].tolist()[:800]
    assert got["val"] == index[index["split"] == "val"]["row"].tolist()[:200]
    assert got["test"] == index[index["split"] == "test"]["row"].tolist()
    assert split(job_of(800, task), index)[1]["substitutes"] == []


def test_vtab_800_without_val_takes_the_next_200_and_says_so():
    index = index_of(1100, 0, 40)
    got = parts(800, index, task="eurosat")
    train = index[index["split"] == "train"]["row"].tolist()
    assert (got["train"], got["val"]) == (train[:800], train[800:1000])
    (flag,) = split(job_of(800, "eurosat"), index)[1]["substitutes"]
    assert "train[800:1000]" in flag


def test_only_vtab_has_the_fixed_800():
    index = index_of(1000, 200, 40)
    assert parts(800, index)["train"] != parts(800, index, task="eurosat")["train"]
    assert len(VTAB) == 19


@settings(max_examples=60, deadline=None)
@given(
    st.integers(20, 400), st.integers(0, 60), st.integers(1, 20), st.integers(0, 10**6),
    st.lists(st.integers(4, 368), min_size=2, max_size=5),
)  # fmt: skip
def test_sizes_are_nested_and_never_meet(train, val, test, seed, sizes):
    index = index_of(train, val, test)
    pool = set(index[index["split"] != "test"]["row"])
    fitting = sorted(size for size in sizes if size + size // 4 <= len(pool))
    got = [parts(size, index, seed=seed) for size in fitting]
    for size, now in zip(fitting, got, strict=True):
        assert (len(set(now["train"])), len(set(now["val"]))) == (size, size // 4)
        assert set(now["train"]) | set(now["val"]) <= pool
        assert not set(now["train"]) & set(now["val"])
        assert now["test"] == index[index["split"] == "test"]["row"].tolist()
        assert parts(size, index, seed=seed) == now
    for small, large in pairwise(got):
        assert set(small["train"]) <= set(large["train"])
        assert set(small["val"]) <= set(large["val"])
        assert not set(small["val"]) & set(large["train"])


def test_the_seed_draws_another_subset():
    index = index_of(400, 0, 20)
    assert parts(100, index, seed=0) != parts(100, index, seed=1)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 60), st.integers(0, 20), st.integers(1, 12), st.integers(0, 10**6))
def test_one_shot_takes_one_of_each_class_for_train_and_one_for_val(train, val, classes, seed):
    index = index_of(train, val, 5, classes, seed)
    frame, notes = split(job_of("one_shot", classes=classes, seed=seed), index)
    pool = index[index["split"] != "test"]
    counts = np.bincount(pool["label"], minlength=classes)
    picked = frame.merge(index.drop(columns="split"), on="row")
    for part, needed in (("train", 1), ("val", 2)):
        rows = picked[picked["part"] == part]
        assert rows["label"].tolist() == np.flatnonzero(counts >= needed).tolist()
        assert set(rows["row"]) <= set(pool["row"])
        assert notes["absent_classes"][part] == np.flatnonzero(counts < needed).tolist()
    assert frame["row"].is_unique


@pytest.mark.parametrize("selection", ["random", "first"])
def test_one_shot_can_pick_from_the_benchmarks_1000(selection):
    """As the authors' loader, which samples within train800 and val200: what these lack is not trained."""
    index = index_of(1500, 400, 40, classes=300)
    label = index.set_index("row")["label"]
    pools = {
        name: index[index["split"] == name]["row"].tolist()[:count] for name, count in (("train", 800), ("val", 200))
    }
    job = job_of("one_shot", task="sun397", classes=300) | {"selection": selection, "pool": "vtab1k"}
    frame, notes = split(job, index)
    for part, pool in pools.items():
        rows = frame[frame["part"] == part]["row"].tolist()
        assert set(rows) <= set(pool)
        assert label.loc[rows].tolist() == sorted(set(label.loc[pool]))
        assert notes["absent_classes"][part] == sorted(set(range(300)) - set(label.loc[pool]))
    assert notes["absent_classes"]["val"], "200 images of 300 classes lack some"
    whole, _ = split(job | {"pool": "all"}, index)
    assert not set(whole[whole["part"] == "train"]["row"]) <= set(pools["train"])


def test_one_shot_finals_can_draw_two_a_class_anew():
    index = index_of(1500, 400, 40, classes=300)
    label = index.set_index("row")["label"]
    job = job_of("one_shot", task="sun397", classes=300) | {"pool": "vtab1k", "final": "two_per_class"}
    frame, _ = split(job, index)
    final = frame[frame["part"] == "final"]["row"]
    pool = pd.concat([index[index["split"] == "train"][:800], index[index["split"] == "val"][:200]])
    assert set(final) <= set(pool["row"])
    assert final.is_unique
    wanted = pool["label"].value_counts().clip(upper=2)
    assert label.loc[final].value_counts().to_dict() == wanted.to_dict()
    searched = frame[frame["part"].isin(["train", "val"])]["row"]
    assert set(final) != set(searched), "another draw than the search's"


def test_one_shot_picks_differ_between_seeds():
    index = index_of(200, 0, 5)
    assert parts("one_shot", index, seed=0)["train"] != parts("one_shot", index, seed=1)["train"]


def test_whole_train_uses_the_sources_val_or_draws_a_tenth():
    index = index_of(120, 30, 10)
    got = parts("train", index)
    assert got["train"] == index[index["split"] == "train"]["row"].tolist()
    assert got["val"] == index[index["split"] == "val"]["row"].tolist()
    index = index_of(120, 0, 10)
    got = parts("train", index)
    assert (len(got["train"]), len(got["val"])) == (108, 12)
    assert sorted(got["train"] + got["val"]) == index[index["split"] == "train"]["row"].tolist()
    assert len(split(job_of("train"), index)[1]["substitutes"]) == 1
    assert parts("train", index, seed=1)["val"] != got["val"]


@pytest.mark.parametrize(
    ("train", "task", "sizes", "words"),
    [
        ("800", "eurosat", (900, 0, 5), ["eurosat", "800 train and 200 val", "900 train, 0 val, 5 test"]),
        ("800", "eurosat", (700, 300, 5), ["800 train and 200 val", "700 train, 300 val"]),
        ("800", "eurosat", (900, 150, 5), ["900 train, 150 val"]),
        ("400", "mine", (400, 99, 5), ["mine", "400 train and 100 val images need a pool of 500", "400 train, 99 val"]),
        ("400", "mine", (600, 0, 0), ["no test images", "600 train"]),
        ("train", "mine", (0, 10, 5), ["0 train, 10 val"]),
        ("train", "mine", (1, 0, 5), ["1 train, 0 val"]),
        ("one_shot", "mine", (0, 0, 5), ["no image to pick", "0 train"]),
        ("few", "mine", (600, 0, 5), ["'few'", "'one_shot'", "'train'"]),
        ("0", "mine", (600, 0, 5), ["'0'"]),
        ("3", "mine", (600, 0, 5), ["'3'", "from 4 on"]),
        ("-8", "mine", (600, 0, 5), ["'-8'"]),
    ],
)
def test_what_cannot_be_split_ends_in_one_line_with_the_counts(train, task, sizes, words):
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the words are checked below
        split(job_of(train, task), index_of(*sizes))
    message = str(caught.value)
    assert "\n" not in message
    assert all(word in message for word in words)


def test_run_on_files(tmp_path):
    index_path, out = (
        tmp_path / "task=eurosat" / "rows.parquet",
        tmp_path / "task=eurosat" / "train=800" / "rows.parquet",
    )
    index = index_of(1100, 0, 40, classes=9)
    records.write_rows(index_path, "index", index, {})
    line = run(job_of(800, "eurosat", classes=10), index_path, out)
    assert line.startswith("800 train, 200 val, 40 test; val200 is train[800:1000]")
    assert "train lacks 1 of 10 classes" in line
    frame = records.read_rows(out, "splits")
    assert frame.groupby("part").size().to_dict() == {"train": 800, "val": 200, "test": 40}
    assert frame["train"].unique().tolist() == ["800"]
    note = records.read_provenance(out)
    assert note["inputs"]["index"]["sha256"] == identity(index_path)
    assert len(note["substitutes"]) == 1
    assert note["absent_classes"]["train"] == [9]


@pytest.mark.parametrize(("source", "val"), [("folder", 300), ("folder", 0), ("parquet", 300), ("hf", 0), ("csv", 300)])
def test_vtab_800_of_a_source_without_the_benchmarks_order_is_drawn_from_every_class(source, val):
    """As class folders give it: one class after the other, the first 800 images being of one class."""
    index = index_of(3000, val, 40, source=source)
    index = index.assign(label=np.sort(index["label"].to_numpy()))
    frame, notes = split(job_of(800, "eurosat"), index)
    label = index.set_index("row")["label"]
    for part, count in (("train", 800), ("val", 200)):
        rows = frame.loc[frame["part"] == part, "row"]
        assert len(set(rows)) == count
        # each class as often as in the split that the rows are of
        of = part if val else "train"
        own = index.loc[index["split"] == of, "label"].value_counts(normalize=True)
        assert (label.loc[rows].value_counts(normalize=True) - own).abs().max() < 0.02
        assert set(index.set_index("row")["split"].loc[rows]) == {of}
    assert set(frame.loc[frame["part"] == "train", "row"]).isdisjoint(frame.loc[frame["part"] == "val", "row"])
    assert notes["substitutes"][0] == (
        f"train800 and val200 are drawn, every class alike: source {source} lacks the benchmark's order"
    )
    again = split(job_of(800, "eurosat"), index)[0]
    other = split(job_of(800, "eurosat", seed=1), index)[0]
    assert again.equals(frame)
    assert not other.equals(frame)


def own_images(per_class: dict[str, int]) -> pd.DataFrame:
    """An index as `prepare` writes it for class folders without splits: the test set is drawn."""
    names = [f"{kind}/{number:04d}.jpg" for kind, count in per_class.items() for number in range(count)]
    return indexed(names)


def indexed(names: list[str]) -> pd.DataFrame:
    kinds = sorted({name.split("/")[0] for name in names})
    labels = [kinds.index(name.split("/")[0]) for name in names]
    drawn, _ = with_test(["all"] * len(names), labels, 0, names)
    columns = {"row": range(len(names)), "split": drawn, "label": labels, "key": names, "source": "folder"}
    return pd.DataFrame(columns)


def by_key(index: pd.DataFrame, train) -> dict[str, str]:
    """key -> the part it is in."""
    rows, _ = split(job_of(train, classes=3), index)
    return dict(zip(index.set_index("row").loc[rows["row"], "key"], rows["part"], strict=True))


@given(
    counts=st.lists(st.integers(8, 90), min_size=3, max_size=3), added=st.integers(0, 2), seed=st.integers(0, 999),
    train=st.sampled_from(["train", 12]),
)  # fmt: skip
@settings(max_examples=60, deadline=None)
def test_one_more_image_moves_few_of_a_persons_own(counts, added, seed, train):
    before = own_images(dict(zip("abc", counts, strict=True)))
    names = sorted([*before["key"], f"{'abc'[added]}/new{seed}.jpg"])
    after = indexed(names)
    was, now = before.set_index("key")["split"], after.set_index("key")["split"]
    moved = was[was != now[was.index]]
    assert len(moved) <= 1
    assert set(moved.index.str[0]) <= {"abc"[added]}
    parts_was, parts_now = by_key(before, train), by_key(after, train)
    assert sum(parts_now.get(key) != part for key, part in parts_was.items()) <= 6


@pytest.mark.parametrize("counts", [(10, 20, 200), (5, 5, 5), (33, 47, 61)])
def test_splits_of_a_persons_own_hold_every_class_alike(counts):
    index = own_images(dict(zip("abc", counts, strict=True)))
    tests = index[index["split"] == "test"].groupby("label").size()
    assert tests.tolist() == [round(count * 0.2) for count in counts]
    rows, _ = split(job_of("train", classes=3), index)
    val = index.loc[rows.loc[rows["part"] == "val", "row"]].groupby("label").size().reindex(range(3), fill_value=0)
    train = (index["split"] == "train").groupby(index["label"]).sum()
    assert val.sum() == -(-train.sum() // 10)
    assert ((val - train * val.sum() / train.sum()).abs() <= 1).all()


def test_a_benchmarks_rows_are_drawn_as_ever():
    """A permutation of the pool by the seed, whatever the images are called."""
    index = index_of(train=60, val=20, test=10)
    rows, _ = split(job_of(40), index)
    pool = np.random.default_rng(0).permutation(np.sort(index.loc[index["split"] != "test", "row"]))
    assert rows.loc[rows["part"] == "train", "row"].tolist() == pool[:40].tolist()
    assert rows.loc[rows["part"] == "val", "row"].tolist() == pool[-10:].tolist()
