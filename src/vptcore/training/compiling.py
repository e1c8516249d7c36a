"""Blocks compiled once each: a model's L blocks are one function, so that one compilation serves all of them.

In: a model whose encoder lists its block functions in `calls` (`vptcore.models.prompts`, `windows`), and the config's
`compile` (auto, always, never). Out: the same model with those functions compiled, and in words whether they are.
`auto` compiles on a GPU alone: a CPU job is shorter than its compilation. Where Inductor keeps its results is said by
TORCHINDUCTOR_CACHE_DIR and TRITON_CACHE_DIR, so that a machine compiles once for all jobs.

    python -m pytest tests/vptcore/training/test_compiling.py
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache, partial

import torch
from torch import nn

from vptcore.models.blocks import drop_path

# Shapes of one block function: full and remaining batch, train and eval, all tokens and one query, test sets.
MOST_SHAPES = 64


def is_wanted(mode: str, device: torch.device) -> bool:
    return mode == "always" or (mode == "auto" and device.type == "cuda")


def compile_blocks(model: nn.Module) -> str:
    """Put compiled functions in the place of the plain ones. Returns `yes`, or `no` and why."""
    encoders = list(_encoders(model))
    for encoder in encoders:
        draws = any(getattr(module, "drop_prob", None) for module in encoder.modules())
        encoder.calls = {name: _compiled(function, draws) for name, function in type(encoder).CALLS.items()}
    if not encoders:
        return "no (no blocks)"
    return "yes, dropout drawn by the compiler" if _drops_inside(encoders) else "yes"


def plain_blocks(model: nn.Module) -> None:
    for encoder in _encoders(model):
        encoder.calls = dict(type(encoder).CALLS)


@contextmanager
def plainly(model: nn.Module, wanted: bool = True) -> Iterator[None]:
    """Inside, the model's blocks are the plain ones, if `wanted`."""
    before = [(encoder, encoder.calls) for encoder in _encoders(model)]
    if wanted:
        plain_blocks(model)
    try:
        yield
    finally:
        for encoder, calls in before:
            encoder.calls = calls


def cause(error: BaseException) -> str:
    """The first line of an error that says something, after its class."""
    lines = [line.strip() for line in str(error).splitlines()]
    lines = [line for line in lines if line and not line.endswith("raised:")]
    return f"{type(error).__name__}: {lines[0][:160]}" if lines else type(error).__name__


@cache
def _compiled(function: Callable, draws: bool) -> Callable:
    """`draws`: some blocks drop paths, each at a rate of its own, so that this is left outside: one graph for all."""
    torch._dynamo.config.recompile_limit = max(torch._dynamo.config.recompile_limit, MOST_SHAPES)
    compiled = torch.compile(function, dynamic=False)
    return partial(compiled, drop=torch.compiler.disable(drop_path)) if draws else compiled


def _encoders(model: nn.Module) -> Iterator[nn.Module]:
    return (module for module in model.modules() if hasattr(type(module), "CALLS"))


def _drops_inside(encoders: list[nn.Module]) -> bool:
    """Whether an element-wise dropout lies inside a compiled block: Inductor draws it from a stream of its own."""
    return any(
        isinstance(module, nn.Dropout) and module.p > 0 and ".blocks." in f".{name}"
        for encoder in encoders
        for name, module in encoder.named_modules()
    )
