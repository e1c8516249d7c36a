"""A grid or the seeds over several jobs: the same rows as from one, which jobs there are, and what cannot be split."""

from __future__ import annotations

from dataclasses import astuple
from pathlib import Path

import pandas as pd
import pytest
import yaml
from safetensors.torch import load_file

from tests.vptcore.training.test_search_final import TIMES, checkpoint, job, outputs, task  # noqa: F401 fixtures
from vptcore.choices import ConfigError
from vptcore.jobs.provenance import provenance
from vptcore.records import KINDS, read_provenance, read_rows, write_rows
from vptcore.training import final, search, shards
from vptstudy import slices
from vptstudy.config.resolve import load_study
from vptstudy.graph.jobs import Graph
from vptstudy.study import Cell


def quiet(_):
    pass


def same(a: Path, b: Path, kind: str) -> None:
    one, other = (read_rows(path, kind).drop(columns=TIMES, errors="ignore") for path in (a, b))
    pd.testing.assert_frame_equal(one, other)


def search_in(job, task, folder: Path, count: int) -> list[str]:  # noqa: F811
    paths = []
    for number in range(1, count + 1):
        place = folder / f"shard={number}of{count}"
        best = {"best": str(place / "best.safetensors")}
        search.run(job | {"shard": [number, count]}, task, outputs(place) | best, say=quiet)
        paths.append(str(place / "rows.parquet"))
    return paths


@pytest.mark.parametrize("count", [2, 3])
def test_a_split_grid_gives_the_rows_and_the_best_model_of_a_whole_one(job, task, tmp_path, count):  # noqa: F811
    grid = job("vpt", lrs=(0.25, 1.0, 4.0), decays=(0.0, 0.01))
    best = {"best": str(tmp_path / "best.safetensors")}
    search.run(grid, task, outputs(tmp_path) | best, say=quiet)
    split = tmp_path / "split"
    made = {"rows": str(split / "rows.parquet"), "best": str(split / "best.safetensors")}
    shards.search(grid, task | {"shards": search_in(grid, task, tmp_path, count)}, made)
    same(tmp_path / "rows.parquet", split / "rows.parquet", "search")
    one, other = load_file(best["best"]), load_file(made["best"])
    assert one.keys() == other.keys()
    assert all((one[name] == other[name]).all() for name in one)
    whole, note = (read_provenance(folder / "rows.parquet") for folder in (tmp_path, split))
    assert note["job_hash"] == whole["job_hash"]
    assert note["inputs"] == whole["inputs"]
    assert len(note["shards"]) == count


def test_a_shard_whose_configurations_all_diverged_is_no_mistake(job, task, tmp_path):  # noqa: F811
    grid = job("mixed", lrs=(0.1, 1e30))
    paths = search_in(grid, task, tmp_path, 2)
    made = {"rows": str(tmp_path / "rows.parquet"), "best": str(tmp_path / "best.safetensors")}
    shards.search(grid, task | {"shards": paths}, made)
    assert read_rows(made["rows"], "search")["diverged"].tolist() == [False, True]
    assert load_file(made["best"])
    all_bad = job("mixed", lrs=(1e29, 1e30))
    paths = search_in(all_bad, task, tmp_path / "bad", 2)
    with pytest.raises(ValueError, match="every configuration diverged"):
        shards.search(all_bad, task | {"shards": paths}, made)


def test_split_seeds_give_the_rows_of_one_job(job, task, tmp_path):  # noqa: F811
    setting = job("vpt", seeds=[7, 3, 5], curve_seeds=2)
    search.run(setting, task, outputs(tmp_path / "s"), say=quiet)
    inputs = task | {"search": str(tmp_path / "s/rows.parquet")}
    kinds = ("rows", "curves", "predictions")
    final.run(setting, inputs, outputs(tmp_path, *kinds[1:]), say=quiet)
    paths = []
    for number, (seeds, curves) in enumerate((([7, 5], 1), ([3], 1)), 1):
        place = tmp_path / f"shard={number}of2"
        models = {"models": [str(place / f"models/seed={seed}.safetensors") for seed in seeds]}
        part = setting | {"seeds": seeds, "curve_seeds": curves}
        final.run(part, inputs, outputs(place, *kinds[1:]) | models, say=quiet)
        paths.append(str(place / "rows.parquet"))
    whole = tmp_path / "whole"
    made = {kind: str(whole / f"{kind}.parquet") for kind in kinds}
    made["models"] = [str(whole / f"seed={seed}.safetensors") for seed in (7, 3, 5)]
    line = shards.final(setting, inputs | {"shards": paths}, made)
    for name, kind in (("rows", "final"), ("curves", "curves"), ("predictions", "predictions")):
        same(tmp_path / f"{name}.parquet", whole / f"{name}.parquet", kind)
    assert line.startswith("3 seeds of 2 jobs, test ")
    assert all(Path(path).stat().st_nlink == 2 for path in made["models"]), "no second copy on the disk"
    with pytest.raises(ValueError, match=r"shards: they hold seed \[5, 7\], expected \[3, 5, 7\]"):
        shards.final(setting, inputs | {"shards": paths[:1]}, made)


@pytest.fixture
def demo():
    return yaml.safe_load(Path("profiles/demo/study.yaml").read_text())


def test_shards_share_out_seeds_and_curves(demo):
    study = load_study(
        demo | {"shards": {"final": 2}, "curves": {"seeds": 3}, "switches": {"one_shot_picks": "per_seed"}}
    )
    cell = Cell("vit_mini_cifar10", "vpt", "digits", "160")
    first, second = (slices.final_shard(study, cell, name) for name in ("1of2", "2of2"))
    assert (first["seeds"], first["curve_seeds"]) == ([42, 82, 800], 2)
    assert (second["seeds"], second["curve_seeds"]) == ([44, 100], 1)
    shot = Cell("vit_mini_cifar10", "vpt", "digits", "one_shot")
    assert slices.final_shard(study, shot, "1of2")["picks"] == [0, 2, 4]
    assert slices.final_shard(study, shot, "2of2")["picks"] == [1, 3]
    one = load_study(demo)
    assert slices.final(one, shot)["picks"] == [0] * 5
    assert (slices.split(study, "digits", "one_shot")["picks"], slices.split(one, "digits", "one_shot")["picks"]) == (
        5,
        1,
    )


def test_which_cells_are_split(demo):
    study = load_study(demo | {"shards": {"search": 2, "final": 5, "methods": ["full", "linear"], "train": [40]}})
    split = [c for c in study.cells if study.shards("final", c) > 1]
    assert {(c.method, c.train) for c in split} == {("full", "40")}
    assert load_study(demo).shards("search", split[0]) == 1


def test_what_a_split_cell_waits_for_and_that_what_is_there_stays(demo, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    cell = Cell("vit_mini_cifar10", "ft_then_pt", "digits", "160")
    whole, split = load_study(demo), load_study(demo | {"shards": {"final": 2, "methods": ["ft_then_pt"]}})
    parts = astuple(cell)
    assert "shards" not in Graph(whole)["final", *parts].inputs
    files = Graph(split)["final_merge", *parts].inputs["shards"]
    assert [path.split("/shard=")[1] for path in files] == ["1of2/rows.parquet", "2of2/rows.parquet"]
    bases = Graph(split)["final_shard", *parts, "2of2"].inputs["bases"]
    assert [path.split("seed=")[1] for path in bases] == ["44.safetensors", "100.safetensors"]
    for path in (whole.path("final", cell), *files):
        assert "shards" not in Graph(whole)["final", *parts].inputs
        Path(path).parent.mkdir(parents=True)
        Path(path).touch()
    row = {field.name: {"string": "x", "bool": False}.get(str(field.type), 1) for field in KINDS["final"]}
    write_rows(whole.path("final", cell), "final", [row], provenance(slices.final(whole, cell)))
    assert Graph(whole)["final", *parts].inputs["shards"] == files, "the shards that made it"
    longer = load_study(demo | {"epochs": 6})
    assert "shards" not in Graph(longer)["final", *parts].inputs, "to be made again, as the config of today has it"


def test_one_configuration_is_not_several(demo):
    one = {"vpt": {"batch": 16, "grid": {"lr": [1.0], "weight_decay": [0.0]}}}
    with pytest.raises(ConfigError, match=r"shards\.search: 2 is more than the 1 configuration of vpt"):
        load_study(demo | {"shards": {"search": 2, "methods": ["vpt"]}, "methods": demo.get("methods", {}) | one})


@pytest.mark.parametrize(
    ("shards_", "message"),
    [
        ({"final": 6}, "shards.final: 6 is more than the 5 seeds; choose 5 or less"),
        ({"search": 5}, "shards.search: 5 is more than the 4 configurations of full; choose 4 or less, or name"),
        ({"search": 0}, "shards.search: 0 is too small; expected at least 1"),
        ({"seach": 2}, "shards.seach: 'seach' is not a key here; did you mean 'search'"),
        ({"search": 2, "methods": ["vtp"]}, "shards.methods: 'vtp' is unknown; did you mean 'vpt'"),
        ({"final": 2, "train": ["all"]}, 'shards.train[0]: "all" is not a number of training images'),
    ],
)
def test_mistakes_are_one_line(demo, shards_, message):
    with pytest.raises(ConfigError) as error:
        load_study(demo | {"shards": shards_})
    assert str(error.value).startswith(message)
    assert "\n" not in str(error.value)
