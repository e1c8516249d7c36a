"""What search and final share: the device, the images of each part, the recipes of a slice, and what a job says of
itself.

In: a job slice of plain values (made by `study.Study`) and the files that Snakemake hands over. Out: `ImageSet`s and
recipes.

    python -m pytest tests/vptcore/training/test_search_final.py
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch

from vptcore.data.tensors import ImageSet, Normalise
from vptcore.jobs.device import device_name
from vptcore.models.methods_table import METHODS
from vptcore.records import read_rows
from vptcore.training.flops import mfu, step_flops


def normalise_of(job: Mapping) -> Normalise:
    row = job["backbone"]
    from vptcore.models.backbones import IMAGENET_MEAN, IMAGENET_STD

    own = job["protocol"]["normalisation"] == "backbone"
    mean, std = (row["mean"], row["std"]) if own else (IMAGENET_MEAN, IMAGENET_STD)
    return Normalise(int(row["size"]), tuple(mean), tuple(std), job["resize"])


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
