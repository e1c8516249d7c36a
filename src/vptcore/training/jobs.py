"""What search and final share: the device, the images of each part, the recipes of a slice, and what a job says of
itself.

In: a job slice of plain values (made by `study.Study`) and the files that Snakemake hands over. Out: `ImageSet`s and
recipes.

    python -m pytest tests/training/test_search_final.py
"""

from __future__ import annotations

import os
import platform
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from vptcore.data.tensors import ImageSet, Normalise
from vptcore.models.methods_table import METHODS
from vptcore.records import read_rows
from vptcore.training.flops import mfu, step_flops
from vptcore.training.recipe import Recipe
from vptcore.training.recipe import recipes_of as recipes_of


def open_device(name: str, say: Callable[[str], None] | None = None) -> torch.device:
    """`auto` is the GPU where there is one. A device that is not there ends in one line.

    Says in one line what the job found: Python, torch, CUDA, driver, the GPU that was asked for and the one it got.
    """
    handed = os.environ.get("CUDA_VISIBLE_DEVICES")
    there = torch.cuda.is_available() if name != "cpu" else False
    if not there and (name.startswith("cuda") or (name == "auto" and handed)):
        what = f"GPU {handed} was handed to this job" if handed else f"{name} was asked for"
        seen = f"torch {torch.__version__} sees no GPU ({_why_none()})"
        raise ValueError(f"device: {what}, but {seen}; choose cpu{'' if handed else ' or auto'}")
    device = torch.device("cuda" if name == "auto" and there else "cpu" if name == "auto" else name)
    if say is not None:
        say(f"ready: {_found(device, handed)}")
    if device.type == "cuda":
        torch.backends.cuda.matmul.allow_tf32 = True
        torch.backends.cudnn.allow_tf32 = True
    return device


def _why_none() -> str:
    if torch.version.cuda is None:
        return "this torch is built without CUDA"
    driver = _driver()
    if driver is None:
        return "no NVIDIA driver is loaded here"
    try:
        torch.cuda.init()
    except RuntimeError as error:
        return str(error).split(". ")[0].splitlines()[0]
    return f"driver {driver} shows none"


def _driver() -> str | None:
    """The version of the NVIDIA kernel driver."""
    try:
        text = Path("/proc/driver/nvidia/version").read_text()
    except OSError:
        return None
    found = re.search(r"\b\d{3,}\.\d+(\.\d+)?\b", text)
    return found[0] if found else "unknown"


def _found(device: torch.device, handed: str | None) -> str:
    parts = [f"python {platform.python_version()}", f"torch {torch.__version__}", f"on {platform.node()}"]
    if job := os.environ.get("SLURM_JOB_ID"):
        parts.append(f"Slurm job {job}")
    if device.type == "cuda":
        free, total = torch.cuda.mem_get_info(device)
        room = f"{free / 2**30:.0f} of {total / 2**30:.0f} GiB free"
        parts += [f"CUDA {torch.version.cuda}", f"driver {_driver()}", f"{torch.cuda.get_device_name(device)}, {room}"]
    else:
        parts.append(f"CPU, {torch.get_num_threads()} threads")
    return ", ".join([*parts, f"GPU {handed} handed out" if handed else "no GPU handed out"])


def device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else f"cpu {platform.machine()}"


def normalise_of(job: Mapping) -> Normalise:
    row = job["backbone"]
    from vptcore.models.backbones import IMAGENET_MEAN, IMAGENET_STD

    own = job["protocol"]["normalisation"] == "backbone"
    mean, std = (row["mean"], row["std"]) if own else (IMAGENET_MEAN, IMAGENET_STD)
    return Normalise(int(row["size"]), tuple(mean), tuple(std), crop=job.get("resize") == "256_crop")


class Parts:
    """The train, val and test images of a task at a train size, copied to the device once, when first asked for."""

    def __init__(self, job: Mapping, images: str | Path, index: str | Path, splits: str | Path, device: torch.device):
        self.array = np.load(images, mmap_mode="r")
        self.labels = read_rows(index, "index")["label"].to_numpy()
        if len(self.labels) != len(self.array):
            raise ValueError(
                f"{images}: {len(self.array)} images but {len(self.labels)} index rows in {index}; make both again"
            )
        rows = read_rows(splits, "splits")
        self.rows = {part: group["row"].to_numpy() for part, group in rows.groupby("part", sort=False)}
        self.normalise = normalise_of(job)
        self.device = device

    def rows_of(self, *parts: str) -> np.ndarray:
        """Index rows of the named parts, in order."""
        return np.concatenate([self.rows.get(part, np.empty(0, int)) for part in parts]).astype(np.int64)

    def take(self, *parts: str) -> ImageSet:
        rows = self.rows_of(*parts)
        if len(rows) == 0:
            raise ValueError(f"no images in {' + '.join(parts)}; the split file has {sorted(self.rows)}")
        return ImageSet.of(self.array[rows], self.labels[rows], self.normalise, self.device)


def fit_batch(job: Mapping, recipe: Recipe, train: ImageSet) -> Recipe:
    """The recipe with a batch that the set can fill: in one-shot all images at most.

    Anywhere else a batch larger than the set would change the recipe silently; that is an error.
    """
    if job["train"] == "one_shot":
        return replace(recipe, batch=min(recipe.batch, len(train)))
    if recipe.batch > len(train):
        raise ValueError(
            f"batch: {recipe.batch} is larger than the {len(train)} training images; choose at most {len(train)}"
        )
    return recipe


def final_parts(job: Mapping) -> tuple[str, ...]:
    """What the finals train on: train+val; for one-shot train alone, unless the authors' two a class are wanted."""
    if job["train"] == "one_shot" and job["protocol"]["one_shot_final"] == "same":
        return ("train",)
    return ("train", "val")


def is_probe(job: Mapping) -> bool:
    return METHODS[job["method"]].probe


def timing(started: float) -> dict:
    """When a job began and how long it took, for the metadata of its files."""
    stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(started))
    return {"started": stamp, "duration": round(time.time() - started, 3)}


def rate_text(job: Mapping, rows: list[dict], device: torch.device) -> str:
    """Training images per second over all rows, and on a known GPU the share of its peak."""
    seconds = sum(row["seconds"] for row in rows)
    if not seconds:
        return "– img/s"
    rate = sum(row["images_per_second"] * row["seconds"] for row in rows) / seconds
    share = _mfu(job, rate, device)
    return f"{rate:,.0f} img/s" + (f", {share:.0%} of peak" if share is not None else "")


def _mfu(job: Mapping, rate: float, device: torch.device) -> float | None:
    if is_probe(job) or device.type != "cuda":
        return None
    return mfu(step_flops(job), rate, device_name(device))
