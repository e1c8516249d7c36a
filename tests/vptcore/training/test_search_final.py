"""Search and finals on files: resumption, features cached against recomputed, and what a person can get wrong."""

import json
from dataclasses import asdict

import numpy as np
import pytest
import torch
from scipy.special import logsumexp
from torch import nn

from vptcore.data.tensors import ImageSet
from vptcore.models.backbones import Backbone
from vptcore.models.methods import build_encoder, build_head, spec_of
from vptcore.records import read_provenance, read_rows, write_rows
from vptcore.training import final, search, stage
from vptcore.training.fit import fit, predict
from vptcore.training.protocol import PROTOCOLS
from vptcore.training.recipe import Recipe

OPTIONS = dict(img_size=16, patch_size=4, embed_dim=24, depth=2, num_heads=3)
TINY = Backbone("tiny", "Tiny", "vit_tiny_patch16_224", size=16, width=24, depth=2, options=OPTIONS)
TIMES = ["seconds", "compile_seconds", "images_per_second"]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    import timm
    from safetensors.torch import save_file

    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    save_file(timm.create_model(TINY.timm, num_classes=0, **OPTIONS).state_dict(), path)
    return str(path)


@pytest.fixture
def task(tmp_path):
    """60 images of three classes, told apart by their brightness: 32 train, 8 val, 20 test."""
    rng = np.random.default_rng(0)
    labels = np.arange(60) % 3
    images = (rng.integers(0, 60, (60, 16, 16, 1)) + 80 * labels[:, None, None, None]).astype(np.uint8)
    np.save(tmp_path / "images.npy", images)
    columns = dict(split="train", label=labels, class_name="x", key="k", source="test", sha256="", width=16, height=16)
    rows = [{"row": i} | {k: int(v[i]) if k == "label" else v for k, v in columns.items()} for i in range(60)]
    write_rows(tmp_path / "index.parquet", "index", rows, {})
    parts = ["train"] * 32 + ["val"] * 8 + ["test"] * 20
    write_rows(tmp_path / "splits.parquet", "splits", [{"part": p, "row": i} for i, p in enumerate(parts)], {})
    return {
        name: str(tmp_path / file)
        for name, file in (("images", "images.npy"), ("index", "index.parquet"), ("splits", "splits.parquet"))
    }


@pytest.fixture
def job(checkpoint):
    def make(method="vpt", lrs=(1.0, 4.0), decays=(0.0,), **more):
        protocol = asdict(PROTOCOLS["paper"]) | more.pop("switches", {})
        recipe = asdict(Recipe("adamw" if method == "full" else "sgd", 0.0, 0.0, 8, 3, 1))
        base = dict(
            version=1,
            backbone=asdict(TINY) | {"checkpoint": checkpoint},
            method=method,
            task="test",
            train="32",
            classes=3,
            prompt_length=2 if method in ("vpt", "mixed") else 0,
            deep=True,
            protocol=protocol,
            recipe=recipe,
            lora=None,
            device="cpu",
            compile="never",
            checkpoint_seconds=0,
            seed=0,
            grid={"lr": list(lrs), "weight_decay": list(decays)},
            fixed_decay=False,
            seeds=[1, 2],
            curve_seeds=1,
            curve_images=10,
            parts=["train", "val"],
            resize="bilinear",
        )
        return base | more

    return make


def outputs(folder, *names):
    return {"rows": str(folder / "rows.parquet"), "work": str(folder / "work")} | {
        n: str(folder / f"{n}.parquet") for n in names
    }


def run_search(job, task, folder, **more):
    search.run(job, task, outputs(folder) | more, say=lambda _: None)
    return read_rows(folder / "rows.parquet", "search")


@pytest.mark.parametrize("method", ["full", "vpt", "mixed", "linear", "mlp"])
def test_every_configuration_has_a_row(job, task, tmp_path, method):
    rows = run_search(job(method, decays=(0.0, 0.01)), task, tmp_path)
    assert len(rows) == 4
    assert rows["lr"].tolist() == [1.0, 1.0, 4.0, 4.0]
    usable = rows[~rows["diverged"]]
    labels = read_rows(task["index"], "index")["label"].to_numpy()[32:40]
    for row in usable.itertuples():
        assert row.val_accuracy == np.mean(np.array(row.val_predictions) == labels)
    assert not (tmp_path / "work").exists()


@pytest.mark.parametrize("method", ["vpt", "linear"])
def test_val_logits_are_kept_in_half_precision(job, task, tmp_path, method):
    rows = run_search(job(method), task, tmp_path)
    assert "val_logits" not in rows, "read only where they are asked for"
    named = ["val_logits", "val_predictions", "val_loss", "diverged"]
    usable = read_rows(tmp_path / "rows.parquet", "search", named).query("not diverged")
    labels = read_rows(task["index"], "index")["label"].to_numpy()[32:40]
    for row in usable.itertuples():
        logits = row.val_logits.reshape(8, 3)
        assert logits.dtype == np.float16
        assert (logits.max(1) == 0).all()
        assert (logits[np.arange(8), row.val_predictions] == 0).all()
        loss = logsumexp(logits.astype(float), axis=1) - logits[np.arange(8), labels]
        assert loss.mean() == pytest.approx(row.val_loss, rel=2e-3)


def test_logits_that_are_too_many_or_too_low():
    assert search.kept_logits(torch.zeros(1001, 1000)) is None
    assert search.kept_logits(torch.tensor([[1e6, 0.0], [2.0, 2.5]])) == [0.0, -65504.0, -0.5, 0.0]


def test_a_killed_search_goes_on_with_the_next_configuration(job, task, tmp_path):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    expected = run_search(job(), task, whole)

    class Killed(BaseException):
        pass

    def die(line):
        if line.startswith("configuration 2: epoch 2"):
            raise Killed

    with pytest.raises(Killed):
        search.run(job(), task, outputs(killed), say=die)
    done = json.loads((killed / "work/config=0.json").read_text())
    assert done["seconds"] > 0
    lines = []
    search.run(job(), task, outputs(killed), say=lines.append)
    assert not any(line.startswith("configuration 1: epoch") for line in lines)
    assert not any(line.startswith("configuration 2: epoch 1/") for line in lines)
    rows = read_rows(killed / "rows.parquet", "search")
    assert rows.drop(columns=TIMES).astype(str).equals(expected.drop(columns=TIMES).astype(str))
    assert rows["seconds"][0] == done["seconds"]


def test_prompts_from_prototypes_are_the_same_after_a_kill_and_in_every_run(job, task, tmp_path):
    starts = {"switches": {"prompt_init": "prototypes"}}
    expected = run_search(job("vpt", **starts), task, tmp_path / "whole")
    uniform = run_search(job("vpt"), task, tmp_path / "uniform")
    assert not expected["train_loss"].equals(uniform["train_loss"])

    def die(line):
        if line.startswith("configuration 2: epoch 2"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        search.run(job("vpt", **starts), task, outputs(tmp_path / "killed"), say=die)
    rows = run_search(job("vpt", **starts), task, tmp_path / "killed")
    assert rows.drop(columns=TIMES).astype(str).equals(expected.drop(columns=TIMES).astype(str))

    finals = []
    for name in ("one", "two"):
        files = outputs(tmp_path / name, "curves", "predictions")
        inputs = task | {"search": str(tmp_path / "whole/rows.parquet")}
        final.run(job("vpt", **starts), inputs, files, say=lambda _: None)
        finals.append(read_rows(tmp_path / name / "rows.parquet", "final").drop(columns=TIMES))
    assert finals[0].astype(str).equals(finals[1].astype(str))


def test_work_of_another_job_is_thrown_away(job, task, tmp_path):
    def die(line):
        if line.startswith("configuration 2"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        search.run(job(), task, outputs(tmp_path), say=die)
    lines = []
    search.run(job(lrs=(0.5, 2.0)), task, outputs(tmp_path), say=lines.append)
    assert any(line.startswith("configuration 1: epoch 1/") for line in lines)
    assert read_rows(tmp_path / "rows.parquet", "search")["lr"].tolist() == [0.5, 2.0]


def test_finals_use_the_chosen_recipe_and_say_what_made_them(job, task, tmp_path):
    (tmp_path / "s").mkdir()
    rows = run_search(job(), task, tmp_path / "s")
    inputs = task | {"search": str(tmp_path / "s/rows.parquet")}
    line = final.run(job(), inputs, outputs(tmp_path, "curves", "predictions"), say=lambda _: None)
    finals = read_rows(tmp_path / "rows.parquet", "final")
    best = rows.sort_values(["val_accuracy", "lr"], ascending=[False, True]).iloc[0]
    assert finals["lr"].tolist() == [best["lr"]] * 2
    assert finals["train_images"].tolist() == [40, 40]
    assert line.startswith("2 seeds, test ")
    assert read_provenance(tmp_path / "rows.parquet")["inputs"]["search"]["sha256"]
    predictions = read_rows(tmp_path / "predictions.parquet", "predictions")
    assert predictions.groupby("seed").size().tolist() == [20, 20]
    assert sorted(predictions["row"].unique()) == list(range(40, 60))


def with_picks(task, folder, **parts: list[int]) -> dict:
    """The task's files with a split that has these parts beside its test images."""
    rows = [{"part": part, "row": row} for part, found in parts.items() for row in found]
    rows += [{"part": "test", "row": row} for row in range(40, 60)]
    write_rows(folder / "picked.parquet", "splits", rows, {})
    return task | {"splits": str(folder / "picked.parquet")}


@pytest.mark.parametrize("method", ["vpt", "linear"])
def test_a_seed_trains_on_its_own_pick(job, task, tmp_path, method):
    """Seed 2 on pick 1 gives the rows that it gives where that pick is all there is, to the last digit."""
    (tmp_path / "s").mkdir()
    run_search(job(method), task, tmp_path / "s")
    searched = {"search": str(tmp_path / "s/rows.parquet")}
    picked, one, two = list(range(0, 3)), {"train": "one_shot", "parts": ["train"]}, list(range(9, 12))

    def rows(inputs, **more):
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        folder.mkdir()
        final.run(job(method, **one, **more), inputs | searched, outputs(folder, "curves", "predictions"), print)
        return read_rows(folder / "rows.parquet", "final").drop(columns=TIMES).set_index("seed")

    both = rows(with_picks(task, tmp_path, train=picked, train_2=two), picks=[0, 1])
    first = rows(with_picks(task, tmp_path, train=picked), picks=[0, 0])
    second = rows(with_picks(task, tmp_path, train=two))
    assert both.loc[1].equals(first.loc[1])
    assert both.loc[2].equals(second.loc[2])
    assert both.loc[2, "train_loss"] != first.loc[2, "train_loss"]
    with pytest.raises(ValueError, match="no images in train_3"):
        rows(with_picks(task, tmp_path, train=picked, train_2=two), picks=[0, 2])


def test_a_curve_on_a_sample_ends_where_its_predictions_do_and_changes_nothing_else(job, task, tmp_path):
    (tmp_path / "s").mkdir()
    run_search(job(), task, tmp_path / "s")
    inputs = task | {"search": str(tmp_path / "s/rows.parquet")}
    for images in (7, 20):
        made = outputs(tmp_path / str(images), "curves", "predictions")
        final.run(job(curve_seeds=2, curve_images=images), inputs, made, say=lambda _: None)
    few, all_ = (read_rows(tmp_path / f"{n}/curves.parquet", "curves").set_index(["seed", "epoch"]) for n in (7, 20))
    assert few["train_loss"].equals(all_["train_loss"])
    predictions = read_rows(tmp_path / "7/predictions.parquet", "predictions")
    for seed, mine in predictions.groupby("seed"):
        part = mine.iloc[np.random.default_rng(0).permutation(20)[:7]]
        assert few["test_loss"][seed, 3] == pytest.approx(part["loss"].mean(), rel=1e-6)
        assert few["test_accuracy"][seed, 3] == pytest.approx((part["label"] == part["prediction"]).mean())
        assert all_["test_loss"][seed, 3] == pytest.approx(mine["loss"].mean(), rel=1e-6)
    assert few["test_loss"].notna().all()
    assert (few["test_loss"] != all_["test_loss"]).all()


def test_scoring_val_every_epoch_changes_no_row(job, task, tmp_path):
    plain = run_search(job(), task, tmp_path / "a")
    every = run_search(job(switches={"val_every_epoch": True}), task, tmp_path / "b")
    assert plain.drop(columns=TIMES).astype(str).equals(every.drop(columns=TIMES).astype(str))


def test_cached_features_equal_recomputed_ones(job, task):
    """A linear probe through the frozen encoder every step, and on features computed once, in float64."""
    spec, device = spec_of(job("linear")), torch.device("cpu")
    parts = stage.Parts(job("linear"), task["images"], task["index"], task["splits"], device)
    train = parts.take("train")
    encoder = build_encoder(spec, seed=0).double().requires_grad_(False)
    inputs = parts.normalise(train.images, torch.float64)

    class Whole(nn.Module):
        def __init__(self):
            super().__init__()
            self.encoder, self.head = encoder, build_head(spec, seed=1).double()

        def forward(self, x):
            return self.head(self.encoder.eval()(x))

    recipe = Recipe("sgd", 1.0, 0.01, 8, 4, 1)
    whole = Whole()
    fit(whole, ImageSet(inputs, train.labels_N), recipe, seed=3)
    cached = nn.Sequential()
    cached.add_module("head", build_head(spec, seed=1).double())
    features = ImageSet(predict(encoder, ImageSet(inputs, train.labels_N)), train.labels_N)
    fit(cached, features, recipe, seed=3)
    assert (whole.head.weight - cached.head.weight).abs().max() <= 1e-10
    assert (whole.head.bias - cached.head.bias).abs().max() <= 1e-10


def test_a_stack_of_probes_gives_the_rows_of_single_ones(job, task, tmp_path):
    together = run_search(job("linear", lrs=(0.5, 1.0, 4.0)), task, tmp_path / "together")
    for lr in (0.5, 1.0, 4.0):
        alone = run_search(job("linear", lrs=(lr,)), task, tmp_path / f"alone{lr}")
        row = together[together["lr"] == lr].iloc[0]
        assert row["val_accuracy"] == alone["val_accuracy"][0]
        assert row["val_loss"] == pytest.approx(alone["val_loss"][0], rel=1e-4)


def test_a_diverged_configuration_is_marked_and_the_other_chosen(job, task, tmp_path):
    rows = run_search(job("mixed", lrs=(0.1, 1e30)), task, tmp_path)
    assert rows["diverged"].tolist() == [False, True]
    assert np.isnan(rows["val_accuracy"][1])


MISTAKES = {
    "batch": (
        dict(recipe=asdict(Recipe("sgd", 0.0, 0.0, 64, 3, 1))),
        r"batch: 64 is larger than the 32 training images; choose at most 32",
    ),
    "prompt_length": (dict(prompt_length=0), r"prompt length 0: .* choose 1 or more"),
    "diverged": (dict(method="mixed", grid={"lr": [1e30], "weight_decay": [0.0]}), r"every configuration diverged"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_end_in_one_line(job, task, tmp_path, mistake):
    change, message = MISTAKES[mistake]
    with pytest.raises(ValueError, match=message) as error:
        search.run(job() | change, task, outputs(tmp_path), say=lambda _: None)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "rows.parquet").exists()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_a_gpu_that_is_not_there(job, task, tmp_path):
    with pytest.raises(
        ValueError, match=r"device: cuda was asked for, but torch .* sees no GPU \(.*\); choose cpu or auto"
    ):
        search.run(job(device="cuda"), task, outputs(tmp_path), say=lambda _: None)


def test_features_that_are_not_finite():
    features = torch.ones(4, 3)
    features[2, 1] = float("nan")
    with pytest.raises(ValueError, match="1 of 4 inputs hold NaN or infinity, the first is number 2"):
        ImageSet(features, torch.zeros(4, dtype=torch.long))


def test_no_room_on_the_device(job, task, tmp_path, monkeypatch):
    def full(*_):
        raise torch.OutOfMemoryError

    monkeypatch.setattr("vptcore.models.prompts.PromptedViT.forward", full)
    with pytest.raises(ValueError, match=r"no room on cpu for batch 8: choose batch 4 or less"):
        search.run(job(), task, outputs(tmp_path), say=lambda _: None)


def test_images_and_index_of_different_length(job, task, tmp_path):
    np.save(task["images"], np.load(task["images"])[:50])
    with pytest.raises(ValueError, match=r"50 images but 60 index rows in .*; make both again"):
        search.run(job(), task, outputs(tmp_path), say=lambda _: None)
