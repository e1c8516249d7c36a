"""A study small enough for a test: two tasks, four methods, two seeds, two epochs, through the real Snakefile."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

REPO = Path(__file__).resolve().parents[2]


def tiny_config() -> dict:
    config = yaml.safe_load((REPO / "profiles/demo/study.yaml").read_text())
    config |= {
        "study": "tiny",
        "epochs": 2,
        "seeds": [1, 2],
        "base_train": 40,
        "explain": {"tasks": ["digits"], "images": 1},
        "curves": {"seeds": 1, "images": 250},
    }
    config["methods"] = {
        "full": {"batch": 16, "grid": {"lr": [0.02, 0.005], "weight_decay": [0.01]}},
        "vpt": {"batch": 16, "grid": {"lr": [1, 0.25], "weight_decay": [0.0]}},
        "ft_then_pt": {"batch": 16, "grid": {"lr": [1], "weight_decay": [0.0]}},
        "linear": {"batch": 16, "grid": {"lr": [1, 0.1], "weight_decay": [0.0]}},
    }
    config["experiments"] = {
        "strategies": {
            "backbones": ["vit_mini_cifar10"],
            "methods": ["full", "vpt", "ft_then_pt", "linear"],
            "tasks": ["digits", "shapes_count"],
            "train": [40],
        },
        "sizes": {"backbones": ["vit_mini_cifar10"], "methods": ["full", "vpt"], "tasks": ["digits"], "train": [20]},
    }
    return config


class Study:
    """A folder with a config, and Snakemake to run it."""

    def __init__(self, folder: Path, config: dict):
        self.folder = folder
        self.config = config
        self.write()

    def write(self) -> None:
        (self.folder / "study.yaml").write_text(yaml.safe_dump(self.config))

    @property
    def root(self) -> Path:
        return self.folder / "results" / self.config["study"]

    def command(self, *arguments: str) -> list[str]:
        return [
            *(sys.executable, "-m", "snakemake", *arguments),
            *("--snakefile", str(REPO / "Snakefile"), "--directory", str(self.folder)),
            *("--configfile", str(self.folder / "study.yaml"), "--cores", "2"),
            *("--logger", "study", "--scheduler", "greedy", "--rerun-triggers", "mtime", "input", "params"),
        ]

    def run(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess:
        env = os.environ | {"OMP_NUM_THREADS": "1"} | environment
        return subprocess.run(
            self.command(*arguments), capture_output=True, text=True, env=env, cwd=self.folder, timeout=400
        )

    def texts(self, *folders: str) -> dict[str, bytes]:
        """Every file below the folders, by name."""
        return {
            str(p.relative_to(self.root)): p.read_bytes()
            for f in folders
            for p in sorted((self.root / f).rglob("*"))
            if p.is_file()
        }


@pytest.fixture(scope="session")
def finished(tmp_path_factory) -> Study:
    """The tiny study, run once from nothing. Tests read it; those that change it take `own`."""
    study = Study(tmp_path_factory.mktemp("finished"), tiny_config())
    result = study.run(VPTCORE_GPUS="0,1")  # pretended devices: handed out, and not used
    assert result.returncode == 0, result.stderr
    study.result = result
    return study


@pytest.fixture
def own(tmp_path) -> Study:
    return Study(tmp_path, tiny_config())
