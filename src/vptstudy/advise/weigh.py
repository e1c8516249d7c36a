"""What a method takes on this device: the most memory while it trains, and how long it needs to label one image.

In: a cell of a study. Out: bytes and milliseconds, measured in a process of its own, whose memory holds nothing else:
on a GPU the tensors', else all of the process's. `python -m vptstudy.advise.weigh` is that process: a job on standard
input, the measure on standard output.

    python -m pytest tests/vptstudy/advise/test_weigh.py
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass

import numpy as np
import torch

from vptcore.data.tensors import ImageSet
from vptcore.jobs.device import open_device, peak_resident
from vptcore.models.methods import build, spec_of
from vptcore.training import stage
from vptcore.training.fit import fit, predict
from vptcore.training.recipe import Recipe
from vptstudy import slices
from vptstudy.study import Cell, Study

STEPS, WARM, TIMES = 3, 3, 21


@dataclass(frozen=True)
class Weight:
    """`memory` in bytes, at its peak while training; `latency` in ms for one image at a time, decoding left out."""

    memory: int
    latency: float


def weigh(study: Study, cell: Cell) -> Weight:
    job = json.dumps(slices.search(study, cell))
    done = subprocess.run([sys.executable, "-m", __name__], input=job, capture_output=True, text=True, check=False)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no reason"])[-1]
        raise ValueError(f"{cell.method}: its memory and speed cannot be measured ({last})")
    return Weight(**json.loads(done.stdout.splitlines()[-1]))


def measured(job: Mapping) -> Weight:
    """In this process, whatever it holds already."""
    device, normalise = open_device(job["device"], lambda line: None), stage.normalise_of(job)
    model, batch = build(spec_of(job), seed=0).to(device), int(job["recipe"]["batch"])
    shape = (STEPS * batch, normalise.size, normalise.size, 3)
    images = ImageSet.of(np.zeros(shape, np.uint8), np.zeros(shape[0]), normalise, device)
    if stage.is_probe(job):  # it trains on features: computing them is what takes memory
        predict(model, images, batch)
    else:
        fit(model, images, Recipe("adamw", 1e-6, 0.0, batch, 1, 0), seed=0)
    return Weight(_peak(device), _latency(model, ImageSet(images.images[:1], images.labels_N[:1], normalise)))


def _peak(device: torch.device) -> int:
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    return peak_resident()


def _latency(model: torch.nn.Module, image: ImageSet) -> float:
    """The median of several; the answer is read, so that a GPU has to be waited for."""
    times = []
    for _ in range(WARM + TIMES):
        started = time.perf_counter()
        predict(model, image).argmax(-1).tolist()
        times.append(time.perf_counter() - started)
    return 1000 * statistics.median(times[WARM:])


if __name__ == "__main__":
    print(json.dumps(asdict(measured(json.load(sys.stdin)))))
