"""The smallest study that has every stage, and a folder to run it in.

In: a folder. Out: a `Trial`, which starts `vptcore run` or Snakemake there, in a process group of its own, and can end
all that it started. The folder links the workflow and has its own profile, so that a run in it is a run in a clone.

    python -m pytest tests/faults
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import yaml

REPO = Path(__file__).resolve().parents[1]
NAME = "small"
LINKED = ("Snakefile", "workflow", "published")
LONGEST_RUN = 400  # seconds; a run that takes longer hangs
PROFILE = {
    "configfile": "study.yaml",
    "logger": "study",
    "rerun-incomplete": True,
    "keep-going": True,
    "scheduler": "greedy",
    "show-failed-logs": False,
    "rerun-triggers": ["mtime", "input", "params"],
}


def small_config() -> dict:
    """Two tasks, full, VPT, FT-then-PT and the probe, two seeds, two epochs: the demo's config with smaller numbers."""
    config = yaml.safe_load((REPO / "profiles/demo/study.yaml").read_text(encoding="utf-8"))
    config |= {"study": NAME, "epochs": 2, "seeds": [1, 2], "base_train": 40}
    config["methods"] = {
        "full": {"batch": 20, "grid": {"lr": [0.02], "weight_decay": [0.01]}},
        "vpt": {"batch": 20, "grid": {"lr": [1, 0.25], "weight_decay": [0.0]}},
        "ft_then_pt": {"batch": 20, "grid": {"lr": [1], "weight_decay": [0.0]}},
        "linear": {"batch": 20, "grid": {"lr": [1, 0.1], "weight_decay": [0.0]}},
    }
    mini = {"backbones": ["vit_mini_cifar10"], "train": [40]}
    config["experiments"] = {
        "whole": {"methods": ["full", "vpt", "ft_then_pt", "linear"], "tasks": ["digits"], **mini},
        "part": {"methods": ["full", "vpt"], "tasks": ["shapes_count"], **mini},
    }
    config["explain"] = {"tasks": ["digits"], "images": 1}
    config["fid"]["bootstrap"] = 10
    return config


@dataclass(frozen=True)
class Trial:
    """A folder with the small study's config and a way to run it."""

    folder: Path

    @property
    def root(self) -> Path:
        return self.folder / "results" / NAME

    def write(self, config: dict | None = None) -> Trial:
        """Make the folder ready to run in. `config` takes the small one's place."""
        (self.folder / "profiles" / NAME).mkdir(parents=True, exist_ok=True)
        for name in LINKED:
            if not (self.folder / name).is_symlink():
                (self.folder / name).symlink_to(REPO / name)
        (self.folder / "study.yaml").write_text(yaml.safe_dump(config or small_config()), encoding="utf-8")
        (self.folder / "profiles" / NAME / "config.yaml").write_text(yaml.safe_dump(PROFILE), encoding="utf-8")
        return self

    def copy(self, folder: Path) -> Trial:
        """The same study in another folder, times of change and Snakemake's own records included."""
        shutil.copytree(self.folder, folder, symlinks=True)
        return Trial(folder)

    @property
    def printed(self) -> str:
        """Everything that the last run printed."""
        return (self.folder / "run.log").read_text(encoding="utf-8", errors="replace")

    def start(
        self, *targets: str, raw: bool = False, cores: int = 2, under: tuple[str, ...] = (), **environment: str
    ) -> subprocess.Popen:
        """Start `vptcore run`, or with `raw` Snakemake itself, at the head of a process group of its own.

        `under` is a command that the run is started by.
        """
        if raw:
            words = ["snakemake", *targets, "--profile", f"profiles/{NAME}"]
        else:
            words = ["vptstudy.cli.main", "run", *targets, "--profile", NAME]
        # To a file: a pipe would stay open, and be waited for, as long as any job that outlives its Snakemake.
        with open(self.folder / "run.log", "w", encoding="utf-8") as log:
            return subprocess.Popen(
                [*under, sys.executable, "-m", *words, "--cores", str(cores)],
                cwd=self.folder, env=environment_of(environment), stdin=subprocess.DEVNULL,
                stdout=log, stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip

    def run(self, *targets: str, raw: bool = False, **environment: str) -> tuple[int, str]:
        """Run to the end. Exit status and what was printed; a run that hangs is ended and has status 124."""
        process = self.start(*targets, raw=raw, **environment)
        return finish(process), self.printed


def finish(process: subprocess.Popen) -> int:
    """The exit status of a run; one that hangs is ended, with status 124."""
    try:
        return process.wait(timeout=LONGEST_RUN)
    except subprocess.TimeoutExpired:
        end_group(process)
        return 124


def environment_of(more: dict[str, str]) -> dict[str, str]:
    """This process's environment for a run elsewhere: one thread a job, and the package of this clone."""
    path = os.pathsep.join([str(REPO / "src"), *filter(None, [os.environ.get("PYTHONPATH")])])
    return os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": path, "PYTHONUNBUFFERED": "1"} | more


def end_group(process: subprocess.Popen) -> None:
    """Kill a process that `Trial.start` started, and its whole group."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
