"""The project's form: the code that a study's jobs run, called as they call it.

In: a case, the work and images. Out: images per second, or seconds of a grid. Nothing is reimplemented here: models
come from `build`, steps from `fit`, logits and cached features from `predict`.

    python -m pytest tests/test_bench.py
"""

from __future__ import annotations

from torch import nn

from bench.cases import Case, Work, grid_of, job_of, random_images, recipe_of
from bench.clock import now
from vptcore.data.tensors import ImageSet
from vptcore.models.heads import StackedHeads
from vptcore.models.methods import Tuned, build, build_encoder, build_head, spec_of
from vptcore.training.fit import fit, predict
from vptcore.training.stage import normalise_of

# As a config says it by default: compiled on a GPU, not on a CPU.
COMPILE = "auto"


def make(case: Case, work: Work) -> Tuned:
    return build(spec_of(job_of(case, work)), seed=0).to(work.device)


def load(case: Case, work: Work, count: int) -> ImageSet:
    return ImageSet.of(*random_images(work, count), normalise_of(job_of(case, work)), work.device)


def train(model: Tuned, images: ImageSet, case: Case, work: Work) -> float:
    """Images per second of one epoch; of a probe, of all its epochs, with the pass that computes the features."""
    recipe, started = recipe_of(case, work), now(work.device)
    if case.method == "linear":
        (features,) = _features(model.encoder, images)
        history = fit(build_head(spec_of(job_of(case, work)), seed=0).to(work.device), features, recipe, seed=0)
    else:
        history = fit(model, images, recipe, seed=0, compile=COMPILE)
    seconds = now(work.device) - started
    if bool(history.diverged):
        raise ValueError(f"{case.id}: our loss is not finite; its timing would mean nothing")
    return history.images / seconds


def evaluate(model: Tuned, images: ImageSet, work: Work) -> float:
    """Images per second of one pass."""
    started = now(work.device)
    predict(model, images)
    return len(images) / (now(work.device) - started)


def grid_seconds(case: Case, work: Work) -> float:
    """Seconds of the whole grid: features of both parts, every head trained, every head scored."""
    spec, recipes = spec_of(job_of(case, work)), grid_of(case, work)
    parts = [load(case, work, count) for count in (work.grid_images, work.grid_images // 4)]
    started = now(work.device)
    train_features, val_features = _features(build_encoder(spec, seed=0).to(work.device), *parts)
    heads = StackedHeads(lambda: build_head(spec, seed=0), 0, len(recipes)).to(work.device)
    fit(heads, train_features, recipes, seed=0)
    predict(heads, val_features)
    return now(work.device) - started


def _features(encoder: nn.Module, *parts: ImageSet) -> list[ImageSet]:
    """What the frozen backbone makes of each part, computed once."""
    return [ImageSet(predict(encoder, part), part.labels_N) for part in parts]
