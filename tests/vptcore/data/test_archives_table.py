"""Which files a task needs, and a whole preparation from original archives."""

from __future__ import annotations

import zipfile
from functools import wraps

import numpy as np
import pytest

from tests.vptcore.data.archive_layouts import fails, jpeg, make_files, make_svhn, make_zip, md5_order
from tests.vptcore.data.layouts import encode, noise
from tests.vptcore.data.test_archives_order import EUROSAT_SIZES
from vptcore import records
from vptcore.data import hub
from vptcore.data.arrays import prepare
from vptcore.data.item import Request
from vptcore.data.readers import archives
from vptcore.data.readers.archives import files, table
from vptcore.data.readers.archives.files import zip_member
from vptcore.data.sources import locate
from vptcore.data.tasks import TASKS, VTAB

EUROSAT = [(name, f"{name}_{i}.jpg") for name in EUROSAT_SIZES for i in range(1, 11)]


@pytest.mark.parametrize("task", [task.id for task in VTAB])
def test_a_missing_task_says_every_file_its_size_address_and_licence(tmp_path, task):
    message = fails(task, tmp_path / task)
    assert message.startswith(f"{task}: no ")
    assert f"put into {tmp_path / task} " in message
    archive = table.BY_TASK[task]
    for file in archive.files:
        assert (file.name in message) == (not file.optional)
        assert file.address in message or file.optional
    assert f"licence: {archive.licence}" in message
    assert archive.owner in message
    assert set(archives._readers()) == set(table.BY_TASK)
    assert f"the folder that tasks.{task}.path names" in table.missing(Request(task, 2))


def test_the_listing_offers_the_original_archives(tmp_path):
    task = TASKS["svhn"]
    (row,) = hub.listing([task], {}, tmp_path)
    assert not row["found"]
    assert "or set tasks.svhn.source to original and put into" in row["where"]
    assert "train_32x32.mat (182 MB) from http://ufldl.stanford.edu/housenumbers/train_32x32.mat" in row["where"]
    make_svhn(tmp_path / "svhn", {"train": 20, "test": 20})
    (row,) = hub.listing([task], {}, tmp_path)
    assert f"source to original and its archives in {tmp_path / 'svhn'} are read" in row["where"]
    (row,) = hub.listing([task], {"svhn": {"source": "original"}}, tmp_path)
    assert row["found"]
    (row,) = hub.listing([TASKS["dtd"]], {"dtd": {"source": "original"}}, tmp_path)
    assert row["where"].count("dtd-r1.0.1.tar.gz from") + row["where"].count("dtd-r1.0.1.tar.gz (625 MB)") == 1


def test_files_are_found_under_the_data_sets_own_name_and_in_part(tmp_path):
    root = tmp_path / "clevr"
    make_zip(root / "CLEVR_v1.0.zip", {"x": b"x"})
    for task in ("clevr_count", "clevr_distance"):
        assert locate("original", Request(task, 8, tmp_path / task)) == root
    # A path of one's own is not looked beside.
    with pytest.raises(ValueError, match="no CLEVR_v1"):
        locate("original", Request("clevr_count", 8, tmp_path / "mine"))
    make_files(tmp_path / "svhn", {"train_32x32.mat": b"x"})
    message = fails("svhn", tmp_path / "svhn")
    assert "no test_32x32.mat found" in message
    assert "train_32x32.mat (" not in message
    with pytest.raises(ValueError, match="cub200"):
        locate("original", Request("cub200", 200, tmp_path))


def job(root, task="eurosat", workers=1) -> dict:
    return {"task": task, "source": "original", "path": str(root), "classes": TASKS[task].classes, "size": 32,
            "max_pool": 25000, "seed": 0, "version": 1, "workers": workers}  # fmt: skip


def test_a_preparation_from_a_zip_is_the_same_for_any_number_of_workers(tmp_path):
    members = {f"2750/{folder}/{name}": encode(noise(row)) for row, (folder, name) in enumerate(EUROSAT)}
    make_zip(tmp_path / "eurosat" / "EuroSAT.zip", members)
    made = []
    for workers in (1, 3):
        out = tmp_path / f"{workers}.npy", tmp_path / f"{workers}.parquet"
        prepare(job(tmp_path / "eurosat", workers=workers), *out)
        made.append((np.load(out[0]), records.read_rows(out[1], "index")))
    (images, index), (others, other_index) = made
    assert np.array_equal(images, others)
    assert index.equals(other_index)
    order = md5_order("train", [f"{folder}_{name}" for folder, name in EUROSAT])
    assert index["key"].tolist() == [f"train/{key}" for key in order]
    assert index["split"].tolist() == ["train"] * 60 + ["val"] * 20 + ["test"] * 20
    keys = [f"{folder}_{name}" for folder, name in EUROSAT]
    assert all(np.array_equal(image, noise(keys.index(key))) for key, image in zip(order, images, strict=True))
    note = records.read_provenance(tmp_path / "1.parquet")
    assert ["100 images, TFDS has 27,000" in line for line in note["substitutes"]] == [True]


def test_a_preparation_from_a_zip_goes_on_where_it_was(tmp_path, monkeypatch):
    keys = [f"{folder}_{name}" for folder, name in EUROSAT]
    order = md5_order("train", keys)
    members = {f"2750/{folder}/{name}": encode(noise(row)) for row, (folder, name) in enumerate(EUROSAT)}
    broken = list(members)[keys.index(order[70])]
    # As long as the image, so that the other members stay where they are.
    path = make_zip(tmp_path / "EuroSAT.zip", members | {broken: b"x" * len(members[broken])}, zipfile.ZIP_STORED)
    out = tmp_path / "a.npy", tmp_path / "a.parquet"
    for module in ("arrays", "chunks"):
        monkeypatch.setattr(f"vptcore.data.{module}.CHUNK", 4)
    with pytest.raises(ValueError, match=order[70]):
        prepare(job(tmp_path), *out, work=tmp_path / "work")
    make_zip(path, members, zipfile.ZIP_STORED)
    decoded = []

    @wraps(zip_member)
    def counted(*member):
        decoded.append(member[1])
        return zip_member(*member)

    monkeypatch.setattr(files, "zip_member", counted)
    prepare(job(tmp_path), *out, work=tmp_path / "work")
    assert not set(decoded) & {list(members)[keys.index(key)] for key in order[:60]}
    assert broken in decoded
    images = np.load(out[0])
    assert all(np.array_equal(image, noise(keys.index(key))) for key, image in zip(order, images, strict=True))


@pytest.mark.parametrize(("data", "words"), [(b"", "no image bytes"), (jpeg(0)[:90], ""), (b"text", "known format")])
def test_a_broken_image_is_named_and_nothing_is_half_written(tmp_path, data, words):
    members = {f"2750/{folder}/{name}": jpeg(row) for row, (folder, name) in enumerate(EUROSAT)}
    make_zip(tmp_path / "EuroSAT.zip", members | {"2750/Forest/Forest_3.jpg": data})
    with pytest.raises(ValueError, match=r"Forest_Forest_3\.jpg") as caught:
        prepare(job(tmp_path), tmp_path / "out" / "images.npy", tmp_path / "out" / "rows.parquet")
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not [path for path in tmp_path.glob("out/*") if path.is_file()]
