"""What must be made again is known from the files themselves; times that a copy lost are set right by hashes."""

import inspect
import os
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from snakemake import api as snakemakes

from vptcore.choices import ConfigError
from vptcore.data import signature
from vptcore.data.whereabouts import seen
from vptcore.jobs.manifest import Record
from vptcore.jobs.meaning import meaning
from vptcore.jobs.provenance import provenance
from vptcore.records import KINDS, RowsError, write_rows
from vptstudy import slices
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


def test_snakemake_is_told_what_to_make_again_and_one_without_that_set_is_refused(made):
    (path,) = made[SPLIT].files
    told = SimpleNamespace(is_main_process=True, dag=SimpleNamespace(forcefiles=set()))
    stale.force(told, again(split_seed=7))
    assert told.dag.forcefiles == {path}
    job = SimpleNamespace(is_main_process=False, dag=SimpleNamespace(forcefiles=set()))
    stale.force(job, again(split_seed=7))
    assert job.dag.forcefiles == set(), "a job of a run is told what to make"
    for changed in (SimpleNamespace(), SimpleNamespace(dag=None), SimpleNamespace(dag=SimpleNamespace(forcefiles=()))):
        with pytest.raises(ConfigError, match=r"^snakemake \d.* has no dag.forcefiles.*install the version in requi"):
            stale.force(changed, made)


def test_snakemakes_graph_has_the_set_that_changed_jobs_are_put_into():
    """The one thing of Snakemake's inside that is used; when this fails, look for what took its place."""
    graph = snakemakes.Workflow.__init__.__globals__["DAG"]
    assert "forcefiles" in inspect.signature(graph.__init__).parameters
    assert "forcefiles" in inspect.getsource(graph.update_needrun), "asked when the jobs to run are chosen"
    assert isinstance(inspect.getattr_static(snakemakes.Workflow, "is_main_process"), property)


def test_a_moved_study_is_not_stale_and_touched_images_are_not_others(tmp_path, monkeypatch):
    """Everything in another folder, every path of the config changed with it; then an image touched, then changed."""
    (tmp_path / "old/leaves/a").mkdir(parents=True)
    for number in range(3):
        (tmp_path / f"old/leaves/a/{number}.png").write_bytes(bytes([number]))

    def graph_in(where: str) -> Graph:
        stale._note.cache_clear()
        signature._signature.cache_clear()
        signature._content.cache_clear()
        leaves = {"source": "folder", "path": str(tmp_path / where / "leaves"), "group": "natural", "classes": 2}
        cells = DEMO["experiments"]["strategies"] | {"tasks": ["leaves"], "train": ["train"]}
        moved = {"results": str(tmp_path / where / "results"), "tasks": {"leaves": leaves}, "base_train": "train"}
        rest = {"experiments": {"all": cells}, "explain": {"tasks": [], "images": 1}}
        return Graph(load_study(DEMO | moved | rest))

    old = graph_in("old")
    prepare = old["prepare", "leaves"]
    record = Record(prepare.slice, prepare.reads, prepare.files)
    for path in prepare.files:
        Path(path).parent.mkdir(parents=True)
        Path(path).write_bytes(b"pixels")
    record.finish(seen(prepare.slice))
    (tmp_path / "old").rename(tmp_path / "new")
    image = tmp_path / "new/leaves/a/1.png"
    assert stale.stale(graph_in("new")) == {}
    os.utime(image, (1, 1))
    assert stale.stale(graph_in("new")) == {}
    image.write_bytes(b"x")
    graph = graph_in("new")
    assert stale.stale(graph) == {graph["prepare", "leaves"].files[0]: "made from other images"}
    shutil.rmtree(tmp_path / "new/leaves")
    assert stale.stale(graph_in("new")) == {}, "what is decoded needs its images no more"


def test_weights_may_be_moved_and_other_weights_under_the_same_name_are_others(tmp_path, monkeypatch):
    cells = DEMO["experiments"]["strategies"] | {"backbones": ["mine"]}
    config = DEMO | {"experiments": {"all": cells}, "report": {}, "fid": "off", "explain": {"tasks": [], "images": 1}}

    def meant(where: Path) -> set[str]:
        signature._signature.cache_clear()
        mine = {"timm": "vit_small_patch16_224", "checkpoint": str(where)}
        study = load_study(config | {"backbones": {"mine": mine}})
        return {meaning(job.slice) for job in Graph(study).values() if job.stage in ("search", "final")}

    weights = tmp_path / "old/w.safetensors"
    weights.parent.mkdir()
    weights.write_bytes(b"one")
    before = meant(weights)
    moved = (tmp_path / "old").rename(tmp_path / "new") / "w.safetensors"
    assert meant(moved) == before
    moved.write_bytes(b"two")
    assert not meant(moved) & before


def test_a_parquet_at_its_default_place_is_what_its_task_is_made_of(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    leaves = {"source": "parquet", "group": "natural", "classes": 2}
    cells = DEMO["experiments"]["strategies"] | {"tasks": ["leaves"], "train": ["train"]}
    config = DEMO | {"tasks": {"leaves": leaves}, "base_train": "train", "experiments": {"all": cells}}
    config |= {"explain": {"tasks": [], "images": 1}}

    def meant() -> str:
        signature._signature.cache_clear()
        return meaning(slices.prepare(load_study(config), "leaves", 32))

    Path("data").mkdir()
    nothing = meant()
    Path("data/leaves.parquet").write_bytes(b"one")
    one = meant()
    os.utime("data/leaves.parquet", (1, 1))
    assert meant() == one, "touched"
    Path("data/leaves.parquet").write_bytes(b"two")
    assert len({nothing, one, meant()}) == 3


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


def test_splits_that_a_file_tells_are_others_by_its_bytes_and_not_by_its_time(tmp_path, monkeypatch):
    """A file put back with an old time is seen, and a touched one is set right."""
    monkeypatch.chdir(tmp_path)
    Path("told.csv").write_text("key,split\n")
    told = {"tasks": {"digits": {"splits": "told.csv"}}}
    graph = again(**told)
    for job in (graph["prepare", "digits"], graph[SPLIT]):
        record = Record(job.slice, job.reads, job.files)
        for path in job.files:
            Path(path).parent.mkdir(parents=True, exist_ok=True)
            inputs = dict(zip(("index", "told"), job.reads, strict=False))
            write_rows(path, "splits", [{"part": "train", "row": 1}], provenance(job.slice, inputs))
        record.finish()
    (path,) = graph[SPLIT].files
    os.utime("told.csv")
    assert stale.stale(again(**told)) == {}
    os.utime(path, (1, 1))
    assert settle(again(**told)) == 1
    assert os.stat(path).st_mtime_ns >= os.stat("told.csv").st_mtime_ns
    Path("told.csv").write_text("key,split\n\n")
    os.utime("told.csv", (1, 1))
    assert stale.stale(again(**told)) == {path: "made from another told.csv"}


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
