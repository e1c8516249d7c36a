"""Plans: one cell counted by hand, increments that sum to the whole, the jobs that Snakemake would run."""

import json
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from vptcore.choices import ConfigError
from vptstudy.cli import main
from vptstudy.config.resolve import load_study
from vptstudy.graph.jobs import Graph
from vptstudy.plan import printout
from vptstudy.plan.devices import DEVICES, device_of
from vptstudy.plan.estimate import Plan
from vptstudy.plan.limits import work_of
from vptstudy.plan.seconds import Speed
from vptstudy.plan.switches import switches
from vptstudy.study import Cell

PAPER = yaml.safe_load(Path("config.yaml").read_text())
DEMO = yaml.safe_load(Path("profiles/demo/study.yaml").read_text())
STUDY = load_study(PAPER)
H100 = Speed(DEVICES["H100"])
GRAPH = Graph(STUDY)


def test_one_cell_by_hand():
    """Full fine-tuning of ViT-B/16 on SVHN: 16 configurations of 800 images, five seeds of 1,000, 100 epochs each."""
    cell = Cell("vit_b16_sup21k", "full", "svhn", "800")
    n, d, layers = 197, 768, 12
    patches = 2 * 196 * 768 * d
    whole = 24 * n * d**2 + 4 * n**2 * d
    last = 4 * n * d**2 + 20 * d**2 + 4 * n * d
    forward = patches + (layers - 1) * whole + last + 2 * d * 10
    step = 3 * forward - patches
    search, final = work_of(STUDY, "search", cell), work_of(STUDY, "final", cell)
    assert np.isclose(search.flops, 16 * (100 * 800 * step + 200 * forward), rtol=1e-9)
    scored, watched = 512 * -(-26032 // 512), 2048
    expected = 5 * 100 * 1000 * step + (5 * 100 * watched + 5 * scored) * forward
    assert np.isclose(final.flops, expected, rtol=1e-9)
    assert [p.steps for p in search.phases if p.name == "train"] == [16 * 100 * 7]
    seconds = 16 * 100 * 800 * step / (989e12 * 0.325) + 16 * 200 * forward / (989e12 * 0.30)
    parts = H100.seconds_by_phase(search)
    assert parts["train"] + parts["val"] == pytest.approx(seconds)


def test_a_probe_pays_for_its_features_once():
    linear = work_of(STUDY, "search", Cell("vit_b16_sup21k", "linear", "svhn", "800"))
    assert [(p.name, p.images) for p in linear.phases if p.regime == "score"] == [("features", 1024)]


def test_a_shard_has_its_share_of_all_but_the_features():
    work = work_of(STUDY, "search", Cell("vit_b16_sup21k", "mlp", "svhn", "800"))
    features = sum(p.flops for p in work.phases if p.name == "features")
    assert work.share(0.25).flops == pytest.approx(features + (work.flops - features) / 4)


@settings(max_examples=15, deadline=None)
@given(st.sets(st.sampled_from([*GRAPH.targets, "all_tables", "all_figures"]), min_size=1, max_size=6))
def test_increments_sum_to_the_plan(targets):
    plan = Plan(STUDY, sorted(targets), H100)
    rows = plan.by_target()
    for kind in ("gpu_seconds", "cpu_seconds", "disk"):
        assert sum(row["more"][kind] for row in rows) == pytest.approx(
            plan.disk if kind == "disk" else getattr(plan, kind)
        )
    assert sum(row["jobs_more"] for row in rows) == len(plan.left)
    assert sum(row["gpu_seconds"] for row in plan.by_stage()) == pytest.approx(plan.gpu_seconds)
    assert sum(plan.by_phase().values()) == pytest.approx(plan.gpu_seconds)


def test_a_graph_runs_in_its_order():
    seen = set()
    for job in GRAPH.behind(["all"]):
        assert {need.key for need in GRAPH.needs(job)} <= seen
        seen.add(job.key)


def test_ft_then_pt_waits_for_fulls_finals():
    path = STUDY.path("final", Cell("vit_b16_sup21k", "ft_then_pt", "svhn", "800"))
    jobs = GRAPH.behind([path])
    assert {(j.stage, j.of["method"]) for j in jobs if "method" in j.of} == {
        (stage, method) for stage in ("search", "final") for method in ("full", "ft_then_pt")
    }


def test_the_papers_jobs_by_kind():
    stages = [job.stage for job in GRAPH.values()]
    assert stages.count("search") == len(STUDY.searches)
    assert stages.count("final") == len(STUDY.cells)
    assert 700 <= len(stages) <= 1300


def test_the_jobs_are_those_that_snakemake_counts(tmp_path):
    config = DEMO | {"results": str(tmp_path)}
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(config))
    words = [sys.executable, "-m", "snakemake", "-n", "all", "--configfile", str(tmp_path / "study.yaml")]
    shown = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    theirs: Counter[str] = Counter()
    stats = shown.split("Job stats:")[1].split("\n\n")[0]
    for rule, count in re.findall(r"^(\w+) +(\d+)$", stats, re.M):
        theirs[rule] += int(count)
    ours = Counter(job.stage for job in Graph(load_study(config)).behind(["all"]))
    assert {stage: theirs[stage] for stage in ours} == ours
    assert sum(ours.values()) + 1 == int(re.search(r"^total +(\d+)$", shown, re.M)[1])


def test_shards_share_the_work_and_are_put_together():
    sharded = load_study(DEMO | {"shards": {"final": 5, "methods": ["full"]}})
    graph = Graph(sharded)
    finals = [job for job in graph.values() if job.stage == "final_shard"]
    merges = [job for job in graph.values() if job.stage == "final_merge"]
    assert len(finals) == 5 * len(merges) > 0
    assert {job.share for job in finals} == {0.2}
    assert {job.of["method"] for job in finals} == {"full"}
    assert all(sum(need in finals for need in graph.needs(job)) == 5 for job in merges)


def test_what_is_done_costs_nothing(tmp_path):
    study = load_study(DEMO | {"results": str(tmp_path)})
    cpu = Speed(DEVICES["cpu"])
    before, graph = Plan(study, ["all"], cpu), Graph(study)
    search = next(job for job in graph.values() if job.stage == "search")
    for path in search.files:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).touch()
    after = Plan(study, ["all"], cpu)
    assert before.cpu_seconds - after.cpu_seconds == pytest.approx(before.costs[search.key].seconds)
    assert after.done == {search.key}
    assert Plan(study, ["all"], cpu, whole=True).cpu_seconds == pytest.approx(before.cpu_seconds)


def test_switches_are_differences_of_whole_plans():
    def cost(config):
        return Plan(load_study(config), ["all"], Speed(DEVICES["cpu"]), whole=True).cpu_seconds

    one = DEMO | {"curves": {"seeds": 1, "images": 250}}
    found = {s.keys: s.gpu_seconds for s in switches(one, cost)}
    assert found["curves: {seeds: all}"] == pytest.approx(cost(DEMO) - cost(one))
    assert found["curves: {seeds: all, images: 100000}"] > found["curves: {seeds: all}"] > 0
    assert found["regrid: true"] > 0 > found["curves: {seeds: 0}"]
    assert "curves: {seeds: all}" not in {s.keys for s in switches(DEMO, cost)}


def test_devices_by_their_full_names():
    assert device_of("NVIDIA H100 80GB HBM3").name == "H100"
    assert device_of("cpu x86_64").name == "cpu"
    with pytest.raises(ConfigError, match="device: 'H10' is unknown; did you mean 'H100'"):
        device_of("H10")


def test_json_has_what_the_tables_show(tmp_path, capsys):
    printout.plan(DEMO | {"results": str(tmp_path)}, ["table_01"], as_json=True)
    shown = json.loads(capsys.readouterr().out)
    assert shown["device"] == "cpu"
    assert shown["jobs"] > 0
    assert "estimates" in shown["basis"]
    assert sum(row["more"]["cpu_seconds"] for row in shown["by_target"]) == pytest.approx(shown["cpu_seconds"])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["table_5"], "target: 'table_5' is unknown; did you mean 'table_"),
        (["results/paper/tables/table_1.html"], "table_1.html: no job of study paper makes it; near: results/paper/"),
        (["--gpus", "0"], "--gpus: 0; expected at least 1"),
        (["--device", "H10"], "device: 'H10' is unknown"),
        (["--check", "nowhere"], "nowhere: no finished searches or finals here"),
    ],
)
def test_mistakes_end_in_one_line(words, message, capsys):
    assert main.main(["plan", *words]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_the_tables_are_printed(tmp_path, capsys):
    printout.plan(DEMO | {"results": str(tmp_path)}, [])
    printed = capsys.readouterr().out
    for title in ("What is to be done", "Table by table", "What dominates", "What each switch changes"):
        assert title in printed
