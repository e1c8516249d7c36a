"""What a method changes in a backbone, counted without building it: parameters that train, numbers that are added.

In: the model part of a job slice (backbone row, method, settings, prompt length, classes). Out: names, layers and
counts; the plan, the FLOPs and the rehearsal read them, and tests check them against the built models.

    python -m pytest tests/vptcore/models/test_methods_table.py
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache

from vptcore.models.methods_table import METHODS, Added, Method, settings_of
from vptcore.models.outline import Layer, Shape, layers, places, shape_of

HIDDEN = {"linear": 0, "mlp": 2}  # hidden layers of a head, as wide as the feature


def changes_of(job: Mapping) -> tuple[frozenset[str], tuple[tuple[Layer, Added], ...]]:
    """Names of the backbone's parameters that train, and every layer at which something is added."""
    backbone, settings = job["backbone"], json.dumps(settings_of(job), sort_keys=True)
    trained, added = _changes(shape_of(backbone), METHODS[job["method"]], settings)
    return trained - {"pos_embed"} if backbone.get("fixed_positions") else trained, added


@lru_cache(maxsize=1024)
def _changes(shape: Shape, method: Method, settings: str) -> tuple[frozenset[str], tuple[tuple[Layer, Added], ...]]:
    own = json.loads(settings)
    trained = frozenset(place.name for place, _ in places(shape) if method.trains(place, own))
    added = tuple((layer, added) for added in method.adds(own) for layer in layers(shape) if added.at(layer))
    return trained, added


def count_tuned(job: Mapping) -> tuple[int, int]:
    """Tuned parameters (head included) and total, as `methods.count_parameters` counts those of the built model."""
    shape, (trained, added) = shape_of(job["backbone"]), changes_of(job)
    new = sum(part.numbers(layer) for layer, part in added) + _prompts(job, shape) + _head(job)
    own = sum(numbers for place, numbers in places(shape) if place.name in trained)
    return own + new, shape.parameters + new


def _prompts(job: Mapping, shape: Shape) -> int:
    if not METHODS[job["method"]].prompts:
        return 0
    widths = [stage.width for stage in shape.stages for _ in range(stage.blocks)]
    return int(job["prompt_length"]) * sum(widths if job["deep"] else widths[:1])


def _head(job: Mapping) -> int:
    width = int(job["backbone"]["width"])
    # A hidden layer has weights and biases, and its batch norm a scale and a shift.
    return HIDDEN[METHODS[job["method"]].head] * (width + 3) * width + (width + 1) * int(job["classes"])
