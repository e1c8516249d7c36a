"""A cell that was asked for otherwise keeps what it has: only seeds and configurations that it lacks are trained."""

from pathlib import Path

# ruff: noqa: F811
import pandas as pd
import pytest
from safetensors.numpy import load_file

from tests.vptcore.training.test_search_final import TIMES, checkpoint, job, task, with_picks  # noqa: F401
from vptcore.jobs.manifest import Record
from vptcore.records import read_provenance, read_rows, write_rows
from vptcore.training import final, search

WHERE = "task=test/rows.parquet"


class Cell:
    """A cell's search and finals in a study's folder, run as a workflow runs them: with a record of every job."""

    def __init__(self, root: Path, inputs: dict):
        self.root, self.inputs = root, inputs

    def path(self, kind: str, name: str = WHERE) -> str:
        return str(self.root / kind / name)

    def search(self, job: dict, *, best: bool = False) -> list[str]:
        more = {"best": self.path("models", "task=test/search.safetensors")} if best else {}
        outputs = {"rows": self.path("search"), "work": str(self.root / "work/search")} | more
        return self._run(search, job, self.inputs, outputs, "configuration")

    def final(self, job: dict, kept=()) -> list[str]:
        models = [self.path("models", f"task=test/seed={seed}.safetensors") for seed in kept]
        outputs = {"rows": self.path("final"), "work": str(self.root / "work/final")}
        outputs |= {kind: self.path(kind) for kind in ("curves", "predictions")} | (
            {"models": models} if models else {}
        )
        return self._run(final, job, self.inputs | {"search": self.path("search")}, outputs, "seed")

    def search_shard(self, job: dict) -> list[str]:
        part = self.root / "shards/search/task=test/shard=1of2"
        outputs = {"rows": str(part / "rows.parquet"), "best": str(part / "best.safetensors")}
        return self._run(search, job, self.inputs, outputs | {"work": str(part / "work")}, "configuration")

    def final_shard(self, job: dict, kept) -> list[str]:
        part = self.root / "shards/final/task=test/shard=1of2"
        outputs = {name: str(part / f"{name}.parquet") for name in ("rows", "curves", "predictions")}
        outputs |= {"models": [str(part / f"models/seed={seed}.safetensors") for seed in kept]}
        inputs = self.inputs | {"search": self.path("search")}
        return self._run(final, job, inputs, outputs | {"work": str(part / "work")}, "seed")

    def _run(self, stage, job, inputs, outputs, what: str) -> list[str]:
        """What was trained: 'seed 2', 'configuration 1'."""
        lines: list[str] = []
        makes = [
            p for name, paths in outputs.items() if name != "work" for p in ([paths] if name != "models" else paths)
        ]
        record = Record(job, inputs.values(), makes)
        stage.run(job, inputs, outputs, say=lines.append)
        record.finish()
        return [line.split(":")[0] for line in lines if line.startswith(what) and ": epoch 1/" in line]

    def frames(self, *kinds: str) -> list[pd.DataFrame]:
        return [read_rows(self.path(kind), kind).drop(columns=TIMES, errors="ignore") for kind in kinds]


ROWS = ("final", "curves", "predictions")


def alike(one: Cell, other: Cell, *kinds: str) -> None:
    for a, b in zip(one.frames(*kinds), other.frames(*kinds), strict=True):
        pd.testing.assert_frame_equal(a, b)


@pytest.fixture
def cells(task, tmp_path):
    return lambda name: Cell(tmp_path / name, task)


def test_only_the_missing_seeds_are_trained(cells, job):
    cell, fresh = cells("cell"), cells("fresh")
    cell.search(job())
    fresh.search(job())
    assert cell.final(job(seeds=[1, 2])) == ["seed 1", "seed 2"]
    assert cell.final(job(seeds=[1, 3])) == ["seed 3"]
    assert fresh.final(job(seeds=[1, 3])) == ["seed 1", "seed 3"]
    alike(cell, fresh, *ROWS)
    assert cell.final(job(seeds=[3, 1])) == ["seed 3"], "the first seed's test curve is asked for and was not kept"
    fresh.final(job(seeds=[3, 1]))
    alike(cell, fresh, *ROWS)
    assert cell.final(job(seeds=[3], curve_seeds=0, curve_images=20)) == [], "without a curve its images do not matter"
    assert cell.final(job(seeds=[3], curve_images=20)) == ["seed 3"], "the curve is of other images now"
    cell.final(job(seeds=[3, 1]))
    assert cell.final(job(seeds=[3])) == []
    assert cell.frames("final")[0]["seed"].tolist() == [3]


def test_another_pick_of_one_shot_images_costs_its_seed(job, task, tmp_path):
    picked = with_picks(task, tmp_path, train=[0, 1, 2], val=[3, 4, 5], train_2=[6, 7, 8])
    cell, one = Cell(tmp_path / "cell", picked), {"train": "one_shot", "parts": ["train"]}
    cell.search(job(**one))
    assert cell.final(job(**one, picks=[0, 0])) == ["seed 1", "seed 2"]
    assert cell.final(job(**one, picks=[0, 1])) == ["seed 2"]
    assert cell.final(job(**one, picks=[0, 1])) == []


def test_a_model_that_is_asked_for_now_costs_its_seed(cells, job):
    cell, fresh = cells("cell"), cells("fresh")
    for one in (cell, fresh):
        one.search(job())
    cell.final(job())
    assert cell.final(job(), kept=[1]) == ["seed 1"]
    assert cell.final(job(seeds=[1, 3]), kept=[1]) == ["seed 3"]
    fresh.final(job(seeds=[1, 3]), kept=[1])
    model = "task=test/seed=1.safetensors"
    ours, theirs = (load_file(one.path("models", model)) for one in (cell, fresh))
    assert ours.keys() == theirs.keys()
    assert all((ours[name] == theirs[name]).all() for name in ours)
    alike(cell, fresh, *ROWS)


def test_shards_keep_what_the_whole_cell_has(cells, job):
    """A cell made in one job and asked for in two: each trains only what the cell lacks, and keeps its models."""
    cell, fresh = cells("cell"), cells("fresh")
    cell.search(job(lrs=(1.0, 4.0)), best=True)
    assert cell.search_shard(job(lrs=(0.5, 1.0, 4.0, 8.0)) | {"shard": [1, 2]}) == ["configuration 1"]
    cell.final(job(seeds=[1, 2]), kept=[1, 2])
    assert cell.final_shard(job(seeds=[1, 3], curve_seeds=1), kept=[1, 3]) == ["seed 3"]
    fresh.search(job(lrs=(1.0, 4.0)))
    fresh.final(job(seeds=[1, 3]), kept=[1, 3])
    ours, theirs = (load_file(path) for path in (
        cell.path("shards/final", "task=test/shard=1of2/models/seed=1.safetensors"),
        fresh.path("models", "task=test/seed=1.safetensors"),
    ))  # fmt: skip
    assert all((ours[name] == theirs[name]).all() for name in theirs)
    shard = read_rows(cell.path("shards/final", "task=test/shard=1of2/rows.parquet"), "final")
    alone = fresh.frames("final")[0]
    pd.testing.assert_frame_equal(shard[alone.columns], alone)


@pytest.mark.parametrize("change", [{"recipe": {"epochs": 2}}, {"prompt_length": 3}, {"version": 2}])
def test_another_training_is_another_one(cells, job, change):
    cell = cells("cell")
    cell.search(job())
    cell.final(job())
    other = job() | change
    if "recipe" in change:
        other["recipe"] = job()["recipe"] | change["recipe"]
    assert cell.final(other) == ["seed 1", "seed 2"]
    assert cell.search(other) == ["configuration 1", "configuration 2"]


def test_a_grid_that_grows_costs_what_it_grew_by(cells, job):
    cell, fresh = cells("cell"), cells("fresh")
    assert cell.search(job(lrs=(1.0, 4.0)), best=True) == ["configuration 1", "configuration 2"]
    assert cell.search(job(lrs=(0.5, 1.0, 4.0)), best=True) == ["configuration 1"]
    fresh.search(job(lrs=(0.5, 1.0, 4.0)), best=True)
    alike(cell, fresh, "search")
    ours, theirs = (load_file(one.path("models", "task=test/search.safetensors")) for one in (cell, fresh))
    assert all((ours[name] == theirs[name]).all() for name in theirs)


def test_the_best_of_what_is_left_is_trained_again_for_its_model(cells, job):
    cell, fresh = cells("cell"), cells("fresh")
    cell.search(job(lrs=(0.5, 1.0, 4.0)), best=True)
    rows = cell.frames("search")[0].sort_values(["val_accuracy", "lr"], ascending=[False, True])
    left = sorted(rows["lr"].tolist()[1:])
    second = left.index(rows["lr"].tolist()[1]) + 1
    assert cell.search(job(lrs=tuple(left)), best=True) == [f"configuration {second}"]
    fresh.search(job(lrs=tuple(left)), best=True)
    alike(cell, fresh, "search")


def test_rows_that_someone_changed_are_not_kept(cells, job):
    cell = cells("cell")
    cell.search(job())
    cell.final(job())
    rows = read_rows(cell.path("final"), "final").drop(columns="task")
    write_rows(cell.path("final"), "final", rows.assign(test_accuracy=0.99), read_provenance(cell.path("final")))
    assert cell.final(job(seeds=[1, 3])) == ["seed 1", "seed 3"]


def test_finals_follow_the_chosen_recipe(cells, job):
    """Another grid with the same winner keeps the seeds; another winner does not."""
    cell = cells("cell")
    cell.search(job(lrs=(1.0, 4.0)))
    cell.final(job())
    best = cell.frames("final")[0]["lr"][0]
    cell.search(job(lrs=(best,)))
    assert cell.final(job()) == []
    assert cell.frames("final")[0]["config"].tolist() == [0, 0]
    cell.search(job(lrs=(best / 4,)))
    assert cell.final(job()) == ["seed 1", "seed 2"]
