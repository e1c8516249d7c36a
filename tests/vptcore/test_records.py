"""Rows: what goes in comes out, in every reader; damaged and foreign files end in one line."""

import duckdb
import pandas as pd
import pytest

from vptcore.jobs.provenance import provenance
from vptcore.records import (
    KINDS,
    RowsError,
    hive_parts,
    read_many,
    read_provenance,
    read_rows,
    replacing,
    write_rows,
)

CURVE = dict(seed=1, epoch=1, lr=0.5, train_loss=1.0, train_accuracy=0.2, test_loss=None, test_accuracy=None)


def cell_path(root, task="digits", train="160"):
    return root / f"curves/backbone=vit/method=vpt/task={task}/train={train}/rows.parquet"


def test_round_trip_with_hive_columns(tmp_path):
    path = cell_path(tmp_path)
    write_rows(path, "curves", [CURVE, CURVE | {"epoch": 2, "test_loss": 3.0}], provenance({"a": 1}))
    frame = read_rows(path, "curves")
    assert list(frame.columns) == ["backbone", "method", "task", "train", *KINDS["curves"].names]
    assert frame["train"].tolist() == ["160", "160"]
    assert frame["test_loss"].isna().tolist() == [True, False]
    note = read_provenance(path)
    assert note["kind"] == "curves"
    assert note["job"] == {"a": 1}
    assert note["packages"]["pyarrow"]


def test_the_whole_folder_is_one_table(tmp_path):
    """As the README shows it: pandas and DuckDB read every cell, with the cell's names as columns."""
    for task, train in (("digits", "160"), ("digits", "one_shot"), ("shapes_count", "40")):
        write_rows(cell_path(tmp_path, task, train), "curves", [CURVE], {})
    by_pandas = pd.read_parquet(tmp_path / "curves")
    assert {"backbone", "method", "task", "train"} <= set(by_pandas.columns)
    assert sorted(by_pandas["task"].astype(str)) == ["digits", "digits", "shapes_count"]
    query = (
        f"select task, train, count(*) from read_parquet('{tmp_path}/curves/**/*.parquet', "
        f"hive_partitioning=true) group by all order by all"
    )
    assert duckdb.sql(query).fetchall() == [("digits", "160", 1), ("digits", "one_shot", 1), ("shapes_count", "40", 1)]
    assert len(read_many(tmp_path.rglob("*.parquet"), "curves")) == 3


def test_nothing_to_read_is_an_empty_table():
    frame = read_many([], "final")
    assert frame.empty
    assert "test_accuracy" in frame.columns


def test_wrong_columns_are_refused(tmp_path):
    with pytest.raises(RowsError, match="missing or unknown columns: learning_rate"):
        write_rows(tmp_path / "rows.parquet", "curves", [CURVE | {"learning_rate": 1}], {})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("damage", ["truncate", "empty", "foreign", "other_kind", "missing"])
def test_damage_ends_in_one_line(tmp_path, damage):
    path = tmp_path / "rows.parquet"
    write_rows(path, "curves", [CURVE], {})
    if damage == "truncate":
        path.write_bytes(path.read_bytes()[:-20])
    elif damage == "empty":
        path.write_bytes(b"")
    elif damage == "foreign":
        pd.DataFrame({"x": [1]}).to_parquet(path)
    elif damage == "other_kind":
        write_rows(path, "splits", [{"part": "train", "row": 1}], {})
    else:
        path.unlink()
    with pytest.raises(RowsError) as mistake:
        read_rows(path, "curves")
    assert "\n" not in str(mistake.value)
    assert str(path) in str(mistake.value)


def test_a_failed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("old")

    def fail_half_way():
        with replacing(path) as beside:
            beside.write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail_half_way()
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["table.csv"]


def test_hive_parts():
    assert hive_parts("results/demo/final/method=vpt/task=digits/rows.parquet") == {"method": "vpt", "task": "digits"}
    assert hive_parts("results/demo/final/method=vpt/task=digits") == {"method": "vpt", "task": "digits"}
    assert hive_parts("rows.parquet") == hive_parts("") == hive_parts("results/demo/config.json") == {}


@pytest.mark.parametrize("above", ["run=3", "task=mine", "method=a/task=b", "/data/lr=0.1"])
def test_folders_above_a_study_are_no_columns(above):
    assert hive_parts(f"{above}/results/final/method=vpt/rows.parquet") == {"method": "vpt"}
