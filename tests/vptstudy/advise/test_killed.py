"""The whole of `vptcore advise` on 60 pictures, killed while it searches rates, and called again."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
import yaml
from PIL import Image

from tests.vptstudy.advise.test_twins import brighter, picture
from vptcore.records import read_rows

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("workflow")]
CLASSES = ("ash", "birch", "cedar")
PATIENCE = 600  # seconds


def pictures(root: Path) -> None:
    """15 to train and 5 to test of each class, told apart by colour; one in test is a copy, and one nearly."""
    for label, name in enumerate(CLASSES):
        for split, first, count in (("train", 0, 15), ("test", 50, 5)):
            folder = root / split / name
            folder.mkdir(parents=True)
            for number in range(count):
                image = picture(100 * label + first + number).copy()
                image[..., label] = 255 - image[..., label] // 4
                Image.fromarray(image).save(folder / f"{number}.png")
    shutil.copy(root / "train/ash/3.png", root / "test/ash/0.png")
    with Image.open(root / "train/birch/4.png") as image:
        Image.fromarray(brighter(np.asarray(image))).save(root / "test/birch/1.png")


def start(folder: Path) -> subprocess.Popen:
    command = [sys.executable, "-m", "vptstudy.cli.main", "advise", str(folder / "trees"), "--minutes", "1"]
    more = ["--backbone", "vit_mini_cifar10", "--profile", "demo", "--cores", "2", "--results", str(folder / "results")]
    with open(folder / "log", "a") as log:
        return subprocess.Popen([*command, *more], stdout=log, stderr=log)


def kill_all(child: subprocess.Popen) -> None:
    for process in [*psutil.Process(child.pid).children(recursive=True), child]:
        process.kill()
    child.wait()


def searches(root: Path) -> dict[Path, bytes]:
    """The rows of every search under `root` that is recorded as finished: they hold how long each training took."""
    records = root.rglob("manifest/search/**/rows.parquet.json")
    rows = [Path(str(path).replace("/manifest/", "/").removesuffix(".json")) for path in records]
    return {path: path.read_bytes() for path in rows}


@pytest.fixture(scope="module")
def advised(tmp_path_factory, clean_clone):
    """(the study's folder, searches done before the kill, what both calls printed)."""
    folder = tmp_path_factory.mktemp("advised")
    root, log = folder / "results/trees", folder / "log"
    pictures(folder / "trees")
    child, until = start(folder), time.monotonic() + PATIENCE
    while not searches(root / "rungs/rates_5"):
        assert child.poll() is None, log.read_text()
        assert time.monotonic() < until
        time.sleep(0.05)
    kill_all(child)
    before = searches(root)
    assert start(folder).wait(PATIENCE) == 0, log.read_text()
    return root, before, log.read_text()


def test_what_was_finished_before_a_kill_is_not_done_again(advised):
    root, before, _ = advised
    after = searches(root)
    assert {path: after[path] for path in before} == before
    assert len(after) > len(before) >= 2


def test_the_answer_and_the_model_are_there(advised):
    root, _, said = advised
    advice = json.loads((root / "advice.json").read_text())
    assert advice["advice"] in said
    assert (root / "model/model.safetensors").is_file()
    taken = advice["methods"][advice["take"]]
    (final,) = root.glob(f"final/*/method={advice['take'].split('_')[0]}/**/rows.parquet")
    assert taken["accuracy"] == pytest.approx(read_rows(final, "final")["test_accuracy"].mean())


def test_pictures_that_are_trained_on_and_scored_are_said_and_written(advised):
    root, _, said = advised
    (one,) = json.loads((root / "advice.json").read_text())["duplicates"]
    assert (one["earlier"], one["later"], one["exact"], one["near"]) == ("train", "test", 1, 1)
    assert "2 images of test are also in train, 1 pixel by pixel and 1 nearly" in said
    assert [Path(later).parts[-2:] for _, later in one["images"]] == [("ash", "0.png"), ("birch", "1.png")]


def test_full_fine_tuning_decays_by_layer(advised):
    root, _, _ = advised
    config = yaml.safe_load((root / "rungs/schedules/config.yaml").read_text())
    assert config["methods"]["full"]["layer_decay"] == 0.75
