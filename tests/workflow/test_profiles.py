"""The profiles as Snakemake reads them: who asks for a GPU, and how many there are to hand out."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from snakemake.profiles import ProfileConfigFileParser

REPO = Path(__file__).resolve().parents[2]


def parsed(name: str) -> dict:
    with open(REPO / "profiles" / name / "config.yaml") as stream:
        return ProfileConfigFileParser().parse(stream)


def rules_with_a_gpu() -> set[str]:
    """Rules that say gpu=1, and those that inherit from them and do not say gpu=0."""
    found = set()
    for path in sorted((REPO / "workflow/rules").glob("*.smk")):
        text = path.read_text()
        for name, body in re.findall(r"^rule (\w+):\n(.*?)(?=^\S|\Z)", text, re.DOTALL | re.MULTILINE):
            found |= {name} if "gpu=1" in body else set()
        heirs = re.findall(r"^use rule (\w+) as (\w+) with:\n(.*?)(?=^\S|\Z)", text, re.DOTALL | re.MULTILINE)
        found |= {new for old, new, body in heirs if old in found and "gpu=0" not in body}
    return found


def test_slurm_gives_a_gpu_and_its_partition_to_just_the_rules_that_ask_for_one():
    settings = yaml.safe_load((REPO / "profiles/slurm/config.yaml").read_text())["set-resources"]
    assert set(settings) == rules_with_a_gpu()
    assert all(one == settings["search"] for one in settings.values()), "written once"
    assert "search:slurm_partition=gpu" in parsed("slurm")["set-resources"]


def test_slurm_is_found_by_its_name_in_the_top_folder():
    assert (REPO / "slurm/config.yaml").samefile(REPO / "profiles/slurm/config.yaml")
    assert "array" not in (REPO / "profiles/slurm/config.yaml").read_text()
    assert not re.search(r"^\s+retries:", "".join(p.read_text() for p in (REPO / "workflow").rglob("*.smk")), re.M)


@pytest.mark.parametrize(("devices", "count"), [("0,1,2", 3), ("3", 1), ("", 1)])
def test_gpu_counts_the_devices_of_the_machine(monkeypatch, devices, count):
    monkeypatch.setenv("VPTCORE_GPUS", devices)
    assert parsed("gpu")["resources"] == [f"gpu={count}"]


COMPILING = {"search", "search_shard", "final", "final_shard"}


@pytest.mark.parametrize(
    ("devices", "cpus", "expected"), [("0,1", 64, 4), ("0,1,2,3", 8, 2), ("0,1,2,3", 2, 1), ("", 64, 1)]
)
def test_jobs_that_compile_get_up_to_four_cores_as_far_as_every_gpu_can(monkeypatch, devices, cpus, expected):
    monkeypatch.setenv("VPTCORE_GPUS", devices)
    monkeypatch.setattr("os.cpu_count", lambda: cpus)
    assert set(parsed("gpu")["set-threads"]) == {f"{rule}={expected}" for rule in COMPILING}
    assert set(parsed("slurm")["set-threads"]) == {f"{rule}=4" for rule in COMPILING}


SHOWN = f"""
include: "{REPO}/workflow/rules/common.smk"
rule shown:
    output: "shown"
    shell: 'echo "$VPTCORE_COMPILED" > {{output}}'
"""


def test_a_profile_says_where_compiled_kernels_are_kept(tmp_path):
    """As written: a variable is read where a job runs. Another folder is no reason to run anything again."""
    (tmp_path / "Snakefile").write_text(SHOWN)
    (tmp_path / "profile").mkdir()
    keys = {"configfile": str(REPO / "profiles/demo/study.yaml"), "cores": 1}
    keys |= {"config": {"compile_cache": "$TMPDIR/compiled", "results": str(tmp_path / "results")}}
    (tmp_path / "profile/config.yaml").write_text(yaml.safe_dump(keys))
    words = [sys.executable, "-m", "snakemake", "shown", "--profile", "profile"]
    done = subprocess.run(words, cwd=tmp_path, env=os.environ | {"VPTCORE_WARM": "0"}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "shown").read_text() == "$TMPDIR/compiled\n"
