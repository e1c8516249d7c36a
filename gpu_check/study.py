"""A whole study, very small, by the profile for GPUs: run on the device, and audited.

In: the device. Out: whether Snakemake ended well, which device the rows name, whether their steps were captured, and
the audit's verdict. Its folder is temporary.

    python -m gpu_check --part study
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from faults.small import REPO, Trial, end_group, environment_of, small_config
from gpu_check.result import FAILED, Line, judge
from vptcore.records import read_provenance


def config(device: str) -> dict:
    """One task, FT, VPT and the probe, two seeds; no maps, which need a package of their own."""
    small = small_config() | {"device": device, "compile": "auto", "explain": {"tasks": [], "images": 1}}
    small["methods"].pop("ft_then_pt")
    one = small["experiments"]["whole"] | {"methods": ["full", "vpt", "linear"]}
    return small | {"experiments": {"whole": one}}


def run(device: str, ends: float) -> Iterator[Line]:
    with tempfile.TemporaryDirectory(prefix="gpu-check-") as folder:
        trial = Trial(Path(folder)).write(config(device))
        profile = (REPO / "profiles/gpu/config.yaml").read_text(encoding="utf-8")
        (trial.folder / "profiles/small/config.yaml").write_text(f"configfile: study.yaml\n{profile}", encoding="utf-8")
        process = trial.start(cores=os.cpu_count() or 1)
        try:
            status = process.wait(timeout=max(1.0, ends - time.monotonic()))
        except subprocess.TimeoutExpired:
            yield Line(
                "study", "the study ends", FAILED, "not in the time given", "make gpu-check PART=study has all of it"
            )
            return
        finally:
            end_group(process)
        said = "" if status == 0 else f": {' '.join(trial.printed.splitlines()[-3:])[-300:]}"
        yield judge("study", "the study ends", status == 0, f"exit {status}{said}", "exit 0")
        if status == 0:
            yield from _rows(trial, device)
            yield _audit(trial)


def _rows(trial: Trial, device: str) -> Iterator[Line]:
    notes = [read_provenance(path) for kind in ("search", "final") for path in trial.root.rglob(f"{kind}/**/*.parquet")]
    devices = sorted({note["device"] for note in notes})
    on = all(name.startswith("cpu") == (device == "cpu") for name in devices) and notes
    yield judge("study", "rows name the device", bool(on), f"{len(notes)} files: {', '.join(devices)}", device)
    captured = sorted({note["captured"] for note in notes if note.get("captured")})
    holds = captured == ["yes"] if device != "cpu" else captured != ["yes"]
    yield judge("study", "steps are captured", holds, ", ".join(captured), "yes" if device != "cpu" else "no")


def _audit(trial: Trial) -> Line:
    """Of the study as it is there."""
    result = subprocess.run(
        [sys.executable, "-m", "vptstudy.cli.main", "audit", str(trial.root), "--complete"],
        cwd=trial.folder, env=environment_of({}), capture_output=True, text=True, check=False,
    )  # fmt: skip
    last = (result.stdout.strip() or result.stderr.strip()).splitlines()[-1:]
    return judge("study", "the audit holds", result.returncode == 0, " ".join(last)[:200], "exit 0")
