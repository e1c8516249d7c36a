"""One Slurm for all tests of this folder, and studies that run on it through `--profile slurm`."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from tests.slurm import cluster as slurm

REPO = Path(__file__).resolve().parents[2]
CELL = "backbone=vit_mini_cifar10/method={}/task=digits/train=20"
METHODS = ("vpt", "full", "mixed", "linear", "mlp")


def config() -> dict:
    """Five cells, two configurations each or one, two seeds: the smallest study that has something to place."""
    study = yaml.safe_load((REPO / "profiles/demo/study.yaml").read_text())
    grids = {"vpt": [1, 0.25], "full": [0.02, 0.005], "mixed": [0.05], "linear": [1, 0.1], "mlp": [0.5]}
    study |= {"study": "small", "epochs": 12, "seeds": [1, 2], "base_train": 20}
    study["methods"] = {m: {"batch": 16, "grid": {"lr": lrs, "weight_decay": [0.0]}} for m, lrs in grids.items()}
    study["explain"] = {"tasks": [], "images": 1}
    study["experiments"] = {
        "all": {"backbones": ["vit_mini_cifar10"], "methods": list(METHODS), "tasks": ["digits"], "train": [20]}
    }
    return study


class Run:
    """A study in a folder of its own, and Snakemake for it, called in the project's top folder."""

    def __init__(self, folder: Path):
        self.folder = folder
        folder.mkdir(exist_ok=True)
        (folder / "study.yaml").write_text(yaml.safe_dump(config()))

    @property
    def targets(self) -> list[str]:
        return [f"results/small/final/{CELL.format(method)}/rows.parquet" for method in METHODS]

    def rows(self, method: str, kind: str = "final") -> Path:
        return self.folder / f"results/small/{kind}/{CELL.format(method)}/rows.parquet"

    def start(self, *options: str, faults: dict | None = None, local: bool = False) -> subprocess.Popen:
        # A test bench has no accounting, and two seconds are enough for what a cluster gives twenty.
        bench = ["--slurm-status-command", "squeue", "--seconds-between-status-checks", "2", "--latency-wait", "20"]
        where = ["--cores", "2"] if local else ["--profile", "slurm", *bench]
        where += [] if local else ["--slurm-init-seconds-before-status-checks", "2", "--local-cores", "1"]
        paths = [str(REPO / "src"), *([str(REPO / "tests/slurm/faults")] if faults else [])]
        environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(paths)}
        environment["PATH"] = f"{Path(sys.executable).parent}:{environment['PATH']}"
        if faults:
            (self.folder / "faults.json").write_text(json.dumps(faults))
            environment["VPTCORE_TEST_FAULTS"] = str(self.folder / "faults.json")
        log = open(self.folder / "snakemake.log", "a")  # noqa: SIM115 the child's, for as long as it lives
        return subprocess.Popen(
            [sys.executable, "-m", "snakemake", *(self.targets if "--unlock" not in options else []), *options,
             *where, "--directory", str(self.folder), "--configfile", str(self.folder / "study.yaml")],
            cwd=REPO, env=environment, stdout=log, stderr=log,
        )  # fmt: skip

    def finish(self, *options: str, **more) -> None:
        process = self.start(*options, **more)
        try:
            status = process.wait(timeout=540)
        finally:
            process.kill()
        assert status == 0, (self.folder / "snakemake.log").read_text()[-3000:]

    def without_finals(self, folder: Path) -> Run:
        """A copy in which the finals are still to be made."""
        shutil.copytree(self.folder, folder, ignore=shutil.ignore_patterns("final", "curves", "predictions", "work"))
        return Run(folder)


@pytest.fixture(scope="session")
def cluster():
    made = slurm.new()
    try:
        made.start()
    except slurm.NoSlurm as reason:
        made.stop()
        pytest.skip(f"no Slurm here: {reason}")
    try:
        yield made
    finally:
        made.stop()


@pytest.fixture(scope="session")
def clean(cluster, tmp_path_factory) -> Run:
    """The study on the cluster, undisturbed."""
    run = Run(tmp_path_factory.mktemp("clean"))
    run.finish()
    return run


def until(condition, seconds: float = 240):
    """What `condition` returns, once it is true."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.5)
    return found
