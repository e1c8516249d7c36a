"""Advice without training: what was brought, the rungs' configs, who goes on, and words that say no more than rows."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from vptcore.analysis.paired import paired_difference
from vptcore.records import write_text
from vptstudy import slices
from vptstudy.advise import climb, rungs
from vptstudy.advise.backbone import choose
from vptstudy.advise.decide import ROPE, Verdict, balanced, choose_finalists, decide
from vptstudy.advise.look import lines, look, name_for
from vptstudy.advise.matrices import Finished
from vptstudy.advise.rungs import ARMS, RATES, Arm, Budget, Runs, Setting, batch_for, beyond
from vptstudy.advise.say import Basis, listed, page, paragraph, share_text, size_text, time_text, told
from vptstudy.advise.weigh import Weight
from vptstudy.config.resolve import load_study
from vptstudy.study import Cell


def photographs(root: Path, counts: dict[str, int]) -> Path:
    for name, count in counts.items():
        (root / name).mkdir(parents=True)
        for number in range(count):
            Image.new("RGB", (8, 8), (number, 0, 0)).save(root / name / f"{number}.png")
    return root


@pytest.fixture
def setting(tmp_path) -> Setting:
    return Setting(look(photographs(tmp_path / "Pet photos", {"cat": 30, "dog": 6})), "results", "vit_mini_cifar10")


def test_what_is_said_of_the_images(setting):
    said = "\n".join(lines(setting.look))
    assert "36 images in 2 classes (cat, dog): 6 (dog) to 30 (cat) a class" in said
    assert "no test folder" in said
    assert "balanced accuracy" in said
    assert setting.look.name == "pet_photos"


def test_classes_of_one_size_are_said_once(tmp_path):
    found = look(photographs(tmp_path / "even", {"cat": 12, "dog": 12}))
    assert next(lines(found)) == "24 images in 2 classes (cat, dog): 12 a class"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("My photos (2)", "my_photos_2"),
        ("digits", "digits_own"),
        ("2024", "images_2024"),
        ("Käse", "kase"),
        ("été 2024", "ete_2024"),
        ("写真", "images_6b93"),
        ("a.b", "a"),
    ],
)
def test_names(name, expected):
    assert name_for(Path("/somewhere") / name) == expected


def test_what_cannot_be_advised_on_is_one_line(tmp_path):
    with pytest.raises(ValueError, match="no such file or folder; expected a folder of class folders"):
        look(tmp_path / "none")
    with pytest.raises(ValueError, match="no images in it"):
        look(tmp_path)
    with pytest.raises(ValueError, match="one class alone"):
        look(photographs(tmp_path / "one", {"cat": 30}))
    with pytest.raises(ValueError, match="4 images; expected at least 20"):
        look(photographs(tmp_path / "few", {"cat": 2, "dog": 2}))
    (tmp_path / "list.txt").write_text("x")
    with pytest.raises(ValueError, match="a txt file; expected"):
        look(tmp_path / "list.txt")


def test_a_backbone_is_named_or_what_the_machine_can_do():
    with pytest.raises(ValueError, match="--backbone: 'vit_mini_cifar' is unknown; did you mean 'vit_mini_cifar10'"):
        choose("vit_mini_cifar")
    name, rows, _ = choose("vit_tiny_patch16_224")
    assert rows[name]["width"] == 192
    assert rows[name]["size"] == 224
    with pytest.raises(ValueError, match="whose weights are they"):
        choose("", "weights.safetensors")
    with pytest.raises(ValueError, match=r"no file weights\.safetensors"):
        choose("vit_mini_cifar10", "weights.safetensors")


BUDGET = Budget(epochs=20, batch=16, train=200)


def test_every_rung_is_a_study(setting):
    best = {Arm("vpt", 5): (0.125,), Arm("full"): (3e-4,), Arm("lora"): (1e-3,)}
    configs = [rungs.probe(setting, BUDGET), *rungs.rates(setting, BUDGET, {arm: RATES[arm.method] for arm in ARMS}),
               rungs.schedules(setting, BUDGET, best), rungs.study(setting, BUDGET, best)]  # fmt: skip
    studies = [load_study(config) for config in configs]
    assert [study.name for study in studies] == ["probe", "rates_5", "rates_20", "schedules", "pet_photos"]
    assert {study.root for study in studies[:-1]} == {f"results/pet_photos/rungs/{s.name}" for s in studies[:-1]}
    assert studies[-1].root == "results/pet_photos"
    assert [study.config["epochs"] for study in studies[1:]] == [5, 5, 20, 20]
    arms = {(cell.method, study.prompt_length(cell)) for study in studies[1:3] for cell in study.searches}
    assert arms == {(arm.method, arm.length) for arm in ARMS}
    texts = [rungs.as_text(config) for config in configs]
    assert [yaml.safe_load(text) for text in texts] == configs
    assert max(text.count("\n") for text in texts) <= 20
    final = studies[-1]
    assert (len(final.seeds), final.config["keep"]) == (5, "best")
    cell = Cell("vit_mini_cifar10", "full", "pet_photos", "200")
    (rate,) = final.config["methods"]["full"]["grid"]["lr"]
    # The optimizer sees what the short schedules found: a config's rate is scaled by batch / 256.
    recipe = slices.search(final, cell)["recipe"]
    assert rate * recipe["batch"] / 256 == pytest.approx(3e-4)
    # As BEiT fine-tunes: a block learns at three quarters of the rate of the one after it.
    assert (recipe["layer_decay"], final.config["methods"]["full"]["grid"]["weight_decay"]) == (0.75, [0.05])


def test_a_folder_of_the_same_name_does_not_take_the_firsts_place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    here, there = (
        Setting(look(photographs(tmp_path / where / "pets", {"cat": 12, "dog": 12})), "results", "vit_mini_cifar10")
        for where in ("here", "there")
    )
    rungs.check_owner(here)
    study = load_study(rungs.images(here))
    write_text(Path(study.root) / "config.yaml", rungs.as_text(rungs.images(here)))
    rungs.check_owner(here)
    with pytest.raises(ValueError, match=r"results/pets: holds the advice for .*here/pets; give this one another name"):
        rungs.check_owner(there)
    (tmp_path / "here").rename(tmp_path / "moved")
    rungs.check_owner(there)


@pytest.mark.parametrize(("seconds", "computed"), [(30, True), (600, False)])
def test_a_login_node_computes_no_more_than_it_bears(setting, tmp_path, monkeypatch, capsys, seconds, computed):
    monkeypatch.chdir(tmp_path)
    study = load_study(rungs.probe(setting, BUDGET))
    Path(setting.root).mkdir(parents=True)
    images = {"sha256": "b2"}
    monkeypatch.setattr(climb, "read_provenance", lambda path: {"job_hash": "a1", "inputs": {"images": images}})
    monkeypatch.setattr(climb.floor, "seconds_of_neighbours", lambda study: seconds)
    monkeypatch.setattr(climb.floor, "neighbours", lambda study: {"val": 0.5, "test": 0.6})
    near = climb._floor(setting, study, SimpleNamespace(is_cluster=True))
    assert near.get("test") == (0.6 if computed else None)
    said = "nearest neighbours are left out: their features would take 10 minutes here"
    assert (said in capsys.readouterr().out) is not computed
    here = SimpleNamespace(is_cluster=False)
    assert climb._floor(setting, study, here)["val"] == 0.5
    monkeypatch.setattr(climb.floor, "neighbours", lambda study: {"val": 0.7, "test": 0.6})
    assert climb._floor(setting, study, here)["val"] == 0.5
    images["sha256"] = "c3"  # another photograph
    assert climb._floor(setting, study, here)["val"] == 0.7


def test_rates_are_told_as_the_configs_and_the_jobs_lines_have_them(setting):
    """0.001 in batches of 16 is 0.016 in batches of 256."""
    config = rungs.schedules(setting, BUDGET, {Arm("full"): (0.001,)})
    assert config["methods"]["full"]["grid"]["lr"] == [rungs.as_config(0.001, BUDGET)] == [0.016]


def test_each_fold_trains_its_own_rate_alone(setting):
    folds = replace(setting, splits=("1.csv", "2.csv"))
    best = {Arm("vpt", 5): (0.125, 0.5), Arm("full"): (3e-4, 3e-4)}
    study = load_study(rungs.schedules(folds, BUDGET, best))
    rates = {(c.method, c.task): [lr * BUDGET.batch / 256 for lr in slices.search(study, c)["grid"]["lr"]]
             for c in study.searches}  # fmt: skip
    assert rates["vpt", "pet_photos_1"] == pytest.approx([0.125], rel=0.01)
    assert rates["vpt", "pet_photos_2"] == pytest.approx([0.5], rel=0.01)
    assert rates["full", "pet_photos_1"] == rates["full", "pet_photos_2"] == pytest.approx([3e-4], rel=0.01)
    assert rates["linear", "pet_photos_1"] == pytest.approx(RATES["linear"], rel=0.01)


def test_seeds_are_jobs_of_their_own_where_no_folds_keep_the_cores_busy(setting):
    best, alone = {Arm("vpt", 5): (0.125,), Arm("linear"): (0.1,)}, {Arm("linear"): (0.1,)}
    assert rungs.study(setting, BUDGET, best, True)["shards"] == {"final": len(BUDGET.seeds), "methods": ["vpt"]}
    folds = replace(setting, splits=("1.csv", "2.csv"))
    assert [
        c.get("shards")
        for c in (
            rungs.study(setting, BUDGET, best),
            rungs.study(folds, BUDGET, {arm: rates * 2 for arm, rates in best.items()}, True),
            rungs.study(setting, BUDGET, alone, True),
        )
    ] == [None] * 3


def test_a_search_that_a_rung_has_done_is_not_done_again(setting, tmp_path, monkeypatch):
    """The finalists' one rate is what their full schedules had; a linear probe's grid is another one then."""
    monkeypatch.chdir(tmp_path)
    best = {Arm("vpt", 5): (0.125,), Arm("full"): (3e-4,)}
    done = load_study(rungs.schedules(setting, BUDGET, best))
    for cell in done.searches:
        rows = Path(done.path("search", cell))
        for file in (rows, Path(done.root, "manifest", f"{rows.relative_to(done.root)}.json")):
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(f"{cell.method}{file.suffix}")
    chosen = {Arm("vpt", 5): (0.125,), Arm("linear"): (1.0,)}
    last = climb._shared(done, rungs.study(setting, BUDGET, chosen), lambda config, _: load_study(config), None, done)
    found = {cell.method: Path(last.path("search", cell)) for cell in last.searches}
    assert found["vpt"].read_text() == "vpt.parquet"
    assert Path(last.root, "manifest", f"{found['vpt'].relative_to(last.root)}.json").read_text() == "vpt.json"
    assert not found["linear"].exists()


def test_a_best_rate_at_an_end_buys_two_more():
    assert beyond((1, 2, 4), 2) == ()
    assert beyond((1, 2, 4), 4) == (8, 16)
    assert beyond((1, 2, 4), 1.001) == (0.25, 0.5)
    assert beyond((3,), 3) == ()


@pytest.mark.parametrize(("train", "batch"), [(5, 8), (160, 8), (320, 16), (640, 32), (10**6, 32)])
def test_batches(train, batch):
    assert batch_for(train) == batch


def test_the_schedule_fits_into_the_time_and_is_no_shorter_than_it_must_be():
    for seconds in (100, 600, 3000):
        epochs = rungs.epochs_within(seconds, rungs.epoch_seconds(0.01, 640, 160, 2, Runs(5)))
        # 4 arms x 4 rates / 4, then 1 for ends, 3 methods, and 2 x 5 seeds on train and val.
        cost = 0.01 * epochs * (640 * (4 + 1 + 3) + 800 * 10) / 2
        longer = 0.01 * (epochs + 4) * (640 * 8 + 8000) / 2
        assert epochs % 4 == 0
        assert epochs == 8 or cost <= seconds
        assert epochs == 100 or longer > seconds


@pytest.mark.parametrize(
    ("minutes", "around", "epoch", "said"),
    [
        (10, 60, 10, "52 epochs: about 10 more minutes"),
        (
            2,
            50,
            10,
            "8 epochs, the shortest there are, take longer than you said: about 3 more minutes",
        ),
        (2, 20, 0.5, "100 epochs: about 2 more minutes"),
        (2, 20, 0.1, "100 epochs: about 1 more minute"),
    ],
)
def test_how_long_it_takes_is_said_and_not_promised(minutes, around, epoch, said):
    """By hand: (10 x 60 - 10 - 60) / 10 = 53 epochs, 52 of them; 60 + 520 s. (2 x 60 - 60) / 10 = 6, at least 8."""
    asked = climb.Time(minutes, 10, around)
    assert asked.told(rungs.epochs_within(asked.left, epoch), epoch) == f"full schedules of {said}"


def answers(accuracy: float, images: int, seed: int) -> np.ndarray:
    return (np.random.default_rng(seed).random(images) < accuracy).astype(float)


def test_the_two_best_go_on_and_hopeless_ones_are_dropped_by_name():
    right = {"full": answers(0.8, 1000, 1), "vpt": answers(0.79, 1000, 2), "linear": answers(0.5, 1000, 3)}
    choice = choose_finalists(right, {"full": 100, "vpt": 2, "linear": 1})
    assert set(choice.finalists) == {"full", "vpt"}
    (drop,) = choice.dropped
    assert drop.arm == "linear"
    assert "chance of being the best" in drop.why
    assert sum(choice.chances.values()) == pytest.approx(1)


def test_the_dearer_of_two_alike_goes():
    same = answers(0.8, 2000, 1)
    other = same.copy()
    other[:4] = 1 - other[:4]
    choice = choose_finalists(
        {"full": same, "vpt": other, "lora": answers(0.79, 2000, 5)}, {"full": 9, "vpt": 1, "lora": 2}
    )
    assert "full" not in choice.finalists
    assert next(d.why for d in choice.dropped if d.arm == "full") == "dearer than vpt and within 1 point of it"
    assert choice.alike


def test_what_costs_nothing_to_test_takes_no_place():
    right = {arm: answers(0.8, 100, seed) for seed, arm in enumerate(("linear", "vpt", "lora", "full"))}
    right["linear"][:] = 1 - 0.1 * (np.arange(100) % 10 == 0)  # the best on val by luck
    cost = {"linear": 1, "vpt": 2, "lora": 3, "full": 9}
    assert len(choose_finalists(right, cost).finalists) == 2
    choice = choose_finalists(right, cost, free=("linear",))
    assert choice.finalists[0] == "linear"
    assert len(choice.finalists) == 3
    assert len(choice.dropped) == 1


def test_a_free_arm_that_loses_leaves_the_others_verdict():
    right = {"linear": finals(0.5, 3), "full": finals(0.70, 1), "vpt_5": finals(0.80, 2)}
    cost = {"full": 100, "vpt_5": 2, "linear": 1}
    without = decide({arm: right[arm] for arm in ("full", "vpt_5")}, cost)
    assert decide(right, cost, free=("linear",)) == without
    assert decide({arm: right[arm] for arm in ("linear", "vpt_5")}, cost, free=("linear",)).other == "linear"


def test_a_free_arm_overturns_what_is_no_better():
    right = {"full": finals(0.60, 1), "vpt_5": finals(0.70, 2), "linear": finals(0.70, 3, seeds=5)}
    verdict = decide(right, {"full": 100, "vpt_5": 2, "linear": 1}, free=("linear",))
    assert (verdict.take, verdict.other) == ("linear", "vpt_5")


def test_what_another_beats_clearly_is_not_taken_though_every_step_to_it_is_open():
    """Probe and VPT cannot be told apart, nor VPT and full; full beats the probe."""
    right = {"vpt_5": finals(0.75, 2, 200), "full": finals(0.76, 1, 200), "linear": finals(0.74, 3, 200)}
    cost = {"full": 100, "vpt_5": 2, "linear": 1}
    pairs = {pair: paired_difference(right[pair[0]], right[pair[1]]) for pair in combinations(right, 2)}
    assert [pair for pair, c in pairs.items() if c.low > 0 or c.high < 0] == [("full", "linear")]
    verdict = decide(right, cost, free=("linear",))
    assert (verdict.take, verdict.other, verdict.clear) == ("vpt_5", "full", False)


def test_a_probe_is_held_against_the_best_of_the_others():
    right = {"vpt_5": finals(0.60, 2, 60), "full": finals(0.65, 1, 60), "linear": finals(0.62, 3, 60)}
    verdict = decide(right, {"full": 100, "vpt_5": 2, "linear": 1}, free=("linear",))
    assert (verdict.take, verdict.other, verdict.clear) == ("linear", "full", False)
    text = say(verdict, right)
    assert all(f"{100 * side.mean():.1f} %" in text for side in right.values())


@given(st.lists(st.floats(0.5, 0.9), min_size=2, max_size=4), st.integers(20, 200), st.integers(0, 99))
@settings(max_examples=40, deadline=None)
def test_what_is_taken_is_never_clearly_beaten_and_the_cheapest_of_those(truths, images, seed):
    right = {str(k): finals(truth, seed + k, images) for k, truth in enumerate(truths)}
    cost = {arm: float(arm) for arm in right}
    verdict = decide(right, cost, free=("0",))
    beaten = {
        b for a in right for b in right if a != b and
        (gap := paired_difference(right[a], right[b]).scaled(100)).low > 0 and gap.high > ROPE
    }  # fmt: skip
    assert verdict.take == min(set(right) - beaten)
    assert verdict.contrast.difference == pytest.approx(
        100 * (right[verdict.take].mean() - right[verdict.other].mean()), abs=1e-9
    )


def test_finalists_are_rarely_far_from_the_best():
    """Known truth: five arms, 300 val images; the best of the two finalists lies close to the best of all."""
    truth = {"a": 0.80, "b": 0.79, "c": 0.76, "d": 0.70, "e": 0.55}
    lost = []
    for repeat in range(60):
        right = {arm: answers(value, 300, 100 * repeat + i) for i, (arm, value) in enumerate(truth.items())}
        choice = choose_finalists(right, dict.fromkeys(truth, 1.0))
        lost.append(0.80 - max(truth[arm] for arm in choice.finalists))
    assert np.median(lost) <= 0.01
    assert np.mean(lost) <= 0.012


def finals(accuracy: float, seed: int, images: int = 400, seeds: int = 5) -> np.ndarray:
    """(seeds, images): each image has its own difficulty, each seed a little luck."""
    rng = np.random.default_rng(seed)
    ease_N = np.random.default_rng(99).random(images)
    return (ease_N + 0.05 * rng.normal(size=(seeds, images)) < accuracy).astype(float)


def test_a_clear_difference_is_told_as_one():
    verdict = decide({"full": finals(0.70, 1), "vpt_5": finals(0.80, 2)}, {"full": 100, "vpt_5": 1})
    assert (verdict.take, verdict.other, verdict.clear) == ("vpt_5", "full", True)
    by_hand = paired_difference(finals(0.80, 2), finals(0.70, 1))
    assert verdict.contrast.difference == pytest.approx(100 * by_hand.difference)
    assert verdict.contrast.low == pytest.approx(100 * by_hand.low)


def test_what_cannot_be_told_is_said_and_the_cheaper_is_taken():
    verdict = decide({"full": finals(0.74, 1, 60), "vpt_5": finals(0.72, 2, 60)}, {"full": 100, "vpt_5": 1})
    assert (verdict.take, verdict.clear, verdict.same) == ("vpt_5", False, False)
    text = say(verdict, {"full": finals(0.74, 1, 60), "vpt_5": finals(0.72, 2, 60)})
    assert text.startswith("Cannot tell visual prompt tuning (5 prompts a layer) from full fine-tuning on these images")


def test_no_practical_difference_is_another_answer():
    right = {"full": finals(0.80, 1, 20_000), "vpt_5": finals(0.80, 2, 20_000)}
    verdict = decide(right, {"full": 100, "vpt_5": 1})
    assert (verdict.take, verdict.same) == ("vpt_5", True)
    assert "differ by less than 1 point" in say(verdict, right)


def test_one_finalist_needs_no_contrast():
    right = {"linear": finals(0.7, 1)}
    verdict = decide(right, {"linear": 1})
    assert verdict == Verdict("linear", "", True, False, None)
    assert "no other method came near it" in say(verdict, right)
    assert "the cheapest: the others are no better by more than 1 point" in say(replace(verdict, same=True), right)


def say(verdict: Verdict, right: dict[str, np.ndarray], folds: int = 1, weight: bool = True, **more) -> str:
    arms = {}
    for arm, side in right.items():
        tuned, memory = (1_200_000, 2_345_000_000) if arm == "full" else (13_000, 678_000_000)
        images = np.arange(side.shape[1])
        one = Finished(None, side, side, images, images % 3, tuned, 1_200_000, 10.0, 0.1)
        arms[arm] = told(one, arm, Weight(memory, 4.321) if weight else None)
    basis = Basis(next(iter(right.values())).shape[1], 3, folds, **more)
    val = dict.fromkeys(right, 0.75) | {"lora": 0.688}
    floor = {"nearest neighbours": 0.6} | {arm.name: arm.accuracy for arm in arms.values()}
    return paragraph(verdict, arms, floor, basis, val)


def test_the_paragraph_has_the_rows_own_numbers():
    right = {"full": finals(0.70, 1), "vpt_5": finals(0.80, 2)}
    text = say(decide(right, {"full": 100, "vpt_5": 1}), right)
    for side in right.values():
        assert f"{100 * side.mean():.1f} %" in text
    assert f"{100 * (right['vpt_5'].mean() - right['full'].mean()):+.1f} points [" in text
    assert "nearest neighbours 60.0 %" in text
    assert "Dropped after validation, where visual prompt tuning (5 prompts a layer) had 75.0 %: LoRA 68.8 %." in text
    assert "stores 52 kB a task (1.1 % of the numbers) where full fine-tuning stores 4.8 MB" in text
    assert "paired over images and 5 seeds" in text
    assert "s a seed with 678.0 MB of memory here where that takes 10 s and 2.3 GB" in text
    assert "It labels one image in 4.3 ms here" in text


def test_memory_and_speed_of_another_machine_are_left_out():
    right = {"full": finals(0.70, 1), "vpt_5": finals(0.80, 2)}
    text = say(decide(right, {"full": 100, "vpt_5": 1}), right, weight=False)
    assert text.endswith("and trains in 10 s a seed where that takes 10 s.")
    images = np.arange(400)
    one = told(Finished(None, right["full"], right["full"], images, images % 3, 5, 50, 10.0, 0.1), "full", None)
    assert page("pets", text, [one], {}, {}).count("<td>–</td>") == 2


def test_names_are_listed_as_one_writes_them():
    assert [listed("abc"[:count]) for count in (1, 2, 3)] == ["a", "a and b", "a, b and c"]


def test_folds_are_told_as_such():
    right = {"full": finals(0.74, 1, 60), "vpt_5": finals(0.72, 2, 60)}
    text = say(decide(right, {"full": 100, "vpt_5": 1}), right, folds=5)
    assert "On all 60 images of 3 classes, each tested in one of 5 folds, it labels" in text
    assert "more images would settle it" in text


def test_a_model_that_learned_nothing_is_not_recommended_without_a_word():
    right = {"full": finals(0.16, 1, 60), "vpt_5": finals(0.13, 2, 60)}
    verdict = decide(right, {"full": 100, "vpt_5": 1})
    warning = "Always naming the most frequent class would be right in 16.7 %, and this is not clearly better"
    assert warning in say(verdict, right, most=1 / 6)
    assert "most frequent" not in say(verdict, right, most=0.01)


def test_balanced_accuracy_is_told_where_classes_differ_in_size():
    right = {"full": finals(0.7, 1), "vpt_5": finals(0.8, 2)}
    text = say(decide(right, {"full": 100, "vpt_5": 1}), right, skewed=True)
    classes = np.arange(400) % 3
    even = [100 * np.mean([side[:, classes == k].mean() for k in range(3)]) for side in right.values()]
    assert (
        f"(balanced accuracy): visual prompt tuning (5 prompts a layer) {even[1]:.1f} % and full fine-tuning "
        f"{even[0]:.1f} %." in text
    )


def test_what_more_images_cannot_settle_is_said():
    right = {"full": finals(0.7, 1, 60), "vpt_5": finals(0.7, 2, 60)}
    verdict = replace(decide(right, {"full": 100, "vpt_5": 1}), more=None)
    assert "More test images alone would hardly settle it." in say(verdict, right)


@pytest.mark.parametrize(("share", "text"), [(1.0, "100 %"), (0.00032, "0.032 %"), (0.0109, "1.1 %"), (0.456, "46 %")])
def test_shares_have_two_digits(share, text):
    assert share_text(share) == text


def test_no_training_takes_zero_seconds():
    assert (time_text(0.3), time_text(50.2)) == ("less than a second", "50 s")


def test_sizes_and_classes():
    assert (size_text(52_000), size_text(86_700_000)) == ("52 kB", "86.7 MB")
    assert balanced(np.array([1.0, 1, 1, 0]), np.array([0, 0, 0, 1])) == 0.5


def test_a_page_escapes_what_a_folder_is_called():
    tables = {"Per <class>": (("x",), [("<i>",)])}
    text = page("<script>", "a & b", [], tables, {"r": "report/index.html"}, ["1 .txt (<b>.txt)"])
    assert "<li>1 .txt (&lt;b&gt;.txt)</li>" in text
    assert "<script>" not in text
    assert "<i>" not in text
    assert "a &amp; b" in text


def test_a_rung_is_run_with_the_profile_and_its_failure_is_the_advices(setting, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    calls = []
    monkeypatch.setattr("vptstudy.run.launch.run", lambda *given: calls.append(given) or 7)
    assert climb.advise(setting.look, 1, setting, climb.Runner("slurm", "3")) == 7
    ((profile, targets, cores, config),) = calls
    assert (profile, cores) == ("slurm", "3")
    assert targets == ["results/pet_photos/rungs/images/index/task=pet_photos/rows.parquet"]
    assert load_study(yaml.safe_load(config.read_text())).name == "images"
    assert "[1/5] look" in capsys.readouterr().out
