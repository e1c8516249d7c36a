"""The whole of `vptcore advise` on 60 pictures: stopped by Ctrl-C at its first answer, killed while it searches rates,
and called again."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
import yaml
from markupsafe import escape
from PIL import Image

from tests.vptstudy.advise.test_twins import brighter, picture
from vptcore.records import read_rows

pytestmark = pytest.mark.slow
CLASSES = ("ash", "birch", "cedar")
PATIENCE = 1200  # seconds, on a busy machine


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


def until(child: subprocess.Popen, log: Path, is_so) -> None:
    ends = time.monotonic() + PATIENCE
    while not is_so():
        assert child.poll() is None, log.read_text()
        assert time.monotonic() < ends
        time.sleep(0.05)


@pytest.fixture(scope="module")
def advised(tmp_path_factory, clean_clone):
    """(the study's folder, searches done before the kill, what the stopped call printed, and the others)."""
    folder = tmp_path_factory.mktemp("advised")
    root, log = folder / "results/trees", folder / "log"
    pictures(folder / "trees")
    child = start(folder)
    until(child, log, lambda: (root / "rungs/probe/index").exists())
    child.send_signal(signal.SIGINT)
    assert child.wait(PATIENCE) == 130, log.read_text()
    stopped = log.read_text()
    child = start(folder)
    until(child, log, lambda: searches(root / "rungs/rates_5"))
    kill_all(child)
    before = searches(root)
    assert start(folder).wait(PATIENCE) == 0, log.read_text()
    return root, before, stopped, log.read_text().removeprefix(stopped)


def test_ctrl_c_ends_in_a_line(advised):
    _, _, stopped, _ = advised
    assert "Traceback" not in stopped
    assert "stopped" in stopped.strip().splitlines()[-1].lower()


def test_what_was_finished_before_a_kill_is_not_done_again(advised):
    root, before, _, _ = advised
    after = searches(root)
    assert {path: after[path] for path in before} == before
    assert len(after) > len(before) >= 2


def test_the_answer_and_the_model_are_there(advised):
    root, _, _, said = advised
    advice = json.loads((root / "advice.json").read_text())
    assert advice["advice"] in said
    assert (root / "model/model.safetensors").is_file()
    taken = advice["methods"][advice["take"]]
    (final,) = root.glob(f"final/*/method={advice['take'].split('_')[0]}/**/rows.parquet")
    assert taken["accuracy"] == pytest.approx(read_rows(final, "final")["test_accuracy"].mean())


def test_the_report_says_the_advice_first(advised):
    root, *_ = advised
    said = str(escape(json.loads((root / "advice.json").read_text())["advice"]))
    page = (root / "report/index.html").read_text()
    assert page.index("<h1>") < page.index(said) < page.index("<main>")


def test_pictures_that_are_trained_on_and_scored_are_said_and_written(advised):
    root, _, _, said = advised
    found = json.loads((root / "advice.json").read_text())["duplicates"]
    # What they repeat is in train, or in the val that was drawn from it.
    assert {one["later"] for one in found} == {"test"}
    assert (sum(one["exact"] for one in found), sum(one["near"] for one in found)) == (1, 1)
    assert "of test is also in " in said or "of test are also in " in said
    later = {Path(later).parts[-2:] for one in found for _, later in one["images"]}
    assert later == {("ash", "0.png"), ("birch", "1.png")}


def test_memory_and_speed_are_measured(advised):
    root, *_ = advised
    methods = json.loads((root / "advice.json").read_text())["methods"]
    assert all(one["memory"] > 50e6 and one["latency"] > 0 for one in methods.values())


def test_the_study_and_every_rung_pass_the_audit(advised):
    root, *_ = advised
    for folder in (root, *sorted(config.parent for config in root.glob("rungs/*/config.yaml"))):
        command = [sys.executable, "-m", "vptstudy.cli.main", "audit", str(folder)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


def test_full_fine_tuning_decays_by_layer(advised):
    root, _, _, _ = advised
    config = yaml.safe_load((root / "rungs/schedules/config.yaml").read_text())
    assert config["methods"]["full"]["layer_decay"] == 0.75
