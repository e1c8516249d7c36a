"""Limits of jobs: enough for the work, more with each attempt and share, the same in every process."""

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from vptcore.choices import ConfigError
from vptstudy import plan
from vptstudy.config.resolve import load_study
from vptstudy.plan.devices import DEVICES, device_of
from vptstudy.plan.images import Counts
from vptstudy.plan.limits import LEAST_MINUTES
from vptstudy.plan.workload import fid_work
from vptstudy.study import Cell

PAPER = yaml.safe_load(Path("config.yaml").read_text())
DEMO = yaml.safe_load(Path("profiles/demo/study.yaml").read_text())
STUDY = load_study(PAPER)
SVHN = {m: Cell("vit_b16_sup21k", m, "svhn", "800") for m in ("full", "vpt", "linear")}


@pytest.mark.parametrize("stage", ["search", "final", "explain"])
def test_each_attempt_asks_for_as_much_again(stage):
    first, third = (plan.resources(STUDY, stage, SVHN["vpt"], attempt) for attempt in (1, 3))
    assert third == {"mem_mb": 3 * first["mem_mb"], "runtime": 3 * first["runtime"], "gpu": 1}


def test_every_job_of_the_paper_has_a_limit():
    asked = [plan.resources(STUDY, "search", c) for c in STUDY.searches]
    asked += [plan.resources(STUDY, "final", c) for c in STUDY.cells]
    asked += [
        plan.resources(STUDY, stage, task) for stage in ("features", "fid", "prepare") for task in STUDY.used("task")
    ]
    assert all(isinstance(v, int) and v >= 0 for limits in asked for v in limits.values())
    assert all(LEAST_MINUTES <= limits["runtime"] <= 48 * 60 for limits in asked)
    assert all(1500 <= limits["mem_mb"] <= 128_000 for limits in asked)


def test_a_longer_grid_a_larger_test_set_and_a_slower_device_ask_for_more():
    assert plan.runtime(STUDY, "search", SVHN["vpt"]) > plan.runtime(STUDY, "search", SVHN["linear"])
    dsprites = Cell("vit_b16_sup21k", "vpt", "dsprites_location", "800")
    kitti = Cell("vit_b16_sup21k", "vpt", "kitti_distance", "800")
    assert plan.runtime(STUDY, "final", dsprites) > plan.runtime(STUDY, "final", kitti)
    photographs = Cell("vit_b16_sup21k", "vpt", "diabetic_retinopathy", "800")
    assert plan.memory(STUDY, "final", photographs) > 42_670 * 224 * 224 * 3 / 1e6
    fast = load_study(PAPER | {"plan": {"device": "H100"}})
    assert plan.runtime(fast, "search", SVHN["full"]) < plan.runtime(STUDY, "search", SVHN["full"])


def test_a_shard_asks_for_its_share_of_the_time_and_for_all_of_the_memory():
    whole, quarter = (plan.resources(STUDY, "search", SVHN["full"], share=share) for share in (1.0, 0.25))
    assert quarter["mem_mb"] == whole["mem_mb"]
    assert LEAST_MINUTES <= quarter["runtime"] < whole["runtime"]


def test_jobs_that_train_nothing_ask_for_no_gpu():
    assert plan.resources(STUDY, "fid", "dtd")["gpu"] == plan.resources(STUDY, "prepare", "dtd")["gpu"] == 0


def test_a_study_on_the_cpu_fits_a_small_machine():
    demo = load_study(DEMO)
    assert max(plan.memory(demo, "final", cell) for cell in demo.cells) <= 2000


def test_an_unknown_stage_is_named():
    with pytest.raises(ValueError, match="stage 'train': choose one of search, final"):
        plan.runtime(STUDY, "train", SVHN["full"])


@pytest.mark.parametrize("name", [*DEVICES, "A100 MIG 3g.40gb", "NVIDIA H100 80GB HBM3"])
def test_the_config_knows_the_devices(name):
    load_study(PAPER | {"plan": {"device": name}})
    assert device_of(name).memory_gib or name == "cpu"


def test_a_device_that_no_plan_knows_is_one_line():
    with pytest.raises(ConfigError, match=r"plan.device: 'H10' is unknown; did you mean 'H100'"):
        load_study(PAPER | {"plan": {"device": "H10"}})


def test_no_torch():
    code = "import sys, vptstudy.plan; sys.exit(any(m in sys.modules for m in ('torch', 'timm')))"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_distances_cost_what_was_measured():
    """`python -m bench.fid`: 3.9 s of one core for 1,000 images, 2,048 dimensions, 60 resamples."""
    assert fid_work({"bootstrap": 60}, 2048, Counts(800, 200, 0, 0)).extra == pytest.approx(3.9, rel=0.1)
