"""An optimizer and its captured steps, made ready once and taken up again by every run of one model.

In: a model that is handed out again as it was built (`vptcore.training.fresh`), and the recipe of each run. Out: an
optimizer that starts anew in the same places, and the `TrainStep` made for that recipe before, if one was. A graph
reads the learning rate from the device, so one serves every rate; the weight decay is an argument of torch's fused
kernels, and each decay has its own: a decay on the device would cost another pass over all weights at every step. A
stack's decays are on the device, where its own optimizer reads them.

    python -m pytest tests/vptcore/training/test_prepared.py
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import replace
from typing import Any

from torch import nn

from vptcore.data.tensors import ImageSet
from vptcore.training.optimizers import make_optimizer
from vptcore.training.recipe import Recipe
from vptcore.training.step import Augment, CudaGraphs, TrainStep


class Prepared:
    """What the runs of one model on one set share. Given another model or set it begins again."""

    def __init__(self, graphs: CudaGraphs | None = None):
        self._graphs = graphs
        self._of: tuple[nn.Module, ImageSet] | None = None
        self._optimizers: dict[Hashable, Any] = {}
        self._steps: dict[Hashable, TrainStep] = {}

    def optimizer(self, model: nn.Module, train: ImageSet, recipe: Recipe | Sequence[Recipe], *, resumed: bool = False):
        """The optimizer of a run. One that is to be `resumed` is made anew: loading moves its state to other places."""
        if resumed or self._of is None or self._of[0] is not model or self._of[1] is not train:
            self._of, self._optimizers, self._steps = (model, train), {}, {}
        key = _without_numbers(recipe)
        if key in self._optimizers:
            self._optimizers[key].start_anew(model, recipe)
        else:
            self._optimizers[key] = make_optimizer(model, recipe)
        return self._optimizers[key]

    def step(
        self,
        recipe: Recipe | Sequence[Recipe],
        optimizer,
        augment: Augment | None,
        compile: str,
        make: Callable[..., TrainStep],
    ) -> TrainStep:
        """The step of `recipe`: `make(graphs=...)` where none is ready. Its `seconds` are those of this call."""
        if self._graphs is None and self._of[1].device.type == "cuda":
            self._graphs = CudaGraphs(self._of[1].device)
        decay = recipe.weight_decay if isinstance(recipe, Recipe) else None
        key = (_without_numbers(recipe), decay, id(optimizer), id(augment), compile)
        if key in self._steps:
            self._steps[key].seconds = 0.0
        else:
            self._steps[key] = make(graphs=self._graphs)
        return self._steps[key]


def _without_numbers(recipe: Recipe | Sequence[Recipe]) -> Hashable:
    """What is equal for all configurations of a grid, on schedules of any length, or all stacks of as many."""
    first, count = (recipe, None) if isinstance(recipe, Recipe) else (recipe[0], len(recipe))
    return replace(first, lr=0.0, weight_decay=0.0, epochs=0, warmup=0), count
