"""One optimizer step over the rows that a tensor names, and on a GPU the whole of it as one CUDA graph.

In: a model, an `ImageSet` on its device, a recipe and an optimizer. Out: a `TrainStep`, called with an epoch's draws a
batch at a time. It gathers the images, normalises, runs the model, takes the loss in fp32, goes back, steps, and adds
loss and hits to `sums` on the device; nothing in it waits for the GPU.

On a GPU it is captured once for a full batch and once for the epoch's last, smaller one, and replayed: one launch in
place of a thousand. On a CPU the same body is called. What compiling and capturing took is in `seconds`, what came of
them in `compiled` and `captured`; both happen before the first step, with weights, optimizer and random numbers put
back.

Shapes: B batch, C classes, K rows of draws (`vptcore.data.tensors.draw_epoch`), G configurations side by side.

    python -m pytest tests/vptcore/training/test_step.py
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vptcore.data.tensors import ImageSet
from vptcore.models.heads import at_least_fp32
from vptcore.training.batches import cuts
from vptcore.training.compiling import cause, compile_blocks, is_wanted, plain_blocks
from vptcore.training.recipe import Recipe

WARM_UPS = 2  # before a capture: libraries open their handles, lazily made state is there


class Augment(Protocol):
    """A random cut of a batch: `shift` is its largest top and left, the call takes images and (3, B) places."""

    @property
    def shift(self) -> int: ...

    def __call__(self, images_BCHW: Tensor, places_3B: Tensor) -> Tensor: ...


def cross_entropy_per_model(logits: Tensor, labels_B: Tensor, label_smoothing: float = 0.0) -> Tensor:
    """Mean cross-entropy over the batch, one value for each leading index of `logits` (..., B, C)."""
    lead, classes = logits.shape[:-1], logits.shape[-1]
    losses = F.cross_entropy(
        at_least_fp32(logits).reshape(-1, classes),
        labels_B.expand(lead).reshape(-1),
        reduction="none",
        label_smoothing=label_smoothing,
    )
    return losses.view(lead).mean(-1)


def precision_context(images: ImageSet, *, half: bool = True):
    """bf16 autocast over fp32 master weights for images on a GPU; fp32 for cached features, and on a CPU."""
    if half and images.device.type == "cuda" and images.normalise is not None:
        return torch.autocast("cuda", dtype=torch.bfloat16)
    return contextlib.nullcontext()


def _has_batch_norm(model: nn.Module) -> bool:
    return any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in model.modules())


class CudaGraphs:
    """Captures steps of one device; their graphs share their memory, as only one runs at a time."""

    def __init__(self, device: torch.device):
        self._device, self._pool = device, torch.cuda.graph_pool_handle()

    @contextlib.contextmanager
    def beside(self) -> Iterator[None]:
        """Inside, work goes to a stream of its own, as it must before a capture."""
        side = torch.cuda.Stream(self._device)
        side.wait_stream(torch.cuda.current_stream(self._device))
        with torch.cuda.stream(side):
            yield
        torch.cuda.current_stream(self._device).wait_stream(side)

    def capture(self, body: Callable[[Tensor], None], draws_KB: Tensor) -> Callable[[Tensor], None]:
        """`body` on draws of this size, as one launch. `draws_KB` becomes the place that it reads them from."""
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self._pool):
            body(draws_KB)

        def replay(now_KB: Tensor) -> None:
            draws_KB.copy_(now_KB)
            graph.replay()

        return replay


class TrainStep:
    """`sums` is (2, ...) in float64 on the device: loss and hits, each summed over the images since it was set to 0.
    `cuts` are the sizes of an epoch's batches.

    `lead` is the logits' leading shape: (G,) for a stack of G models, () for one.
    """

    def __init__(
        self,
        model: nn.Module,
        train: ImageSet,
        recipe: Recipe,
        optimizer,
        augment: Augment | None = None,
        *,
        lead: tuple[int, ...] = (),
        compile: str = "never",
        say: Callable[[str], None] = lambda line: None,
        graphs: CudaGraphs | None = None,
    ):
        self.model, self.train, self.recipe, self.optimizer, self.augment = model, train, recipe, optimizer, augment
        self.cuts = cuts(len(train), recipe.batch, joined=_has_batch_norm(model))
        self.sums = torch.zeros(2, *lead, dtype=torch.float64, device=train.device)
        self.compiled, self.captured, self.seconds = f"no (compile: {compile})", "no (no GPU)", 0.0
        self._replays: dict[int, Callable[[Tensor], None]] = {}
        self._say = say
        self._graphs = graphs or (CudaGraphs(train.device) if train.device.type == "cuda" else None)
        began = time.perf_counter()
        if self._graphs is not None or is_wanted(compile, train.device):
            model.train()
            with kept(model, optimizer):
                self._get_ready(compile)
            self.sums.zero_()
            self.seconds = time.perf_counter() - began

    def __call__(self, draws_KB: Tensor) -> None:
        """One step on the images of `draws`, which are on the device."""
        self._replays.get(draws_KB.shape[1], self._body)(draws_KB)

    def _body(self, draws_KB: Tensor) -> None:
        rows_B, train = draws_KB[0], self.train
        inputs = train.inputs(rows_B, None if train.shift is None else draws_KB[1:4])
        if self.augment is not None:
            inputs = self.augment(inputs, draws_KB[-3:])
        labels_B = train.labels_N[rows_B]
        with precision_context(train):
            logits = self.model(inputs)
        losses = cross_entropy_per_model(logits, labels_B, self.recipe.label_smoothing)
        self.optimizer.zero_grad(set_to_none=True)
        losses.sum().backward()
        self.optimizer.step()
        self.sums[0] += losses.detach().double() * len(rows_B)
        self.sums[1] += (logits.detach().argmax(-1) == labels_B).sum(-1).double()

    def _examples(self) -> list[Tensor]:
        """Draws of each size that cut nothing."""
        parts = 1 + 3 * ((self.train.shift is not None) + (self.augment is not None))
        sizes = dict.fromkeys(self.cuts)
        return [torch.zeros(parts, count, dtype=torch.int64, device=self.train.device) for count in sizes]

    def _get_ready(self, compile: str) -> None:
        if is_wanted(compile, self.train.device):
            self.compiled = compile_blocks(self.model)
        try:
            self._warm_up()
        except torch.OutOfMemoryError:
            raise
        except Exception as error:
            if not self.compiled.startswith("yes"):
                raise
            plain_blocks(self.model)
            self.compiled = f"no ({cause(error)})"
            self._say(f"torch.compile failed ({cause(error)}): going on without it")
            self._warm_up()
        if self._graphs is not None:
            self._capture()

    def _warm_up(self) -> None:
        """A few steps of each size, forward and back."""
        with self._graphs.beside() if self._graphs is not None else contextlib.nullcontext():
            for draws_KB in self._examples() * WARM_UPS:
                self._body(draws_KB)

    def _capture(self) -> None:
        """A graph for each size. Where one cannot be had, steps are launched kernel by kernel."""
        try:
            for draws_KB in self._examples():
                self._replays[draws_KB.shape[1]] = self._graphs.capture(self._body, draws_KB)
            self.captured = "yes"
        except torch.OutOfMemoryError:
            raise
        except Exception as error:
            self._replays.clear()
            self.captured = f"no ({cause(error)})"
            self._say(f"the step cannot be captured ({cause(error)}): going on kernel by kernel")


@contextlib.contextmanager
def kept(model: nn.Module, optimizer) -> Iterator[None]:
    """Afterwards weights, buffers, the optimizer's state and the random numbers are what they were, in their places.

    State that the optimizer made inside is set to 0, which is where every optimizer here starts.
    """
    trained = [p for p in model.parameters() if p.requires_grad]
    before = {id(t): (t, t.detach().clone()) for t in [*trained, *model.buffers(), *optimizer.tensors()]}
    counted = [{k: v for k, v in g.items() if isinstance(v, int | float)} for g in optimizer.param_groups]
    cpu, gpu = torch.get_rng_state(), torch.cuda.get_rng_state() if trained[0].is_cuda else None
    yield
    with torch.no_grad():
        for tensor, value in before.values():
            tensor.copy_(value)
        for tensor in optimizer.tensors():
            if id(tensor) not in before:
                tensor.zero_()
    for group, numbers in zip(optimizer.param_groups, counted, strict=True):
        group.update(numbers)
    optimizer.zero_grad(set_to_none=True)
    torch.set_rng_state(cpu)
    if gpu is not None:
        torch.cuda.set_rng_state(gpu)
