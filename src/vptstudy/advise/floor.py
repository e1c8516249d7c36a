"""The floor of an advice and its pace, in this process: nearest neighbours on cached features, seconds a training step.

In: a rung's study, its files. Out: answers of nearest neighbours on val and test; seconds an image of full fine-tuning
takes here.

    python -m pytest tests/vptstudy/advise
"""

from __future__ import annotations

import time

import numpy as np
import torch

from vptcore.analysis.neighbours import label_by_neighbours
from vptcore.data.tensors import ImageSet
from vptcore.jobs.device import open_device
from vptcore.models.methods import build, build_encoder, spec_of
from vptcore.records import read_rows
from vptcore.training import stage
from vptcore.training.fit import fit, predict
from vptcore.training.recipe import Recipe
from vptstudy import slices
from vptstudy.graph import flow
from vptstudy.plan.devices import device_of
from vptstudy.plan.images import counts_of
from vptstudy.plan.seconds import Speed
from vptstudy.plan.workload import search_work
from vptstudy.study import Cell, Study

STEPS, LEAST = 3, 96  # steps, and images that are timed
BATCH = 8  # images whose features are timed


def seconds_of_neighbours(study: Study) -> float:
    """How long the features of all folds' images would take here, by one batch of them."""
    job = slices.search(study, study.cells[0])
    device, normalise = open_device(job["device"], lambda line: None), stage.normalise_of(job)
    encoder = build_encoder(spec_of(job), seed=0).to(device)
    shape = (BATCH, normalise.size, normalise.size, 3)
    images = ImageSet.of(np.zeros(shape, np.uint8), np.zeros(BATCH), normalise, device)
    started = time.perf_counter()
    predict(encoder, images)
    splits = (read_rows(flow.task_files(study, cell.task, cell.train)["splits"], "splits") for cell in study.cells)
    return sum(map(len, splits)) / BATCH * (time.perf_counter() - started)


def neighbours(study: Study) -> dict[str, float]:
    """{"val": accuracy, "test": ...} of nearest neighbours, in the mean over the images of all folds."""
    folds = [_of_fold(study, cell) for cell in study.cells]
    return {part: float(np.concatenate([fold[part] for fold in folds]).mean()) for part in ("val", "test")}


def _of_fold(study: Study, cell: Cell) -> dict[str, np.ndarray]:
    """Right answers (N,); test's neighbours are those of train and val."""
    job = slices.search(study, cell)
    device = open_device(job["device"], lambda line: None)
    files = flow.task_files(study, cell.task, cell.train)
    parts = stage.Parts(job, files["images"], files["index"], files["splits"], device)
    encoder = build_encoder(spec_of(job), seed=0).to(device)
    features, labels = {}, {}
    for part in ("train", "val", "test"):
        images = parts.take(part)
        features[part], labels[part] = predict(encoder, images).cpu().numpy(), images.labels_N.cpu().numpy()
    both = {key: np.concatenate([found["train"], found["val"]]) for key, found in (("f", features), ("l", labels))}
    return {
        part: label_by_neighbours(known, named, features[part], job["classes"]) == labels[part]
        for part, known, named in (("val", features["train"], labels["train"]), ("test", both["f"], both["l"]))
    }


def assumed_seconds(study: Study, cell: Cell) -> float:
    """As `seconds_per_image`, of the device that the study's plan names, at the plan's rate."""
    job = slices.search(study, cell) | {"method": "full", "prompt_length": 0}
    (phase,) = [
        phase for phase in search_work(job, counts_of(study, cell.task, cell.train)).phases if phase.name == "train"
    ]
    return Speed(device_of(study.config["plan"]["device"])).phase_seconds(phase) / phase.images


def seconds_per_image(study: Study, cell: Cell) -> float:
    """Of full fine-tuning with the cell's backbone on this device, forward, backward and step, by a few steps."""
    job = slices.search(study, cell) | {"method": "full", "prompt_length": 0}
    device = open_device(job["device"], lambda line: None)
    model, normalise = build(spec_of(job), seed=0).to(device), stage.normalise_of(job)
    size, batch = normalise.size, int(job["recipe"]["batch"])
    count = max(STEPS * batch, LEAST)
    images = ImageSet.of(np.zeros((count, size, size, 3), np.uint8), np.zeros(count), normalise, device)
    recipe = Recipe("adamw", 1e-6, 0.0, batch, 1, 0)
    fit(model, ImageSet(images.images[:batch], images.labels_N[:batch], normalise), recipe, seed=0)
    if device.type == "cuda":
        torch.cuda.synchronize()
    started = time.perf_counter()
    fit(model, images, recipe, seed=0)
    return (time.perf_counter() - started) / len(images)
