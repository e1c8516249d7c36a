"""One list of jobs: what Snakemake would make, what the plan counts and what the audit looks for are the same files."""

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from vptstudy.audit.asked import asked
from vptstudy.config.resolve import load_study
from vptstudy.graph.jobs import Graph, jobs
from vptstudy.plan.devices import DEVICES
from vptstudy.plan.estimate import Plan
from vptstudy.plan.seconds import Speed
from vptstudy.study import Cell

ROOT = Path(__file__).parents[3]
DEMO = yaml.safe_load((ROOT / "profiles/demo/study.yaml").read_text())
PAPER = yaml.safe_load((ROOT / "config.yaml").read_text())
SHARDS = {"search": 2, "final": 3, "methods": ["full", "vpt"]}
STUDIES = {"demo": DEMO, "paper": PAPER, "shards": DEMO | {"shards": SHARDS}}


def listed_by_snakemake(config: dict, folder: Path) -> set[str]:
    """Every output of every job of a dry run, by Snakemake's own summary."""
    (folder / "study.yaml").write_text(yaml.safe_dump(config))
    command = [sys.executable, "-m", "snakemake", "all", "--summary", "--snakefile", str(ROOT / "Snakefile")]
    command += ["--directory", str(folder), "--configfile", str(folder / "study.yaml")]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return {line.split("\t")[0] for line in shown.splitlines()[1:]}


@pytest.mark.parametrize("name", STUDIES)
def test_rules_plan_and_audit_have_one_set_of_files(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    study = load_study(STUDIES[name])
    models = {path for job in jobs(study) for path in job.files if path not in job.rule_files}
    assert all(path.endswith(".safetensors") for path in models)
    planned = {p for j in Plan(study, ["all"], Speed(DEVICES["cpu"])).jobs.values() for p in j.files}
    assert planned == listed_by_snakemake(STUDIES[name], tmp_path) | models
    results = {path for path in planned if "/shards/" not in path and not path.endswith("/.fetched")}
    audited = {f"{study.root}/{file}" for job in asked(study) for file in job.files}
    of_report = {path for path in audited if path.startswith(f"{study.root}/report/")}
    assert of_report
    assert audited - of_report == results - {f"{study.root}/report"}


@pytest.mark.parametrize("name", STUDIES)
def test_only_models_that_someone_reads_are_kept(name):
    graph = Graph(load_study(STUDIES[name]))
    kept = {path for path in graph.made_by if path.endswith(".safetensors") and "/models/" in path}
    read = {path for job in graph.values() for path in job.reads}
    of_shards = {path for path in kept if "/shards/" in path}
    assert kept - of_shards <= read
    # A shard's are linked by the job that puts the cell together.
    assert {Path(path).name for path in of_shards} <= {Path(path).name for path in kept - of_shards}


def test_every_input_is_made_by_a_job_that_comes_before():
    graph = Graph(load_study(DEMO))
    seen: set[str] = set()
    for job in graph.values():
        assert set(job.reads) <= seen, job.key
        seen |= set(job.files)


def test_a_cell_that_the_study_lacks_is_one_line():
    with pytest.raises(ValueError, match="study demo has no final of vit · vpt · digits · 7"):
        Graph(load_study(DEMO))["final", "vit", "vpt", "digits", "7"]


def test_a_rule_waits_for_the_rows_beside_a_model():
    graph = Graph(load_study(DEMO))
    maps = graph["explain", "vit_mini_cifar10", "digits", "160"]
    full = Cell("vit_mini_cifar10", "full", "digits", "160")
    rows, model = graph.study.path("final", full), graph.study.path("models", full, "seed=42.safetensors")
    assert graph.watched(maps)["model_full"] == rows
    assert graph.beside(maps)["reads"]["model_full"] == model
    assert graph.beside(graph["final", *vars(full).values()])["keeps"]["models"][0] == model
