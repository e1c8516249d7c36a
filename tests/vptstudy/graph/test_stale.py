"""What must be made again is known from the files themselves; times that a copy lost are set right by hashes."""

import os
from pathlib import Path

import pytest
import yaml

from vptcore.jobs.manifest import Record
from vptcore.jobs.provenance import provenance
from vptcore.records import KINDS, RowsError, write_rows
from vptstudy.config.resolve import load_study
from vptstudy.graph import stale
from vptstudy.graph.jobs import Graph
from vptstudy.report.produce import check_seeds
from vptstudy.run.settle import settle

DEMO = yaml.safe_load((Path(__file__).parents[3] / "profiles/demo/study.yaml").read_text())
SPLIT = ("split", "digits", "40")


@pytest.fixture
def made(tmp_path, monkeypatch):
    """The graph of a study whose split of digits has been made, with its records."""
    monkeypatch.chdir(tmp_path)
    stale._note.cache_clear()
    graph = Graph(load_study(DEMO))
    make(graph, 1)
    return graph


def make(graph: Graph, row: int) -> None:
    for job in (graph["prepare", "digits"], graph[SPLIT]):
        record = Record(job.slice, job.reads, job.files)
        for path in job.files:
            Path(path).parent.mkdir(parents=True, exist_ok=True)
            if path.endswith(".npy"):
                Path(path).write_bytes(b"pixels")
            else:
                note = provenance(job.slice, {"index": job.reads[0]} if job.reads else {})
                write_rows(path, "splits", [{"part": "train", "row": row}], note)
        record.finish()


def again(**more) -> Graph:
    stale._note.cache_clear()
    return Graph(load_study(DEMO | more))


def test_another_config_is_seen_in_the_file_itself(made):
    assert stale.stale(made) == {}
    (path,) = made[SPLIT].files
    assert stale.stale(again(epochs=4)) == {}, "a split does not read the epochs"
    assert stale.stale(again(split_seed=7)) == {path: "made from another config"}


def test_other_rows_above_are_seen_and_the_same_rows_are_not(made):
    images, index = made["prepare", "digits"].files
    (path,) = made[SPLIT].files
    note = provenance(made["prepare", "digits"].slice)
    write_rows(index, "splits", [{"part": "train", "row": 1}], note | {"host": "another"})
    assert stale.stale(again()) == {}
    write_rows(index, "splits", [{"part": "train", "row": 2}], note)
    assert stale.stale(again()) == {path: f"made from another {index}"}
    Path(index).unlink()
    assert stale.stale(again())[images] == f"{index} is not there"


def test_times_are_set_right_where_hashes_hold(made):
    _, index = made["prepare", "digits"].files
    (path,) = made[SPLIT].files
    os.utime(path, (1, 1))
    assert settle(again()) == 1
    assert os.stat(path).st_mtime_ns >= os.stat(index).st_mtime_ns
    assert settle(again()) == 0
    Path(path).write_bytes(Path(path).read_bytes() + b" ")
    os.utime(path, (1, 1))
    assert settle(again()) == 0, "not the file of its record"
    assert os.stat(path).st_mtime == 1


def test_a_table_refuses_finals_of_other_seeds(tmp_path):
    path = tmp_path / "final/task=digits/rows.parquet"
    row = {field.name: {"string": "x", "bool": False}.get(str(field.type), 1) for field in KINDS["final"]}
    study = load_study(DEMO | {"seeds": [42, 82]})
    write_rows(path, "final", [row | {"seed": seed} for seed in (42, 82)], {})
    check_seeds(study, {"final": [str(path)]})
    write_rows(path, "final", [row | {"seed": seed} for seed in (42, 44)], {})
    with pytest.raises(RowsError, match="finals of the seeds 42, 44; the config asks for 42, 82; run the study again"):
        check_seeds(study, {"final": [str(path)]})
