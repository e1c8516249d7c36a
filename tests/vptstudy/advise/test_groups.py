"""Groups by a column or a folder: read as they stand, and one line where they cannot be split."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from PIL import Image

from vptstudy.advise.groups import check, groups_of, spanned
from vptstudy.advise.look import Look, look

CLASSES, PATIENTS = ("cat", "dog"), 12


def images(root: Path, name) -> list[tuple[str, str, str]]:
    """(path, class, patient) of 48 pictures, each patient's of both classes; `name` makes the path."""
    rows = []
    for number in range(48):
        kind, patient = CLASSES[number % 2], f"p{number // 2 % PATIENTS}"
        path = name(kind, patient, number)
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (4, 4), (number, 0, 0)).save(root / path)
        rows.append((path, kind, patient))
    return rows


@pytest.fixture
def folder(tmp_path) -> Look:
    images(tmp_path / "pets", lambda kind, patient, number: f"{kind}/{patient}/{number}.png")
    return look(tmp_path / "pets")


@pytest.fixture
def csv(tmp_path) -> Look:
    rows = images(tmp_path, lambda kind, patient, number: f"all/{number}.png")
    pd.DataFrame(rows, columns=["Path", "label", "patient"]).to_csv(tmp_path / "pets.csv", index=False, sep=";")
    return look(tmp_path / "pets.csv")


@pytest.fixture
def parquet(tmp_path) -> Look:
    rows = images(tmp_path, lambda kind, patient, number: f"{number}.png")
    frame = pd.DataFrame(
        {"image": [(tmp_path / path).read_bytes() for path, *_ in rows], "label": [kind for _, kind, _ in rows],
         "patient": [int(patient[1:]) for *_, patient in rows]}
    )  # fmt: skip
    frame.to_parquet(tmp_path / "pets.parquet")
    return look(tmp_path / "pets.parquet")


def test_a_column_of_a_folder_from_the_hub(tmp_path, parquet):
    """Two shards of one split, named as the Hub names them; their rows' keys are those of the reader."""
    frame = pd.read_parquet(parquet.path)
    (tmp_path / "hub/data").mkdir(parents=True)
    for shard, rows in enumerate((frame[:20], frame[20:])):
        rows.to_parquet(tmp_path / f"hub/data/train-0000{shard}-of-00002.parquet")
    found = look(tmp_path / "hub")
    assert found.source == "hf"
    keys = [image.name for image in found.listing.images]
    assert groups_of(found, "patient", keys, frame["label"]) == frame["patient"].astype(str).tolist()
    check(found, "patient")
    with pytest.raises(ValueError, match="--group-by: 'patent' is unknown; did you mean 'patient'"):
        check(found, "patent")
    with pytest.raises(ValueError, match="every class lies in one group alone"):
        check(found, "label")


def test_the_folder_above_the_image(tmp_path):
    images(tmp_path / "pets", lambda kind, patient, number: f"{patient}/{number}.png")
    keys = ["a/1.png", "a/2.png", "b/c/3.png"] * 10 + [f"{k}/x.png" for k in range(10)]
    found = groups_of(look(tmp_path / "pets"), "parent", keys, list("xyx") * 10 + ["x"] * 10)
    assert found[:3] == ["a", "a", "b/c"]


def test_a_column_of_a_csv(csv):
    keys = [image.name for image in csv.listing.images]
    found = groups_of(csv, "patient", keys, [image.kind for image in csv.listing.images])
    assert dict(zip(keys, found, strict=True))["all/5.png"] == "p2"
    check(csv, "patient")


def test_a_column_of_a_parquet(parquet):
    found = groups_of(parquet, "patient", ["row 5", *(f"row {k}" for k in range(48))], ["cat"] + ["cat", "dog"] * 24)
    assert found[0] == "2"
    check(parquet, "patient")
    with pytest.raises(ValueError, match="--group-by: 'patients' is unknown; did you mean 'patient'"):
        check(parquet, "patients")


def test_what_cannot_be_split_is_one_line_before_an_image_is_decoded(folder, csv, tmp_path):
    with pytest.raises(ValueError, match=r"--group-by patient: .* has no columns; write parent"):
        check(folder, "patient")
    with pytest.raises(ValueError, match="every class lies in one group alone"):
        check(csv, "label")
    frame = pd.read_csv(tmp_path / "pets.csv", sep=";").assign(site="one", camera=lambda rows: rows.index // 2 % 3)
    frame.loc[0, "site"] = "two"
    frame.to_csv(tmp_path / "more.csv", index=False)
    with pytest.raises(ValueError, match=r"47 of 48 images are in one group \(one\)"):
        check(look(tmp_path / "more.csv"), "site")
    with pytest.raises(ValueError, match="3 groups; expected at least 10"):
        check(look(tmp_path / "more.csv"), "camera")


def test_parent_of_plain_class_folders_is_the_class(tmp_path):
    images(tmp_path / "flat", lambda kind, patient, number: f"{kind}/{number}.png")
    with pytest.raises(ValueError, match="every class lies in one group alone"):
        check(look(tmp_path / "flat"), "parent")


def test_classes_of_one_group_are_named():
    assert spanned(["a", "a", "b"], ["x", "y", "y"]) == ["x"]
