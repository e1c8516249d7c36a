"""The comparison finds every difference that matters, and none in timings."""

import shutil

import pytest

from faults.compare import differences
from vptcore.records import replacing, write_rows

SLICE = {"task": "digits", "train": "40"}


def rows(train: int = 8, changed: bool = False) -> list[dict]:
    return [{"part": "train", "row": i + changed} for i in range(train)]


def note(**more) -> dict:
    return {"job": SLICE, "job_hash": "abc", "inputs": {"index": {"sha256": "1"}}, "device": "cpu", **more}


@pytest.fixture
def studies(tmp_path):
    for name in ("ours", "undisturbed"):
        root = tmp_path / name
        write_rows(root / "splits/task=digits/train=40/rows.parquet", "splits", rows(), note(started=name, host=name))
        for file in ("tables/table_01.csv", "logs/a.log"):
            (root / file).parent.mkdir(parents=True)
            (root / file).write_text("1" if file.startswith("t") else name)
    return tmp_path / "ours", tmp_path / "undisturbed"


def test_the_same_but_for_when_and_where(studies):
    assert differences(*studies) == []


@pytest.mark.parametrize(
    ("kind", "found"),
    [
        ("missing", "tables/table_01.csv: missing"),
        ("more", "tables/.table_01.csv.7.tmp: should not be there"),
        ("bytes", "tables/table_01.csv: other bytes"),
        ("rows", "DataFrame.iloc"),
        ("fewer", "shape mismatch"),
        ("note", "its note has another job"),
        ("inputs", "its note names other inputs"),
        ("broken", "cannot be read"),
    ],
)
def test_a_difference_is_found(studies, kind, found):
    ours, _ = studies
    table, split = ours / "tables/table_01.csv", ours / "splits/task=digits/train=40/rows.parquet"
    match kind:
        case "missing":
            table.unlink()
        case "more":
            shutil.copy(table, table.with_name(".table_01.csv.7.tmp"))
        case "bytes":
            table.write_text("2")
        case "rows":
            write_rows(split, "splits", rows(changed=True), note())
        case "fewer":
            write_rows(split, "splits", rows(7), note())
        case "note":
            write_rows(split, "splits", rows(), note(job={}))
        case "inputs":
            write_rows(split, "splits", rows(), note(inputs={}))
        case "broken":
            split.write_bytes(b"PAR1")
    assert any(found in line for line in differences(*studies))


def test_what_a_killed_writer_left_goes_with_the_next_write(tmp_path):
    """A process id that is not alive marks a remnant; a living one's file stays."""
    path = tmp_path / "rows.parquet"
    dead, alive = path.with_name(".rows.parquet.4194305.tmp"), path.with_name(".rows.parquet.1.tmp")
    for file in (dead, alive):
        file.write_text("half")
    with replacing(path) as beside:
        beside.write_text("whole")
    assert not dead.exists()
    assert alive.exists()
    assert path.read_text() == "whole"


def test_speed_may_differ_and_nothing_else_of_its_table(studies):
    for root, seconds in zip(studies, (1.5, 2.5), strict=True):
        (root / "tables/table_cost.csv").write_text(f"method,accuracy,final_seconds\nvpt,71.2,{seconds}\n")
        (root / "report").mkdir(exist_ok=True)
        (root / "report/index.html").write_text(f"<p>{seconds}</p>")
    assert differences(*studies) == []
    (studies[0] / "tables/table_cost.csv").write_text("method,accuracy,final_seconds\nvpt,71.3,1.5\n")
    (studies[0] / "report/index.html").unlink()
    assert differences(*studies) == ["report/index.html: missing", "tables/table_cost.csv: other bytes"]


def test_tensors_may_differ_in_their_header_only(studies):
    import numpy as np
    from safetensors.numpy import save_file

    for root in studies:
        save_file({"a": np.arange(3.0)}, root / "tables/m.safetensors", metadata={"at": root.name})
    assert differences(*studies) == []
    save_file({"a": np.arange(3.0) + 1e-12}, studies[0] / "tables/m.safetensors")
    assert differences(*studies) == ["tables/m.safetensors: other numbers in a"]
