"""The parts' own code on a CPU, small: what is equal holds, what is not fails, and bars are one card's."""

import json
import math
import time
from dataclasses import replace

import pytest
import torch

from bench.cases import VIT_TI, Work
from gpu_check import behave, checks, correct, drawn, jobs, models, speed, study
from gpu_check.result import FAILED, HOLDS
from vptcore.models.methods_table import METHODS
from vptcore.training.step import TrainStep

TINY = models.Sizes(side=16, patch=8, width=24, heads=3, depth=2)
SHIPPED = tuple(METHODS)  # before a test adds one
NEVER = tuple(replace(form, compile="never") for form in correct.FORMS[:1])


@pytest.fixture
def _uncompiled(monkeypatch):
    monkeypatch.setattr(correct, "FORMS", NEVER)
    monkeypatch.setattr(correct.torch, "set_num_threads", lambda count: None)


@pytest.mark.usefixtures("_uncompiled")
def test_the_same_steps_are_correct():
    """In fp32 on a CPU, of float64; and of themselves, not captured, to the last bit."""
    lines = [line for line in correct.run("cpu", math.inf, TINY, seed=1) if "captured" in line.name]
    assert [line.name for line in lines] == [f"{case.name}, fp32, captured" for case in models.CASES]
    assert {line.state for line in lines} == {HOLDS}, [line for line in lines if line.state != HOLDS]
    assert all(line.found.endswith("of the plain step's 0.0e+00, 0.0e+00") for line in lines)


@pytest.mark.usefixtures("_uncompiled")
def test_time_that_is_up_skips_by_name():
    lines = [line for line in correct.run("cpu", 0.0, TINY) if "captured" in line.name]
    assert [line.found for line in lines] == ["no time left: make gpu-check PART=correct"] * len(models.CASES)


def test_every_method_that_trains_through_the_backbone_is_checked_or_built_as_one_that_is():
    """Those left out differ in what they start from or in their rates alone."""
    alike = {"ft_then_pt", "spt", "lp_ft", "full_decayed"}
    trained = {name for name, row in METHODS.items() if not row.probe and name in SHIPPED}
    assert {case.method for case in models.CASES} == trained - alike


@pytest.mark.parametrize("case", models.CASES, ids=lambda case: case.name)
def test_a_step_that_is_off_is_found(monkeypatch, case):
    plain = correct._steps(case, correct.EAGER[False], "cpu", TINY)
    assert len(set(plain.losses)) == correct.STEPS
    recipe = models.recipe(case, TINY.batch)
    monkeypatch.setattr(models, "recipe", lambda *_: replace(recipe, lr=recipe.lr * 1.5))
    off = correct._steps(case, correct.EAGER[False], "cpu", TINY)
    assert correct.compared("x", NEVER[0], plain, off, off, "cpu").state == FAILED, "not the CPU's"
    assert correct.compared("x", NEVER[0], off, plain, off, "cpu").state == FAILED, "not the plain step's"


def test_nan_and_a_step_that_was_not_captured_fail():
    good = correct.Seen([1.0] * 20, torch.ones(2, 3), "yes", "yes", torch.ones(9))
    form = correct.FORMS[1]
    assert correct.compared("x", form, good, good, good, "cuda").state == HOLDS
    for bad in (
        replace(good, losses=[1.0] * 19 + [math.nan]),
        replace(good, logits=torch.full((2, 3), math.nan)),
        replace(good, logits=good.logits * 1.01),
        replace(good, losses=[1.04] * 20),
        replace(good, gradients=good.gradients * 1.1),
        replace(good, gradients=torch.full((9,), math.nan)),
        replace(good, captured="no (x)"),
        replace(good, compiled="no (x)"),
    ):
        assert correct.compared("x", form, good, good, bad, "cuda").state == FAILED, bad


def test_dropout_and_attention_are_seen_on_a_cpu_too():
    lines = {line.name: line for line in checks.lines("correct", drawn.checks("cpu"), math.inf)}
    assert {name: line.state for name, line in lines.items() if name.startswith("dropout")} == {
        "dropout in a graph": HOLDS, "dropout of a seed": HOLDS,
    }  # fmt: skip
    flash = lines["attention of one query, flash"]
    assert (flash.state, lines["attention of one query, cuDNN"].state) == (HOLDS, "skipped")


def test_a_graph_that_draws_once_is_found(monkeypatch):
    """As a captured dropout without a generator of its own would."""
    layer, kept = drawn.Prompts.layer, []

    def once(self, index, batch):
        kept.append(layer(self, index, batch))
        return kept[0]

    monkeypatch.setattr(drawn.Prompts, "layer", once)
    assert drawn._dropped("cpu", "x").state == FAILED


def test_on_a_cpu_timings_are_facts(monkeypatch):
    small = replace(VIT_TI, size=32, options={"img_size": 32, "depth": 1})
    monkeypatch.setattr(speed, "SWIN", TINY.swin)
    monkeypatch.setattr(speed, "TIMED", (*speed.TIMED[:2], speed.TIMED[-1]))
    lines = list(speed.run("cpu", math.inf, Work(small, "cpu", batch=4, steps=1)))
    names = ["VPT, p = 50, batch 4", "evaluation, VPT, p = 50", "FT, batch 4", "VPT, p = 10, Swin-B, batch 4"]
    grid = "a grid of 40, VPT, p = 50, extrapolated"
    assert [line.name for line in lines] == [names[0], grid, *names[1:]]
    assert {line.state for line in lines} == {"fact"}
    # 40 x 100 epochs x 800 images, in batches of 64 as the case has on a card; eight captures of half a second.
    minutes = (8 * 0.5 + 40 * 100 * 800 / 64 * lines[0].timing["ms_per_step"] / 1000) / 60
    assert lines[1].found == f"{minutes:.1f} minutes"
    for line in (line for line in lines if line.name != grid):
        assert line.timing["images_per_second"] > 0
    assert lines[0].timing["ms_per_step"] == pytest.approx(4000 / lines[0].timing["images_per_second"])


@pytest.mark.parametrize(("name", "rate", "state"), [
    ("NVIDIA H100 80GB HBM3", 3301, HOLDS), ("NVIDIA H100 80GB HBM3", 3299, FAILED), ("NVIDIA H200", 3299, FAILED),
    ("NVIDIA GH200 480GB", 3299, FAILED), ("NVIDIA A40", 10, "fact"), ("NVIDIA H100 PCIe", 10, "fact"),
    ("NVIDIA H100 80GB HBM3 MIG 2g.20gb", 10, "fact"),
])  # fmt: skip
def test_bars_are_an_h100s(monkeypatch, name, rate, state):
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: name)
    monkeypatch.setattr(speed, "held_by_others", lambda device: 0)
    line = speed.judged("FT", rate, 3300, 105e9, "cuda", {}, "compiled: yes")
    assert line.state == state
    # 105 GFLOP an image; dense bf16 peaks of the data sheets.
    peaks = {"NVIDIA A40": 149.7e12, "NVIDIA H100 PCIe": 756e12, "NVIDIA GH200 480GB": 990e12}
    peak = peaks.get(name, 989e12 * (2 / 7 if "MIG" in name else 1))
    assert line.timing["share_of_peak"] == pytest.approx(105e9 * rate / peak)


def test_a_card_that_others_use_has_no_bars(monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "NVIDIA H100 80GB HBM3")
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: 5 << 30)
    for held, expected in ((6 << 30, "3,300 on an H100"), (17 << 30, "no bar: other processes hold 12.0 GiB")):
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device, held=held: ((80 << 30) - held, 80 << 30))
        assert speed.judged("FT", 10, 3300, 105e9, "cuda", {}, "").expected == expected


@pytest.mark.slow
def test_the_study_runs_and_is_audited(monkeypatch):
    config = study.config
    monkeypatch.setattr(study, "config", lambda device: config(device) | {"compile": "never"})
    lines = list(study.run("cpu", time.monotonic() + 400))
    assert [(line.name, line.state) for line in lines] == [
        (name, HOLDS)
        for name in (
            "the study ends",
            "rows name the device",
            "steps are captured",
            "full: as on a CPU",
            "vpt: as on a CPU",
            "linear: as on a CPU",
            "bf16 against fp32",
            "the audit holds",
        )
    ], json.dumps([line.found for line in lines])


def test_accuracies_are_held_to_a_cpus_by_two_standard_errors():
    """Of two seeds of 500 images, near 70 %: 4.0 to 4.2 points."""
    expected = {"accuracies": {name: {"val": [0.5], "test": [0.70, 0.70]} for name in study.METHODS}}
    for test, state in ((0.739, HOLDS), (0.742, FAILED), (0.659, HOLDS), (0.657, FAILED)):
        found = {name: {"val": [0.6], "test": [test, test]} for name in study.METHODS}
        lines = list(study._accuracies(found, expected))
        assert {line.state for line in lines} == {state}, test
        assert all("val 10.0 points apart" in line.found for line in lines)
    shipped = json.loads(study.EXPECTED.read_text())["accuracies"]
    grids = study.config("cpu")["methods"]
    for name in study.METHODS:
        grid = grids[name]["grid"]
        assert len(shipped[name]["val"]) == len(grid["lr"]) * len(grid["weight_decay"])
        assert len(shipped[name]["test"]) == 2
        assert min(shipped[name]["test"]) > 0.3, "ten digits, learnt"


@pytest.mark.parametrize(("ours", "theirs", "state"), [(16, 4, FAILED), (14, 6, HOLDS), (5, 0, FAILED), (0, 0, HOLDS)])
def test_bf16_may_lose_no_more_than_chance_would(ours, theirs, state):
    assert study._paired(ours, theirs, 1000).state == study._paired(theirs, ours, 1000).state == state


def test_an_epoch_in_which_somebody_waits_is_found(monkeypatch):
    """`TrainStep.__call__` raises as torch does; the patch is taken back afterwards."""
    call = TrainStep.__call__
    monkeypatch.setattr(torch.cuda, "set_sync_debug_mode", lambda mode: None)
    assert "captured: no (no GPU)" in behave._nobody_waits(behave.VPT, "cpu", "x").found

    def waits(self, draws):
        raise RuntimeError("called a synchronizing CUDA operation\nmore")

    monkeypatch.setattr(TrainStep, "__call__", waits)
    line = behave._nobody_waits(behave.VPT, "cpu", "x")
    assert line.state == FAILED
    assert "after 0 steps: called a synchronizing CUDA operation" in line.found
    monkeypatch.undo()
    assert TrainStep.__call__ is call


def test_two_jobs_take_turns_on_one_card(monkeypatch):
    line = jobs.one_at_a_time("x")
    assert (line.state, line.found) == (HOLDS, "the second said: waiting for a GPU: other jobs have 0, then: got 0")
    monkeypatch.setattr(jobs, "WAITS", "print('got 0')")
    assert jobs.one_at_a_time("x").state == FAILED


def test_a_run_that_does_not_go_on_is_found(monkeypatch):
    assert behave._goes_on("cpu", False, "x").state == HOLDS
    fit = behave.fit
    monkeypatch.setattr(behave, "fit", lambda *a, checkpoint=None, **more: fit(*a, **more))
    assert behave._goes_on("cpu", False, "x").state == FAILED


def test_kernels_that_overlap_are_counted_once():
    assert speed.covered([(0, 4), (3, 5), (8, 9), (8.5, 8.7)], 1) == 4 + 1
    assert speed.covered([], 0) == 0


def test_the_shortest_gaps_between_kernels_are_no_waits():
    """Kernels of 0-40, 42-50 and 70-80 us in an epoch of 100 that begins at -20."""
    spans = [(0.0, 40.0), (42.0, 50.0), (70.0, 80.0)]
    assert speed.covered(spans, -20) == 40 + 8 + 10
    assert speed.covered(spans, -20, gap=10) == 40 + 2 + 8 + 10
    assert speed.covered(spans, -20, gap=20) == 100


@pytest.mark.parametrize("case", models.CASES, ids=lambda case: case.name)
def test_nothing_in_a_checked_model_is_drawn(case):
    """Each device has random numbers of its own, so a model that drew some would differ whatever the device does."""
    torch.manual_seed(1)
    model, train = models.model(case, TINY), models.images(TINY, "cpu")
    first, second = (correct._gradients(model, train, TINY.batch) for _ in range(2))
    assert torch.equal(first, second)
    assert float(first.norm()) > 0
