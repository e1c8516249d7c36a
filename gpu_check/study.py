"""A whole study, very small, by the profile for GPUs: run on the device, audited, and held to rows made on a CPU.

In: the device. Out: whether Snakemake ended well, which device the rows name, whether their steps were captured, how
far their accuracies are from those of a CPU (`expected.json`, made by the second command) and from fp32's under the
same seeds, and the audit's verdict. Its folder is temporary.

    python -m gpu_check --part study
    python -m gpu_check.study          # on a machine without a GPU: writes expected.json
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pandas as pd
import torch

from faults.small import REPO, Trial, end_group, environment_of, small_config
from gpu_check.checks import late
from gpu_check.correct import precision
from gpu_check.result import Line, judge
from vptcore.records import read_provenance, read_rows, write_text
from vptcore.training import final, fresh, stage
from vptcore.training.fit import fit, predict

EXPECTED = Path(__file__).with_name("expected.json")
METHODS = ("full", "vpt", "linear")
TASK, TRAIN, TEST_IMAGES = "digits", 160, 500


def config(device: str) -> dict:
    """One task, FT, VPT and the probe, two seeds, ten epochs; no maps, which need a package of their own."""
    small = small_config() | {"device": device, "compile": "auto", "explain": {"tasks": [], "images": 1}}
    small |= {"epochs": 10, "base_train": TRAIN}
    small["methods"] = {
        "full": {"batch": 64, "grid": {"lr": [0.02, 0.005], "weight_decay": [0.01]}},
        "vpt": {"batch": 64, "grid": {"lr": [2.5, 1, 0.5, 0.25], "weight_decay": [0.01, 0.0]}},
        "linear": {"batch": 64, "grid": {"lr": [2.5, 1, 0.25], "weight_decay": [0.0]}},
    }
    one = small["experiments"]["whole"] | {"methods": list(METHODS), "train": [TRAIN], "tasks": [TASK]}
    return small | {"experiments": {"whole": one}}


def run(device: str, ends: float) -> Iterator[Line]:
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="gpu-check-") as folder:
        trial = Trial(Path(folder)).write(config(device))
        profile = (REPO / "profiles/gpu/config.yaml").read_text(encoding="utf-8")
        (trial.folder / "profiles/small/config.yaml").write_text(f"configfile: study.yaml\n{profile}", encoding="utf-8")
        status = _ended(trial, ends)
        if status is None:
            yield late("study", "the study ends", time.monotonic() - began)
            return
        said = "" if status == 0 else f": {' '.join(trial.printed.splitlines()[-3:])[-300:]}"
        yield judge("study", "the study ends", status == 0, f"exit {status}{said}", "exit 0")
        if status == 0:
            yield from _rows(trial, device)
            yield from _accuracies(accuracies(trial), json.loads(EXPECTED.read_text(encoding="utf-8")))
            yield _halves(trial, device)
            yield _audit(trial)


def _ended(trial: Trial, ends: float) -> int | None:
    """The run's exit status; None where its time was up."""
    process = trial.start(cores=os.cpu_count() or 1)
    try:
        return process.wait(timeout=max(1.0, ends - time.monotonic()))
    except subprocess.TimeoutExpired:
        return None
    finally:
        end_group(process)


def _rows(trial: Trial, device: str) -> Iterator[Line]:
    notes = [read_provenance(path) for kind in ("search", "final") for path in trial.root.rglob(f"{kind}/**/*.parquet")]
    devices = sorted({note["device"] for note in notes})
    on = all(name.startswith("cpu") == (device == "cpu") for name in devices) and notes
    yield judge("study", "rows name the device", bool(on), f"{len(notes)} files: {', '.join(devices)}", device)
    captured = sorted({note["captured"] for note in notes if note.get("captured")})
    holds = captured == ["yes"] if device != "cpu" else captured != ["yes"]
    yield judge("study", "steps are captured", holds, ", ".join(captured), "yes" if device != "cpu" else "no")


def accuracies(trial: Trial) -> dict[str, dict[str, list[float]]]:
    """Method -> accuracy on val of each configuration, and on test of each seed."""
    found = {}
    for method in METHODS:
        val, test = (read_rows(_file(trial, kind, method), kind) for kind in ("search", "final"))
        val, test = val.sort_values("config")["val_accuracy"], test.sort_values("seed")["test_accuracy"]
        found[method] = {"val": val.fillna(0.0).tolist(), "test": test.tolist()}
    return found


def _file(trial: Trial, kind: str, method: str, name: str = "rows.parquet") -> Path:
    return trial.root / f"{kind}/backbone=vit_mini_cifar10/method={method}/task={TASK}/train={TRAIN}" / name


def _accuracies(found: Mapping, expected: Mapping) -> Iterator[Line]:
    """Test accuracy over seeds within two standard errors of the CPU's, each seed's images taken as drawn anew."""
    for method in METHODS:
        ours, theirs = (pd.Series(rows[method]["test"]) for rows in (found, expected["accuracies"]))
        images = TEST_IMAGES * len(ours)
        error = math.hypot(*(math.sqrt(_variance(p.mean(), images) / images) for p in (ours, theirs)))
        off = abs(ours.mean() - theirs.mean())
        val = pd.Series(found[method]["val"]) - pd.Series(expected["accuracies"][method]["val"])
        said = f"test {ours.mean():.1%}, a CPU's {theirs.mean():.1%}; val {100 * abs(val).mean():.1f} points apart"
        bar = f"test within {200 * error:.1f} points"
        yield judge("study", f"{method}: as on a CPU", off <= 2 * error, said, bar)


def _variance(share: float, images: int) -> float:
    """Of one image's hit; of all or none as of one image less."""
    share = (share * images + 1) / (images + 2)
    return share * (1 - share)


def _halves(trial: Trial, device: str) -> Line:
    """VPT's finals again, in bf16 and in fp32 under the same seeds: images that one alone has right, either way."""
    job = read_provenance(_file(trial, "final", "vpt"))["job"]
    places = (f"data/task={TASK}/images.npy", f"index/task={TASK}/rows.parquet")
    places += (f"splits/task={TASK}/train={TRAIN}/rows.parquet",)
    parts = stage.Parts(job, *(trial.root / place for place in places), torch.device(device))
    train, test = parts.take(*job["parts"]), parts.take("test")
    recipe, _ = final.chosen(job, str(_file(trial, "search", "vpt")))
    right = {half: [] for half in (True, False)}
    for half in right:
        for seed in job["seeds"]:
            with precision(half):
                model = fresh.built(job, train, seed=seed).to(train.device)
                model = fresh.placed(model, train.device) if half else model
                fit(model, train, recipe, seed=seed, compile="never")
                right[half].append(predict(model, test, half=half).argmax(-1) == test.labels_N)
    bf16, fp32 = (torch.cat(right[half]) for half in (True, False))
    return _paired(int((bf16 & ~fp32).sum()), int((fp32 & ~bf16).sum()), len(bf16))


def _paired(ours: int, theirs: int, images: int) -> Line:
    """As McNemar: the difference of two counts whose sum is given has that sum's root as standard error."""
    off, most = ours - theirs, 2 * math.sqrt(max(1, ours + theirs))
    found = f"{100 * off / images:+.2f} points ({ours} images right in bf16 alone, {theirs} in fp32)"
    return judge("study", "bf16 against fp32", abs(off) <= most, found, f"within {100 * most / images:.2f} points")


def _audit(trial: Trial) -> Line:
    """Of the study as it is there."""
    result = subprocess.run(
        [sys.executable, "-m", "vptstudy.cli.main", "audit", str(trial.root), "--complete"],
        cwd=trial.folder, env=environment_of({}), capture_output=True, text=True, check=False,
    )  # fmt: skip
    last = (result.stdout.strip() or result.stderr.strip()).splitlines()[-1:]
    return judge("study", "the audit holds", result.returncode == 0, " ".join(last)[:200], "exit 0")


def write_expected() -> None:
    """The accuracies of the study on this machine's CPU: its searches and finals alone."""
    with tempfile.TemporaryDirectory(prefix="gpu-check-") as folder:
        trial = Trial(Path(folder)).write(config("cpu"))
        targets = [str(_file(trial, "final", method).relative_to(trial.folder)) for method in METHODS]
        if trial.start(*targets).wait() != 0:
            raise SystemExit(trial.printed[-300:])
        found = {"torch": torch.__version__, "accuracies": accuracies(trial)}
    write_text(EXPECTED, json.dumps(found, indent=1) + "\n")
    print(f"written: {EXPECTED}")


if __name__ == "__main__":
    write_expected()
