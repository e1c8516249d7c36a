"""The command without a GPU: what it tells, claims and writes."""

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gpu_check import __main__ as command
from gpu_check import worker
from gpu_check.result import FAILED, SKIPPED, Line, judge, pinned, table, write

REPO = Path(__file__).resolve().parents[2]


def run(tmp_path, *words):
    result = subprocess.run(
        [sys.executable, "-m", "gpu_check", *words, "--out", str(tmp_path)],
        cwd=REPO, capture_output=True, text=True, check=False, env=os.environ | {"CUDA_VISIBLE_DEVICES": ""},
    )  # fmt: skip
    return result.returncode, result.stdout


def test_without_a_gpu_facts_are_told_and_nothing_is_claimed(tmp_path):
    status, said = run(tmp_path, "--part", "facts", "speed")
    assert status == 0, said
    assert "No GPU is seen here: nothing above says that the project works on one." in said
    stored = json.loads((tmp_path / "gpu.json").read_text())
    assert (stored["gpu"], stored["failures"]) == (False, 0)
    states = {line["name"]: (line["part"], line["state"]) for line in stored["lines"]}
    assert states.pop("speed") == ("speed", "skipped")
    assert {"torch", "CUDA", "driver", "built for", "compiler", "card"} <= states.keys()
    assert set(states.values()) == {("facts", "fact")}
    assert not (tmp_path / "bench.parquet").exists()


def test_a_limit_that_is_too_short_is_one_line(capsys):
    assert command.main(["--seconds", "5"]) == 2
    assert capsys.readouterr().out == "gpu-check: --seconds 5 is too short; give 35 or more\n"


def test_the_exit_code_counts_failures_and_the_table_ends_the_run(tmp_path, monkeypatch, capsys):
    found = [
        judge("behave", "a", False, "1", "0"),
        judge("behave", "b", True, "0", "0"),
        Line("behave", "c", FAILED, ""),
    ]
    monkeypatch.setattr(command, "_asked", lambda: {"torch": "2.11.0+cu130", "card": "NVIDIA H100 80GB HBM3"})
    monkeypatch.setattr(command, "_part", lambda part, there, ends, alone: iter(found))
    assert command.main(["--part", "behave", "--out", str(tmp_path)]) == 2
    assert table(found) in capsys.readouterr().out
    assert json.loads((tmp_path / "gpu.json").read_text())["failures"] == 2


def test_the_torch_that_is_checked_is_named_first_and_last(tmp_path, monkeypatch, capsys):
    """Another than the pinned one is said to be another."""
    found = {"torch": "2.11.0+cu130", "card": "NVIDIA H100 80GB HBM3"}
    monkeypatch.setattr(command, "_asked", lambda: found)
    monkeypatch.setattr(command, "_part", lambda part, there, ends, alone: iter(()))
    command.main(["--part", "facts", "--out", str(tmp_path)])
    said = capsys.readouterr().out.splitlines()
    locked = re.search(r"^torch==(\S+)", (REPO / "requirements.lock").read_text(), re.M)[1]
    checked = f"torch 2.11.0+cu130 ({locked} is pinned, and not checked)"
    assert said[0] == f"gpu-check: {checked}, NVIDIA H100 80GB HBM3"
    assert f"checked with {checked}" in said[-3:]
    stored = json.loads((tmp_path / "gpu.json").read_text())
    assert {name: stored[name] for name in found} == found
    assert pinned(f"{locked.split('+')[0]}+cpu") == "the pinned one"


def test_no_part_begins_without_time_for_it():
    (line,) = command._part("study", True, time.monotonic() + 30)
    assert (line.state, line.found) == (SKIPPED, "no time left: make gpu-check PART=study")


@pytest.mark.parametrize(("alone", "seconds"), [(True, 385), (False, command.PARTS["study"])])
def test_a_part_asked_for_alone_has_all_of_the_time(monkeypatch, alone, seconds):
    given = []
    monkeypatch.setattr(command, "_in_a_process", lambda part, there, seconds: given.append(seconds) or iter(()))
    list(command._part("study", True, time.monotonic() + 400, alone=alone))
    assert given == pytest.approx([seconds], abs=1)


@pytest.mark.parametrize(("code", "said"), [("raise SystemExit(3)", "with 3"), ("time.sleep(60)", "not ended after")])
def test_a_part_that_dies_or_hangs_is_a_failure(tmp_path, monkeypatch, code, said):
    """What it said before counts."""
    line = '{"part": "facts", "name": "x", "state": "fact", "found": "y"}'
    script = f"import sys, time; open(sys.argv[-1], 'w').write('{line}\\n'); {code}"
    (tmp_path / "python").write_text(f'#!/bin/sh\nexec \'{sys.executable}\' -c "$SCRIPT" "$@"\n')
    (tmp_path / "python").chmod(0o755)
    monkeypatch.setenv("SCRIPT", script)
    monkeypatch.setattr(command, "GRACE", 1.0)
    monkeypatch.setattr(command.sys, "executable", str(tmp_path / "python"))
    first, last = command._in_a_process("facts", True, 1.0)
    assert first.name == "x"
    assert last.state == FAILED
    assert said in last.found


def test_what_is_not_installed_is_named(monkeypatch):
    monkeypatch.setattr(worker.importlib.util, "find_spec", lambda name: None if name in ("snakemake", "rich") else 1)
    (line,) = worker.lines_of("study", "cuda", 0.0)
    assert (line.state, line.found) == (SKIPPED, "not installed: snakemake, rich")


def test_a_part_that_raises_is_one_line(monkeypatch):
    class Broken:
        @staticmethod
        def run(device, ends):
            yield judge("facts", "first", True, "", "")
            raise RuntimeError("CUDA error: an illegal memory access\nmore")

    monkeypatch.setattr(worker.importlib, "import_module", lambda name: Broken)
    first, last = worker.lines_of("facts", "none", 0.0)
    assert first.state == "holds"
    assert (last.state, last.found) == (FAILED, "RuntimeError: CUDA error: an illegal memory access")


def test_timings_are_written_as_parquet(tmp_path):
    import pandas as pd

    timed = judge("speed", "FT, batch 128", True, "", "", timing={"images_per_second": 3400.0, "ms_per_step": 37.6})
    write([timed, Line("facts", "card", "fact", "x")], {"gpu": True}, tmp_path)
    (row,) = pd.read_parquet(tmp_path / "bench.parquet").to_dict("records")
    assert (row["case"], row["state"], row["images_per_second"]) == ("FT, batch 128", "holds", 3400.0)
    assert pd.isna(row["peak_gib"])
