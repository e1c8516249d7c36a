"""The project's form: the code that a study's jobs run, called as they call it.

In: a case, the work and images. Out: images per second, or seconds of a grid. Nothing is reimplemented here: models come
from `build`, steps from `fit`, logits from `predict`, cached features from `probe`.

    python -m pytest tests/test_bench.py
"""

from __future__ import annotations

import torch

from bench.cases import Case, Work, grid_of, job_of, random_images, recipe_of
from bench.clock import now
from vptcore.data.tensors import ImageSet
from vptcore.models.heads import StackedHeads
from vptcore.models.methods import Tuned, build, build_head, spec_of
from vptcore.training.fit import fit, predict
from vptcore.training.jobs import normalise_of
from vptcore.training.search import probe


def make(case: Case, work: Work) -> Tuned:
    return build(spec_of(job_of(case, work)), seed=0).to(work.device)


def load(case: Case, work: Work, count: int) -> ImageSet:
    return ImageSet.of(*random_images(work, count), normalise_of(job_of(case, work)), work.device)


def train(model: Tuned, images: ImageSet, case: Case, work: Work) -> float:
    """Images per second of one epoch; of a probe, of all its epochs, with the pass that computes the features."""
    recipe, started = recipe_of(case, work), now(work.device)
    if case.method == "linear":
        model, images = probe(job_of(case, work), images, torch.device(work.device))
    history = fit(model, images, recipe, seed=0)
    seconds = now(work.device) - started
    if bool(history.diverged):
        raise ValueError(f"{case.id}: our loss is not finite; timings of a diverged model mean nothing")
    return history.images / seconds


def evaluate(model: Tuned, images: ImageSet, work: Work) -> float:
    """Images per second of one pass."""
    started = now(work.device)
    predict(model, images)
    return len(images) / (now(work.device) - started)


def grid_seconds(case: Case, work: Work) -> float:
    """Seconds of the whole grid: features of both parts, every head trained, every head scored."""
    job, recipes, device = job_of(case, work), grid_of(case, work), torch.device(work.device)
    train_images, val_images = (load(case, work, n) for n in (work.grid_images, work.grid_images // 4))
    started = now(work.device)
    _, train_features, val_features = probe(job, train_images, val_images, device)
    heads = StackedHeads(lambda: build_head(spec_of(job), seed=0), 0, len(recipes)).to(device)
    fit(heads, train_features, recipes, seed=0)
    predict(heads, val_features)
    return now(work.device) - started
