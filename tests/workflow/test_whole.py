"""A whole tiny study through Snakemake: everything is made, is consistent with its rows, and is made once."""

import json
import re
import shutil
import signal
import subprocess
import time

import duckdb
import numpy as np
import pandas as pd
import pytest

from tests.workflow.conftest import REPO, Study, tiny_config
from vptcore.records import KINDS, read_many, read_provenance, read_rows
from vptcore.training.choose import choose
from vptstudy.cli import main


def rows(study, kind):
    return read_many(sorted((study.root / kind).rglob("rows.parquet")), kind)


def test_everything_is_there(finished):
    names = set(finished.texts("tables", "figures"))
    assert {
        "tables/table_01.csv",
        "tables/table_02.tex",
        "tables/table_17.md",
        "tables/table_significance.csv",
        "tables/table_selection.tex",
        "tables/table_overfitting.md",
        "tables/table_distances.html",
        "figures/figure_03.pdf",
        "figures/figure_05.png",
    } <= names
    assert (finished.root / "report/index.html").stat().st_size > 10_000
    assert (finished.root / "report/rows.html").stat().st_size > 10_000
    assert (finished.root / "report/figures/figure_19.png").exists()
    assert not (finished.root / "work").exists() or not list((finished.root / "work").rglob("*.json"))


def test_progress_says_what_how_far_and_how_fast(finished):
    lines = finished.result.stderr.splitlines()
    total = int(re.match(r"(\d+) jobs:", next(line for line in lines if "jobs:" in line)).group(1))
    done = [line for line in lines if re.match(r"\[ *\d+/\d+\]", line)]
    assert len(done) >= total - 1
    assert any(re.search(r"search +vpt · digits · 40 +2 configurations, best lr .* img/s", line) for line in done)
    assert any(line.endswith("left") for line in done)


def test_final_rows_follow_from_search_rows(finished):
    final, search = rows(finished, "final"), rows(finished, "search")
    assert len(final) == (8 + 2) * 2
    for cell, group in final.groupby(["method", "task", "train"]):
        base = search[(search["method"] == cell[0]) & (search["task"] == cell[1])]
        assert set(group["lr"]) == {choose(base)["lr"]}
        assert sorted(group["seed"]) == [1, 2]


def test_accuracies_are_those_of_the_predictions(finished):
    predictions, final = rows(finished, "predictions"), rows(finished, "final")
    hits = predictions.assign(hit=predictions["label"] == predictions["prediction"])
    recomputed = hits.groupby(["method", "task", "train", "seed"])["hit"].mean()
    stored = final.set_index(["method", "task", "train", "seed"])["test_accuracy"]
    assert np.allclose(recomputed.sort_index(), stored.sort_index())
    losses = predictions.groupby(["method", "task", "train", "seed"])["loss"].mean()
    assert np.allclose(
        losses.sort_index(), final.set_index(["method", "task", "train", "seed"])["test_loss"].sort_index(), rtol=1e-5
    )


def test_the_last_point_of_a_curve_is_the_loss_of_the_images_it_is_taken_on(finished):
    curves, predictions = rows(finished, "curves"), rows(finished, "predictions")
    cell = ["method", "task", "train"]
    mine = predictions[predictions["seed"] == 1].groupby(cell)["loss"]
    ends = mine.apply(lambda losses: losses.iloc[np.random.default_rng(0).permutation(len(losses))[:250]].mean())
    last = curves[(curves["epoch"] == 2) & (curves["seed"] == 1)].set_index(cell)["test_loss"]
    assert np.allclose(last.sort_index(), ends.sort_index(), rtol=1e-5)
    assert not np.allclose(ends, mine.mean()), "test has more images than that"
    assert curves.loc[curves["seed"] == 2, "test_loss"].isna().all()


def test_no_test_image_is_trained_on(finished):
    for path in (finished.root / "splits").rglob("rows.parquet"):
        parts = read_rows(path, "splits").groupby("part")["row"].apply(set)
        assert not parts["train"] & parts["test"]
        assert not parts["val"] & parts["test"]
        assert not parts["train"] & parts["val"]


def test_tables_are_means_of_rows(finished):
    table = pd.read_csv(finished.root / "tables/table_01.csv")
    final = rows(finished, "final")
    for row in table[
        (table["metric"] == "accuracy") & (table["task"] == "digits") & table["mean"].notna()
    ].itertuples():
        mine = final[(final["method"] == row.method) & (final["task"] == "digits") & (final["train"] == "40")]
        assert row.mean == pytest.approx(100 * mine["test_accuracy"].mean(), abs=0.051)


def test_provenance_chains_back_to_the_images(finished):
    path = next((finished.root / "final").glob("**/method=ft_then_pt/task=digits/**/rows.parquet"))
    note = read_provenance(path)
    assert note["kind"] == "final"
    assert {"images", "index", "splits", "search", "base0", "base1"} <= set(note["inputs"])
    assert note["job"]["method"] == "ft_then_pt"
    assert note["device"].startswith("cpu")
    assert note["duration"] > 0


def test_every_job_that_asks_for_a_gpu_has_one_and_says_which(finished):
    """Two pretended devices and two jobs at a time: each is on one of them, and both are at work."""
    gpus = [
        read_provenance(p)["gpu"] for kind in ("search", "final") for p in (finished.root / kind).rglob("*.parquet")
    ]
    assert set(gpus) == {"0", "1"}
    assert all("gpu" not in read_provenance(p) for p in (finished.root / "splits").rglob("*.parquet"))


def test_the_readmes_queries_work(finished):
    folder = finished.root / "final"
    frame = pd.read_parquet(folder)
    assert {"backbone", "method", "task", "train", "test_accuracy"} <= set(frame.columns)
    query = (
        f"select method, task, avg(test_accuracy) from read_parquet('{folder}/**/*.parquet', "
        f"hive_partitioning=true) group by all"
    )
    assert len(duckdb.sql(query).fetchall()) == 8


def test_every_kind_of_row_is_written(finished):
    for kind in KINDS:
        assert not rows(finished, kind).empty, kind


def test_a_second_run_does_nothing(finished):
    before = {p: p.stat().st_mtime_ns for p in finished.root.rglob("*") if p.is_file()}
    result = finished.run()
    assert result.returncode == 0
    assert "nothing to do" in result.stderr
    assert before == {p: p.stat().st_mtime_ns for p in finished.root.rglob("*") if p.is_file()}


def test_redrawing_a_figure_trains_nothing(finished):
    plan = finished.run("figure_05", "--forcerun", "figure", "--dry-run")
    assert plan.returncode == 0
    assert re.search(r"2 jobs: 1 figure, 1 figure_05|2 jobs: 1 figure_05, 1 figure", plan.stderr), plan.stderr


def test_without_the_warm_interpreter_and_with_more_threads_rows_are_the_same(finished, own):
    target = "results/tiny/final/backbone=vit_mini_cifar10/method=vpt/task=digits/train=40/rows.parquet"
    more = ("--set-threads", "search=2", "final=2", "split=2")
    result = own.run(target, *more, VPTCORE_WARM="0", OMP_NUM_THREADS="2", OPENBLAS_NUM_THREADS="2")
    assert result.returncode == 0, result.stderr
    timings = ["seconds", "compile_seconds", "images_per_second"]
    a, b = (read_rows(s.folder / target, "final").drop(columns=timings) for s in (finished, own))
    pd.testing.assert_frame_equal(a, b)


def test_killed_and_called_again_gives_the_same_rows(finished, own):
    """SIGKILL in the middle of the work; the next call goes on. `make faults` does it to whole studies, many times."""
    cell = "backbone=vit_mini_cifar10/method=ft_then_pt/task=digits/train=40/rows.parquet"
    target = f"results/tiny/final/{cell}"
    for delay in (5, 8):
        process = subprocess.Popen(
            own.command(target), cwd=own.folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        time.sleep(delay)
        process.send_signal(signal.SIGKILL)
        process.wait()
        shutil.rmtree(own.folder / ".snakemake/locks", ignore_errors=True)  # as `vptcore run` does
    result = own.run(target, "--rerun-incomplete")
    assert result.returncode == 0, result.stderr
    timings = ["seconds", "compile_seconds", "images_per_second"]
    for kind in ("search", "final", "curves", "predictions"):
        a, b = (read_rows(s.root / kind / cell, kind).drop(columns=timings, errors="ignore") for s in (finished, own))
        pd.testing.assert_frame_equal(a, b)


def test_split_over_several_jobs_the_rows_are_the_same(finished, own):
    """full's grid and seeds in two jobs each, on a machine with two pretended GPUs; then unsplit again.

    The models that ft_then_pt starts from are among what is put together.
    """
    own.config["shards"] = {"search": 2, "final": 2, "methods": ["full"]}
    own.write()
    cell = "backbone=vit_mini_cifar10/method=full/task=digits/train=40"
    targets = [f"results/tiny/{kind}/{cell}/rows.parquet" for kind in ("search", "final")]
    result = own.run(*targets, "--profile", str(REPO / "profiles/gpu"), VPTCORE_GPUS="0,1")
    assert result.returncode == 0, result.stderr
    assert "Exception" not in result.stderr, "that a rule is not for a cell is nothing to tell"
    timings = ["seconds", "compile_seconds", "images_per_second"]
    for kind in ("search", "final", "curves", "predictions"):
        a, b = (
            read_rows(s.root / kind / cell / "rows.parquet", kind).drop(columns=timings, errors="ignore")
            for s in (finished, own)
        )
        pd.testing.assert_frame_equal(a, b)
    for name in ("search", "seed=1", "seed=2"):
        file = f"models/{cell}/{name}.safetensors"
        assert (own.root / file).read_bytes() == (finished.root / file).read_bytes()
    note = read_provenance(own.root / "final" / cell / "rows.parquet")
    assert note["inputs"].keys() == read_provenance(finished.root / "final" / cell / "rows.parquet")["inputs"].keys()
    assert len(note["shards"]) == 2
    assert "gpu" not in note, "nothing is trained where shards are put together"
    for kind in ("search", "final"):
        shards = (own.root / "shards" / kind / cell).glob("shard=*/rows.parquet")
        assert {read_provenance(path)["gpu"] for path in shards} == {"0", "1"}
    assert main.main(["audit", str(own.root), "--configfile", str(own.folder / "study.yaml")]) == 0
    own.config["shards"] = {}
    own.write()
    assert "nothing to do" in own.run(*targets).stderr, "what is there stays"


def test_adding_a_method_runs_only_what_is_new(finished, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(finished.folder, folder)
    study = Study(folder, tiny_config())
    study.config["methods"]["mixed"] = {"batch": 16, "grid": {"lr": [0.1], "weight_decay": [0.0]}}
    study.config["experiments"]["more"] = {
        "backbones": ["vit_mini_cifar10"],
        "methods": ["mixed"],
        "tasks": ["digits"],
        "train": [40],
    }
    study.write()
    plan = study.run(
        "--dry-run", "results/tiny/final/backbone=vit_mini_cifar10/method=mixed/task=digits/train=40/rows.parquet"
    )
    assert plan.stderr.strip().splitlines()[-1].endswith("2 jobs: 1 search, 1 final"), plan.stderr


def test_broken_rows_end_in_one_line_with_the_log(finished, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(finished.folder, folder)
    study = Study(folder, tiny_config())
    broken = study.root / "final/backbone=vit_mini_cifar10/method=vpt/task=digits/train=40/rows.parquet"
    broken.write_bytes(broken.read_bytes()[:100])
    result = study.run("table_01", "--forcerun", "table")
    assert result.returncode != 0
    failed = [line for line in result.stderr.splitlines() if line.startswith("failed: table")]
    assert len(failed) == 1
    assert "not a readable parquet file" in failed[0]
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("epoch", 3, "config: epoch: 'epoch' is not a key here; did you mean 'epochs'"),
        ("protocol", "papr", "config: protocol: 'papr' is unknown"),
        ("seeds", [], "config: seeds: is empty"),
    ],
)
def test_a_wrong_config_ends_before_any_job(own, key, value, message):
    own.config[key] = value
    own.write()
    result = own.run()
    assert result.returncode == 1
    lines = [line for line in result.stderr.splitlines() if line.strip()]
    assert len(lines) == 1, result.stderr
    assert lines[0].startswith(message)
    assert not own.root.exists()


def test_metadata_is_json(finished):
    path = next((finished.root / "search").rglob("rows.parquet"))
    json.dumps(read_provenance(path))
