"""Plans: one cell counted by hand, increments that sum to the whole, the jobs that Snakemake would run."""

import json
import re
import subprocess
import sys
from collections import Counter
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from vptcore.choices import ConfigError
from vptcore.models.backbones import BACKBONES
from vptcore.models.outline import shape_of
from vptcore.training.flops import forward_flops, step_flops
from vptcore.training.protocol import PROTOCOLS
from vptcore.training.recipe import Recipe
from vptstudy.cli import main
from vptstudy.config.resolve import load_study
from vptstudy.graph.jobs import Graph
from vptstudy.plan import printout
from vptstudy.plan.devices import DEVICES, Device, device_of
from vptstudy.plan.estimate import Plan
from vptstudy.plan.images import Counts
from vptstudy.plan.limits import work_of
from vptstudy.plan.seconds import Speed
from vptstudy.plan.switches import switches
from vptstudy.plan.workload import final_work, search_work
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
    scored, watched = 512 * -(-26032 // 512), 512
    expected = 5 * 100 * 1000 * step + (5 * 100 * watched + 5 * scored) * forward
    assert np.isclose(final.flops, expected, rtol=1e-9)
    assert [p.steps for p in search.phases if p.name == "train"] == [16 * 100 * 7]
    seconds = 16 * 100 * 800 * step / (989e12 * 0.325) + 16 * 200 * forward / (989e12 * 0.30)
    parts = H100.seconds_by_phase(search)
    assert parts["train"] + parts["val"] == pytest.approx(seconds)
    weights = shape_of(BACKBONES["vit_b16_sup21k"].__dict__).parameters
    # Batches of 128 and 32 of 800, four decays; of 128 and 104 of 1,000. Test is scored 512 at a time.
    assert (len(search.steps), search.captures, len(search.scorings), search.builds) == (2, 2 * 4, 0, 1)
    assert (len(final.steps), final.captures, len(final.scorings), final.builds) == (2, 2, 1, 1)
    assert {size for *_, size in final.scorings} == {512}
    assert parts["compile"] == 2 * 12
    assert parts["capture"] == 8 * 0.5
    assert parts["build"] == pytest.approx(20e-9 * weights)
    again = H100.seconds_by_phase(final, compiled=final.steps | final.scorings)
    assert again["compile"] == 3 * 1.5
    assert again["build"] == pytest.approx(20e-9 * weights + 5 * 4 * weights / 2e9)
    assert again["read"] == pytest.approx((1000 + 26032) * 32 * 32 * 3 / 500e6)


TINY = {
    "backbone": BACKBONES["vit_b16_sup21k"].__dict__, "pool": "token", "deep": True, "classes": 5, "compile": "auto",
    "device": "auto", "method": "vpt", "prompt_length": 10, "settings": None, "seeds": [1, 2],
    "parts": ["train", "val"], "curve_seeds": 1, "curve_images": 40,
    "protocol": {**asdict(PROTOCOLS["paper"]), "val_every_epoch": False},
    "recipe": asdict(Recipe("sgd", 0.0, 0.0, 8, 3, 0)), "grid": {"lr": [1.0, 2.0, 3.0], "weight_decay": [0.0, 0.1]},
}  # fmt: skip


def test_a_tiny_search_and_final_by_hand():
    """20 train, 5 val, 600 test images: batches of 8 and 4 in the search, of 8 and 1 in the finals of 25."""
    counts = Counts(20, 5, 600, 1000)
    search, final = search_work(TINY, counts), final_work(TINY, counts)
    shown = [(p.name, p.images, p.steps) for p in search.phases]
    assert shown == [("train", 6 * 3 * 20, 6 * 3 * 3), ("val", 6 * 5, 6)]
    shown = [(p.name, p.images, p.steps) for p in final.phases]
    assert shown == [("train", 2 * 3 * 25, 2 * 3 * 4), ("test curve", 3 * 40, 3), ("test", 2 * 1024, 2 * 2)]
    assert {size for *_, size in search.steps} == {8, 4}
    assert {size for *_, size in final.steps} == {8, 1}
    assert not search.scorings | final.scorings, "600 images once, 40 three times: fewer than 2,048"
    assert (search.captures, final.captures) == (2 * 2, 2)
    assert (search.read, final.read) == (25 * 1000, 625 * 1000)
    card = Device("tiny", 1e12, 0.5, 0.25, "", start=7.0)
    seconds = Speed(card).seconds_by_phase(search, compiled={next(iter(search.steps))})
    step, forward = step_flops(TINY), forward_flops(TINY)
    weights = shape_of(TINY["backbone"]).parameters
    by_hand = {
        "start": 7, "compile": 12 + 1.5, "capture": 2, "train": 360 * step / 0.5e12, "val": 30 * forward / 0.25e12,
        "build": 20e-9 * weights, "read": 25_000 / 500e6, "other": 0,
    }  # fmt: skip
    assert seconds == pytest.approx(by_hand)
    cpu = search_work(TINY | {"device": "cpu"}, counts)
    assert (cpu.captures, len(cpu.steps)) == (0, 0)
    assert search_work(TINY | {"compile": "never"}, counts).captures == 4, "captured, though not compiled"


def test_what_one_job_compiles_the_others_load():
    """FT's finals of two tasks with as many images: the same steps and scorings, paid for once."""
    one = PAPER["experiments"]["strategies"] | {"methods": ["full"], "tasks": ["svhn", "dtd", "cifar100"]}
    plan = Plan(load_study(PAPER | {"experiments": {"strategies": one}}), ["all_tables"], H100, whole=True)
    finals = [cost for id, cost in plan.costs.items() if id[0] == "final"]
    compile = sorted(cost.phases["compile"] for cost in finals)
    # 128 images a step are the searches' too, 104 are not; a curve's 512 images are a scoring pass, as all others are.
    assert compile == [3 * 1.5, 3 * 1.5, 1.5 + 12 + 6]
    searches = sorted(cost.phases["compile"] for id, cost in plan.costs.items() if id[0] == "search")
    assert searches == [2 * 1.5, 2 * 1.5, 2 * 12]
    assert len({form for cost in plan.costs.values() for form in cost.compiles}) == 3 + 1
    assert any("4 compiled forms, on one machine or with one cache folder" in line for line in plan.assumptions)


def test_full_as_the_base_of_ft_then_pt_is_counted_once():
    def seconds(*methods):
        one = PAPER["experiments"]["strategies"] | {"methods": list(methods), "tasks": ["svhn"]}
        study = load_study(PAPER | {"experiments": {"strategies": one}, "explain": {"tasks": [], "images": 1}})
        plan = Plan(study, ["all_tables"], H100, whole=True)
        return {id: cost.gpu_seconds for id, cost in plan.costs.items() if id[0] in ("search", "final")}

    both, full = seconds("full", "ft_then_pt"), seconds("full")
    assert {(stage, method) for stage, _, method, *_ in both} == {
        (stage, method) for stage in ("search", "final") for method in ("full", "ft_then_pt")
    }
    assert len(both) == 4
    assert {id: both[id] for id in full} == pytest.approx(full)


def test_ft_then_pt_computes_with_vpts_blocks():
    """It starts from other weights, and compiles nothing; Mixed trains them, and does."""
    forms = {}
    for method in ("vpt", "ft_then_pt", "mixed"):
        work = work_of(STUDY, "search", Cell("vit_b16_sup21k", method, "svhn", "800"))
        forms[method] = work.steps
    assert forms["vpt"] == forms["ft_then_pt"]
    assert not forms["vpt"] & forms["mixed"]


@pytest.mark.slow
def test_the_page_shows_what_is_printed(capsys):
    """`vptcore plan --device H100 --gpus 8`, of a study that nothing of is done."""
    printout.plan(PAPER | {"results": "nowhere"}, [], device="H100", gpus=8)
    page = Path("docs/plan.md").read_text().split("```\nStudy paper", 1)[1].split("\n```", 1)[0]
    said = "\n".join(line.rstrip() for line in capsys.readouterr().out.rstrip("\n").splitlines())
    assert "Study paper" + page == said


def test_the_page_counts_the_papers_jobs_and_hours():
    plan = Plan(STUDY, ["all"], H100, whole=True)
    hours = plan.gpu_seconds / 3600
    last = re.search(r"^(\d+) jobs, ([\d.]+) GPU-hours, ([\d.]+) GB", Path("docs/plan.md").read_text(), re.M)
    assert last.groups() == (str(len(plan.left)), f"{hours:.1f}", f"{plan.disk / 1e9:.1f}")


# Which experiments, the row of docs/plan.md, and the most hours at the assumed and the computed rates.
PAPERS_BARS = [
    ("all", "the whole study", 115, 103), ("no fgvc", "without FGVC", 92, 85),
    ("core", "VTAB-1k by FT, VPT, Mixed, FT-then-PT and linear", 20, 18.5),
]  # fmt: skip


@pytest.mark.parametrize(("asked", "row", "assumed", "computed"), PAPERS_BARS)
def test_the_papers_h100_hours(asked, row, assumed, computed):
    """Within their bars, and as the page says."""
    experiments = {name: e for name, e in PAPER["experiments"].items() if asked != f"no {name}"}
    if asked == "core":
        methods = ["full", "vpt", "mixed", "ft_then_pt", "linear"]
        experiments = {"strategies": PAPER["experiments"]["strategies"] | {"methods": methods}}
    study = load_study(PAPER | {"experiments": experiments})
    found = [
        Plan(study, ["all"], Speed(DEVICES["H100"].at(rates)), whole=True).gpu_seconds / 3600
        for rates in ("assumed", "computed")
    ]
    assert 0.8 * assumed < found[0] <= assumed
    assert 0.8 * computed < found[1] <= computed
    assert f"| {row} | {found[0]:.1f} | {found[1]:.1f} |" in Path("docs/plan.md").read_text().splitlines()


def test_a_probe_pays_for_its_features_once():
    linear = work_of(STUDY, "search", Cell("vit_b16_sup21k", "linear", "svhn", "800"))
    assert [(p.name, p.images) for p in linear.phases if p.regime == "score"] == [("features", 1024)]


def test_a_job_that_trains_nothing_makes_its_models_too():
    """20 ns a weight, once for features and twice for attribution maps."""
    weights = 20e-9 * shape_of(asdict(BACKBONES["vit_b16_sup21k"])).parameters
    stages = {job.kind: job for job in GRAPH.behind(["all"]) if job.kind in ("features", "explain")}
    seconds = {kind: H100.seconds_by_phase(work_of(STUDY, kind, job.subject))["build"] for kind, job in stages.items()}
    assert seconds == pytest.approx({"features": 24e6 * 20e-9, "explain": 2 * weights})


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


def test_a_switch_names_the_studys_own_methods_and_seeds():
    """The paper's study trains no `spt`, whose grid is as long as that of VPT."""
    costs = iter(range(10**6))
    said = {s.keys: s.loses for s in switches(STUDY.config | {"seeds": [1, 2, 3, 4]}, lambda _: next(costs))}
    named = said["methods: half the learning rates"].rpartition(" of ")[2].split(", ")
    assert set(named) <= set(STUDY.used("method"))
    assert "vpt" in named
    assert said["seeds: [1, 2, 3]"] == "wider intervals: 3 runs in place of 4"


def test_every_card_has_rates():
    for device in DEVICES.values():
        assert 0.2 < device.score < 0.7
        assert 0.2 < device.train < 0.7
        assert device.computed is None or all(0.2 < share < 0.6 for share in device.computed)


def test_computed_rates_by_hand():
    """VPT of 50 at batch 64 on an H100: 4.5 TFLOP of products at 600 TFLOP/s, 13.7 GB at 3.0 TB/s, a twentieth more."""
    share = DEVICES["H100"].at("computed").train
    flops = 64 * 70.3e9
    seconds = 1.05 * (flops / 600e12 + flops * 3.05e-3 / 3.0e12)
    assert share == pytest.approx(flops / seconds / 989e12, rel=2e-3)
    assert DEVICES["A100"].at("assumed") == DEVICES["A100"]
    with pytest.raises(ConfigError, match="--rates: computed rates are for GPUs with bf16 units, cpu has none"):
        DEVICES["cpu"].at("computed")
    with pytest.raises(ConfigError, match="--rates: 'computd' is unknown; did you mean 'computed'"):
        DEVICES["H100"].at("computd")


def test_devices_by_their_full_names():
    slice_ = device_of("NVIDIA A100-SXM4-40GB MIG 3g.20gb")
    assert (slice_.name, slice_.memory_gib) == ("A100 MIG 3g.20gb", 20)
    assert slice_.peak == pytest.approx(312e12 * 3 / 7)
    assert slice_.train > 0.9 * 0.9 * DEVICES["A100"].computed[0], "3/7 of the products, half of the bandwidth"
    names = {
        "NVIDIA H100 NVL": "H100 NVL",
        "NVIDIA L40": "L40",
        "4090": "RTX 4090",
        "NVIDIA GeForce RTX 3090": "RTX 3090",
    }
    assert {full: device_of(full).name for full in names} == names
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
        (["--device", "H10"], "device: 'H10' is unknown"),
        (["--check", "nowhere"], "nowhere: no finished searches or finals here"),
    ],
)
def test_mistakes_end_in_one_line(words, message, capsys):
    assert main.main(["plan", *words]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_a_number_of_gpus_is_a_whole_one(capsys):
    with pytest.raises(SystemExit, match="2"):
        main.main(["plan", "--gpus", "0"])
    assert "argument --gpus: '0' is not a whole number from 1 on" in capsys.readouterr().err
    with pytest.raises(ConfigError, match="--gpus: 0; expected at least 1"):
        printout.plan(DEMO, gpus=0)


def test_the_tables_are_printed(tmp_path, capsys):
    printout.plan(DEMO | {"results": str(tmp_path)}, [])
    printed = capsys.readouterr().out
    for title in ("What is to be done", "Table by table", "What dominates", "What each switch changes"):
        assert title in printed
