"""A finished cell's model: which one is meant, what its card says, and that it answers test as the final did."""

from __future__ import annotations

import json
import re
import sys
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tests.vptcore.models.tiny import VIT, job_of
from vptcore.analysis.release import Crossed, find, release, wilson
from vptcore.data.tensors import ImageSet, Normalise
from vptcore.models import portable
from vptcore.records import read_rows, write_rows
from vptcore.training import final
from vptcore.training.fit import predict
from vptcore.training.protocol import PROTOCOLS
from vptcore.training.recipe import Recipe

SEEDS = [4, 2]
TINY = replace(VIT, id="tiny", title="Tiny")


def finished(root: Path, method: str, *, kept: int) -> Path:
    """A results folder with one cell: 32 train, 8 val and 20 test images of three classes, two seeds, `kept` models."""
    rng, labels = np.random.default_rng(0), np.arange(60) % 3
    images = (rng.integers(0, 60, (60, 20, 20, 3)) + 80 * labels[:, None, None, None]).astype(np.uint8)
    cell = f"backbone=tiny/method={method}/task=pets/train=32"
    at = {kind: root / kind / "task=pets" for kind in ("data", "index")} | {
        "splits": root / "splits/task=pets/train=32"
    }
    at["data"].mkdir(parents=True)
    np.save(at["data"] / "images.npy", images)
    same = dict(split="train", key="k", source="test", sha256="", width=20, height=20)
    rows = [same | {"row": i, "label": int(n), "class_name": f"pet {n}"} for i, n in enumerate(labels)]
    write_rows(at["index"] / "rows.parquet", "index", rows, {"shape": [60, 20, 20, 3], "native": False})
    parts = ["train"] * 32 + ["val"] * 8 + ["test"] * 20
    write_rows(at["splits"] / "rows.parquet", "splits", [{"part": p, "row": i} for i, p in enumerate(parts)], {})
    counts = ("config", "batch", "epochs", "prompt_length", "tuned_parameters", "total_parameters")
    chosen = dict.fromkeys(("seed", *counts, "train_images", "val_images"), 0)
    chosen |= dict(optimizer="sgd", lr=1.0, weight_decay=0.0, val_accuracy=0.5, val_loss=1.0, train_accuracy=0.5,
                   train_loss=1.0, diverged=False, images_per_second=1.0, seconds=1.0, compile_seconds=0.0,
                   device="cpu", val_predictions=[0], val_logits=None)  # fmt: skip
    write_rows(root / "search" / cell / "rows.parquet", "search", [chosen], {})
    checkpoint = weights(root)
    job = job_of(replace(TINY, checkpoint=checkpoint), method, classes=3, protocol=asdict(PROTOCOLS["sound"])) | dict(
        task="pets", train="32", resize="antialias",
        recipe=asdict(Recipe("sgd", 0.0, 0.0, 8, 2, 0)), device="cpu", compile="never", checkpoint_seconds=0,
        seeds=SEEDS, curve_seeds=0, curve_images=0, parts=["train", "val"],
    )  # fmt: skip
    inputs = {"images": at["data"] / "images.npy", "search": root / "search" / cell / "rows.parquet",
              "index": at["index"] / "rows.parquet", "splits": at["splits"] / "rows.parquet"}  # fmt: skip
    outputs = {"rows" if kind == "final" else kind: str(root / kind / cell / "rows.parquet")
               for kind in ("final", "curves", "predictions")}  # fmt: skip
    models = [str(root / "models" / cell / f"seed={seed}.safetensors") for seed in SEEDS[:kept]]
    final.run(job, {k: str(v) for k, v in inputs.items()}, outputs | {"models": models, "work": str(root / "work")},
              say=lambda line: None)  # fmt: skip
    return root


def weights(root: Path) -> str:
    import timm
    from safetensors.torch import save_file

    torch.manual_seed(0)
    path = root / "tiny.safetensors"
    save_file(timm.create_model(TINY.timm, num_classes=0, **TINY.options).state_dict(), path)
    return str(path)


@pytest.mark.parametrize("method", ["vpt", "linear", "lora", "mlp"])
def test_the_model_answers_test_as_its_final_did(tmp_path, method):
    root = finished(tmp_path / "study", method, kept=1)
    line = release(root, f"{method}/pets", tmp_path / "model")
    assert line.startswith(f"tiny/{method}/pets/32, seed 4: test ")
    images = np.load(root / "data/task=pets/images.npy")[40:]
    sized = ImageSet.of(images, np.arange(20), Normalise(32, TINY.mean, TINY.std), "cpu")
    answers = predict(portable.load(tmp_path / "model"), sized).argmax(-1).tolist()
    rows = read_rows(root / f"predictions/backbone=tiny/method={method}/task=pets/train=32/rows.parquet", "predictions")
    assert answers == rows[rows["seed"] == SEEDS[0]]["prediction"].tolist()


def test_the_card_says_what_the_rows_say(tmp_path):
    root = finished(tmp_path / "study", "vpt", kept=2)
    release(root, "vpt", tmp_path / "model", seed=2)
    final_rows = read_rows(root / "final/backbone=tiny/method=vpt/task=pets/train=32/rows.parquet", "final")
    row = final_rows[final_rows["seed"] == 2].iloc[0]
    low, high = wilson(row["test_accuracy"], 20)
    card = (tmp_path / "model/README.md").read_text()
    assert card.startswith("---\nlicense: ")
    assert f"{row['test_accuracy']:.1%}".replace("%", " %") in card
    assert f"interval {100 * low:.1f} to {100 * high:.1f}) on 20 images" in card
    for words in ("pet 0, pet 1, pet 2", "32 train, 8 val, 20 test", "seed 2", "from model import load"):
        assert words in card
    config = json.loads((tmp_path / "model/config.json").read_text())
    assert config["label_names"] == ["pet 0", "pet 1", "pet 2"]
    assert config["vptcore"]["seed"] == 2


def test_a_model_of_folds_is_known_by_all_images(tmp_path):
    root = finished(tmp_path / "study", "vpt", kept=2)
    low, high = wilson(0.612, 90)
    line = release(root, "vpt", tmp_path / "model", seed=2, crossed=Crossed(0.612, low, high, 90, 5, 3))
    said = f"61.2 % (95 % interval {100 * low:.1f} to {100 * high:.1f}) over all 90 images"
    assert f"cross-validated {said}" in line
    assert "test" not in line.partition(" MB")[0]
    card = (tmp_path / "model/README.md").read_text()
    assert f"**Cross-validated accuracy** {said}, each tested once: the mean of 3 seeds in each of 5 folds" in card
    assert "**This model** is the first fold's" in card
    assert "**Test accuracy**" not in card
    config = json.loads((tmp_path / "model/config.json").read_text())
    assert config["vptcore"]["cross_validated_accuracy"] == 0.612
    assert config["vptcore"]["cross_validated_interval"] == [low, high]


@pytest.mark.parametrize("method", ["vpt", "linear"])
def test_the_cards_example_labels_a_photograph(tmp_path, monkeypatch, capsys, method):
    """Run as it is in the card, against the label that the folder's model gives to the same picture."""
    root = finished(tmp_path / "study", method, kept=1)
    release(root, method, tmp_path / "model")
    picture = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    Image.fromarray(picture).save(tmp_path / "model/photo.jpg", quality=100, subsampling=0)
    (code,) = re.findall(r"```python\n(.*?)```", (tmp_path / "model/README.md").read_text(), re.S)
    monkeypatch.chdir(tmp_path / "model")
    monkeypatch.syspath_prepend(".")
    exec(compile(code, "README.md", "exec"), {})
    sys.modules.pop("model", None)
    seen = np.asarray(Image.open("photo.jpg"))[None]
    images = ImageSet.of(seen, np.zeros(1), Normalise(32, TINY.mean, TINY.std), "cpu")
    answers = predict(portable.load("."), images).softmax(-1)[0]
    label, share = capsys.readouterr().out.rsplit(" ", 1)
    assert label == f"pet {int(answers.argmax())}"
    assert float(share) == pytest.approx(float(answers.max()), abs=1e-4)


def test_a_full_disk_is_one_line_and_leaves_nothing(tmp_path, monkeypatch):
    from safetensors import SafetensorError

    def full(*_, **__):
        raise SafetensorError("I/O error: No space left on device (os error 28)")

    root = finished(tmp_path / "study", "linear", kept=1)
    monkeypatch.setattr("vptcore.models.export.save_file", full)
    with pytest.raises(OSError, match=r"model: the model cannot be written \(I/O error: No space left"):
        release(root, "linear", tmp_path / "out/model")
    assert list((tmp_path / "out").iterdir()) == []


def test_wilson_is_scipys():
    from scipy.stats import binomtest

    for right, images in ((0, 5), (3, 7), (50, 60), (200, 200)):
        theirs = binomtest(right, images).proportion_ci(method="wilson")
        assert wilson(right / images, images) == pytest.approx((theirs.low, theirs.high), abs=1e-6)


def test_what_cannot_be_exported_is_one_line(tmp_path):
    root = finished(tmp_path / "study", "vpt", kept=0)
    out = tmp_path / "model"
    with pytest.raises(ValueError, match=r"tiny/vpt/pets/32: its tuned models were not kept; write `keep: best`"):
        release(root, "vpt", out)
    with pytest.raises(ValueError, match=r"full: names no finished cells of .*; choices: vpt/pets/32"):
        release(root, "full", out)
    with pytest.raises(ValueError, match="no finished cell in it"):
        release(tmp_path / "none", "vpt", out)
    assert not out.exists()


def test_a_folder_of_something_else_is_left_alone(tmp_path):
    root = finished(tmp_path / "study", "linear", kept=1)
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos/cat.png").write_bytes(b"x")
    with pytest.raises(ValueError, match="photos: is there already and is not a model of this package"):
        release(root, "linear", tmp_path / "photos")
    assert [p.name for p in (tmp_path / "photos").iterdir()] == ["cat.png"]
    for _ in range(2):  # its own folder is written again
        release(root, "linear", tmp_path / "model")
    with pytest.raises(ValueError, match="--seed: 9 is none of those kept: 4"):
        release(root, "linear", tmp_path / "model", seed=9)


@pytest.mark.parametrize("words", ["vpt", "vpt/32", "method=vpt/task=pets", "tiny/vpt/pets/32", "/vpt/"])
def test_words_that_name_a_cell(tmp_path, words):
    for method, train in (("vpt", "32"), ("vpt2", "320")):
        folder = tmp_path / f"final/backbone=tiny/method={method}/task=pets/train={train}"
        folder.mkdir(parents=True)
        (folder / "rows.parquet").write_bytes(b"")
    assert find(tmp_path, words).title == "tiny/vpt/pets/32"
    with pytest.raises(ValueError, match=r"names 2 finished cells .* vpt/pets/32, vpt2/pets/320"):
        find(tmp_path, "pets")
