"""A good study on a bad machine: terminals without UTF-8, readers that go, homes that take no files, no visible GPU.

The commands are run as a person runs them, in a folder that has what a clone has.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.conftest import LEFT_BY_RUNS, ROOT
from vptstudy.run import caches

STUDY = {
    "study": "tiny", "epochs": 1, "seeds": [1], "base_train": 40, "device": "auto", "regrid": False,
    "switches": {"normalisation": "backbone"},
    "methods": {
        "full": {"batch": 16, "grid": {"lr": [0.02], "weight_decay": [0.01]}},
        "vpt": {"batch": 16, "grid": {"lr": [1], "weight_decay": [0.0]}},
    },
    "prompts": {"lengths": "two", "sets": {"two": {"default": 2}}},
    "experiments": {
        "only": {"backbones": ["vit_mini_cifar10"], "methods": ["full", "vpt"], "tasks": ["digits"], "train": [40]},
    },
    "fid": {"network": "backbone", "reference": "asset:vit_mini_cifar10.reference.safetensors", "bootstrap": 20},
}  # fmt: skip
PYTHON_ALONE = {"PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}  # C means ASCII, and Python does not help
MACHINES = {
    "ascii": {"PYTHONIOENCODING": "ascii"},
    "C": {"LC_ALL": "C", **PYTHON_ALONE},
    "dumb": {"TERM": "dumb"},
    "no home": {"HOME": "/dev/null/me"},
    "no gpu": {"CUDA_VISIBLE_DEVICES": "-1"},
}
ALL = {key: value for machine in MACHINES.values() for key, value in machine.items()}
COMMANDS = ("check", "plan --config tiny.yaml", "data list", "advise --help", "--help", "run -n")
SPLIT = "results/tiny/splits/task=digits/train=40/rows.parquet"


@pytest.fixture
def clone(tmp_path) -> Path:
    for path in ROOT.iterdir():
        if path.name not in LEFT_BY_RUNS:
            (tmp_path / path.name).symlink_to(path)
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(STUDY))
    return tmp_path


def surroundings(extra: dict) -> dict:
    kept = ("PATH", "HOME", "PYTHONPATH", "OMP_NUM_THREADS", "TMPDIR")
    return {name: os.environ[name] for name in kept if name in os.environ} | extra


def run(words: str, folder: Path, extra: dict, **more) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "vptstudy.cli.main", *words.split()]
    more = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | more
    return subprocess.run(command, cwd=folder, env=surroundings(extra), **more)


@pytest.mark.parametrize("words", COMMANDS)
def test_every_command_on_the_worst_of_machines(clone, words):
    done = run(words, clone, ALL)
    assert done.returncode == 0, done.stderr
    assert b"Traceback" not in done.stderr
    assert b"Error" not in done.stderr
    (done.stdout + done.stderr).decode("ascii")


def test_characters_that_ascii_lacks_are_question_marks(clone):
    here, there = (run("plan --config tiny.yaml", clone, extra).stdout.decode() for extra in ({}, MACHINES["ascii"]))
    assert "–" in here
    assert there.count("\n") == here.count("\n")
    assert [line for line in there.splitlines() if "?" in line]


def test_jobs_run_on_the_worst_of_machines(clone):
    done = run(f"run --configfile tiny.yaml --cores 1 {SPLIT}", clone, ALL)
    assert done.returncode == 0, done.stderr
    assert (clone / SPLIT).is_file()
    said = done.stderr.decode("ascii")
    assert "split    digits ? 40" in said
    assert "Traceback" not in said


@pytest.mark.slow
def test_a_whole_study_on_the_worst_of_machines(clone):
    done = run("run --configfile tiny.yaml --cores 2", clone, ALL)
    assert done.returncode == 0, done.stderr
    assert "Report: results/tiny/report/index.html" in done.stdout.decode("ascii")
    assert "Matplotlib" not in done.stderr.decode("ascii")
    audit = run("audit results/tiny", clone, ALL)
    assert audit.returncode == 0, audit.stdout
    audit.stdout.decode("ascii")


@pytest.mark.parametrize("words", ["check", "plan --config tiny.yaml", "data list", "--help"])
def test_a_reader_that_has_gone_is_no_mistake(clone, words):
    """As under `| head` when the output is longer."""
    end, start = os.pipe()
    os.close(end)
    done = run(words, clone, {}, stdout=start)
    os.close(start)
    assert b"rror" not in done.stderr, done.stderr
    assert b"Traceback" not in done.stderr
    assert b"Broken pipe" not in done.stderr


def test_a_full_disk_under_the_output_is_one_line(clone):
    with open("/dev/full", "w") as full:
        done = run("check", clone, {}, stdout=full)
    assert done.returncode == 2
    assert done.stderr.decode().endswith("No space left on device\n")
    assert done.stderr.count(b"\n") == 1


def test_caches_go_beside_the_run_only_where_the_home_takes_none(tmp_path, monkeypatch):
    for name in ("XDG_CACHE_HOME", "MPLCONFIGDIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    caches.settle()
    assert "XDG_CACHE_HOME" not in os.environ
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/dev/null/me")
    monkeypatch.setenv("MPLCONFIGDIR", "/kept")
    monkeypatch.setenv("XDG_CACHE_HOME", "")
    caches.settle()
    assert os.environ["XDG_CACHE_HOME"] == str(tmp_path / ".snakemake/cache")
    assert os.environ["MPLCONFIGDIR"] == "/kept"
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def environment(tmp_path, monkeypatch):
    """An empty one, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    environment = {}
    monkeypatch.setattr(os, "environ", environment)
    return environment


def test_what_jobs_compile_is_kept_beside_the_study_or_where_the_environment_says(environment, tmp_path, monkeypatch):
    environment["TRITON_CACHE_DIR"] = "/scratch/triton"
    monkeypatch.setattr(caches, "compiler", lambda: "gcc and Python.h")
    caches.keep_compiled(strictly=True)
    assert environment["TORCHINDUCTOR_CACHE_DIR"] == str(tmp_path / ".compiled/inductor")
    assert environment["TRITON_CACHE_DIR"] == "/scratch/triton"
    assert environment["TORCHINDUCTOR_COMPILE_THREADS"] == "4"
    assert not list(tmp_path.iterdir()), "no folder where nothing is compiled"


def test_without_a_compiler_no_processes_are_started_for_it(environment, tmp_path):
    environment["CC"] = str(tmp_path / "no-gcc")
    caches.keep_compiled()
    assert environment["TORCHINDUCTOR_COMPILE_THREADS"] == "1"


def test_a_config_names_the_folder_in_the_words_of_the_machine_that_a_job_runs_on(environment, tmp_path):
    caches.offer("$SCRATCH/mine")
    caches.keep_compiled()
    assert "TRITON_CACHE_DIR" not in environment, "a machine without that disk, where nothing is compiled"
    with pytest.raises(ValueError, match=r"compile_cache: \$SCRATCH/mine names a variable that is not set on "):
        caches.keep_compiled(strictly=True)
    environment["SCRATCH"] = str(tmp_path / "disk")
    caches.keep_compiled(strictly=True)
    assert environment["TORCHINDUCTOR_CACHE_DIR"] == str(tmp_path / "disk/mine/inductor")
    assert environment["TRITON_CACHE_DIR"] == str(tmp_path / "disk/mine/triton")


def test_a_folder_that_takes_no_files_is_one_line_for_a_job_with_a_gpu(environment):
    caches.offer("/dev/null/compiled")
    caches.keep_compiled()
    assert "TRITON_CACHE_DIR" not in environment
    with pytest.raises(ValueError, match=r"compile_cache: /dev/null/compiled cannot be written on .*; name a folder"):
        caches.keep_compiled(strictly=True)
    environment |= {"TORCHINDUCTOR_CACHE_DIR": "/a", "TRITON_CACHE_DIR": "/b"}
    caches.keep_compiled(strictly=True)
    assert environment["TRITON_CACHE_DIR"] == "/b"
