"""The edges of the graph: what each job reads, by hand for the demo and the paper."""

from pathlib import Path

import pytest
import yaml

from tests.vptcore.data.layouts import make_folder, make_vtab1k, make_wds
from vptstudy.config.resolve import load_study
from vptstudy.graph import flow, jobs, targets
from vptstudy.study import Cell

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def demo():
    return load_study(yaml.safe_load(Path("profiles/demo/study.yaml").read_text()))


@pytest.fixture(scope="module")
def paper():
    return load_study(yaml.safe_load(Path("config.yaml").read_text()))


HERE = "backbone=vit_mini_cifar10/method={}/task=digits/train=160"


def test_ft_then_pt_searches_from_a_model_that_has_not_seen_val(demo):
    cell = Cell("vit_mini_cifar10", "ft_then_pt", "digits", "160")
    assert flow.search_files(demo, cell)["base"] == f"results/demo/models/{HERE.format('full')}/search.safetensors"
    bases = [f"results/demo/models/{HERE.format('full')}/seed={s}.safetensors" for s in (42, 44, 82, 100, 800)]
    assert flow.final_files(demo, cell)["bases"] == bases


def test_the_authors_leak_is_in_the_graph():
    config = yaml.safe_load(Path("profiles/demo/study.yaml").read_text()) | {"protocol": "authors"}
    cell = Cell("vit_mini_cifar10", "ft_then_pt", "digits", "160")
    assert flow.search_files(load_study(config), cell)["base"].endswith("seed=42.safetensors")


def test_a_smaller_size_reads_the_base_sizes_search_and_its_own_split(demo):
    files = flow.final_files(demo, Cell("vit_mini_cifar10", "vpt", "digits", "40"))
    assert files["search"] == f"results/demo/search/{HERE.format('vpt')}/rows.parquet"
    assert files["splits"] == "results/demo/splits/task=digits/train=40/rows.parquet"


def test_a_download_is_a_job_only_where_images_are_missing(paper, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert flow.fetched_files(paper, "svhn") == ["data/svhn/.fetched"]
    (tmp_path / "data/svhn/test").mkdir(parents=True)
    assert flow.fetched_files(paper, "svhn") == ["data/svhn/.fetched"], "what was begun is gone on with"
    make_wds(tmp_path / "data/dtd", {"train": [0], "test": [0]})
    assert flow.fetched_files(paper, "dtd") == []
    assert flow.fetched_files(paper, "cub200") == []


def test_images_that_nobody_can_fetch_are_named(paper, demo, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert flow.missing_data(demo) == ""
    line = flow.missing_data(paper)
    names = "sun397, cub200, nabirds, oxford_flowers, stanford_dogs, stanford_cars"
    assert line.startswith(f"data: no images yet for {names};")
    for task in ("sun397", "cub200", "nabirds"):
        (tmp_path / "data" / task).mkdir(parents=True)
    assert flow.missing_data(paper) == line, "an empty folder has no images"
    make_vtab1k(tmp_path / "data/sun397", {"train800": 1, "val200": 1, "test": 1})
    make_folder(tmp_path / "data/cub200", {"train/a": 1})
    (tmp_path / "data/nabirds/a").mkdir()
    (tmp_path / "data/nabirds/a/notes.txt").write_text("not an image")
    assert flow.missing_data(paper).startswith("data: no images yet for nabirds, oxford_flowers,")


def test_an_empty_folder_of_ones_own_is_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    mine = {"group": "natural", "classes": 2, "source": "folder", "path": str(tmp_path / "mine")}
    config = yaml.safe_load((ROOT / "profiles/demo/study.yaml").read_text())
    own = config["experiments"]["strategies"] | {"tasks": ["mine"]}
    study = load_study(
        config | {"tasks": {"mine": mine}, "experiments": {"strategies": own}, "explain": {"tasks": [], "images": 3}}
    )
    (tmp_path / "mine").mkdir()
    assert flow.missing_data(study).startswith("data: no images yet for mine;")
    make_folder(tmp_path / "mine", {"a": 1, "b": 1})
    assert flow.missing_data(study) == ""


def test_every_table_of_the_paper_has_cells(paper):
    assert [n for n in targets.tables_of(paper) if isinstance(n, int)] == list(range(1, 21))
    assert len(targets.table_files(paper, 1)["final"]) == 11 * 6
    assert len(targets.table_files(paper, 19)["fid"]) == 5


def test_names_of_targets():
    assert [targets.padded(n) for n in (1, "5", "forest")] == ["01", "05", "forest"]
    assert targets.unpadded("05") == "5"
    assert flow.one_of([]) == "(?!)"


def test_every_cell_keeps_its_model_when_asked():
    config = yaml.safe_load(Path("profiles/demo/study.yaml").read_text())
    assert len(flow.final_models(load_study(config))) < len(load_study(config).cells)
    everything = load_study(config | {"keep": "best"})
    kept = flow.final_models(everything)
    assert kept.keys() == everything.cell_set
    # ft_then_pt starts from one model a seed of full's cell of its own task and size.
    assert {cell.method for cell, seeds in kept.items() if seeds == everything.seeds} == {"full"}
    assert kept[Cell("vit_mini_cifar10", "full", "digits", "160")] == everything.seeds
    assert kept[Cell("vit_mini_cifar10", "full", "digits", "40")] == everything.seeds[:1]
    assert kept[Cell("vit_mini_cifar10", "linear", "digits", "160")] == everything.seeds[:1]


@pytest.mark.parametrize("off", [{"fid": False}, {"fid": "off"}, {}], ids=["yaml's off", "a text", "left out"])
def test_no_distance_is_measured_where_fid_is_off(off):
    config = yaml.safe_load(Path("profiles/demo/study.yaml").read_text())
    del config["fid"]
    study = load_study(config | off)
    kinds = {job.kind for job in jobs.jobs(study)}
    assert not kinds & {"features", "fid", "reference"}
    assert {"search", "final", "table", "figure", "report"} <= kinds
    read = [path for job in jobs.jobs(study) for value in job.inputs.values()
            for path in ([value] if isinstance(value, str) else value)]  # fmt: skip
    assert not [path for path in read if "/fid/" in path or "/features/" in path]
    assert "3" not in targets.figures_of(study)
    assert "distances" not in targets.tables_of(study)
