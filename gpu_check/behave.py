"""How jobs behave on the device: who waits, what a full card says, whether bits repeat.

In: the device; on a pretended one, which has no numbers, only the counts and lines that mean something there. Out: a
line per behaviour.

    python -m gpu_check --part behave
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import torch
from torch import nn

from gpu_check import models
from gpu_check.result import Line, judge
from vptcore.jobs import stopping
from vptcore.jobs.determinism import WORKSPACE, settle
from vptcore.jobs.device import room_on
from vptcore.training.fit import fit
from vptcore.training.step import TrainStep

SMALL = models.Sizes(side=32, patch=8, width=64, heads=4, depth=2)
# Bytes that a step on so many images cannot do with, and libraries' workspaces on three streams can.
ROOM, MANY = 512 << 20, 16384


def run(device: str, ends: float, *, pretended: bool = False) -> Iterator[Line]:
    """Each takes seconds; `ends` is every part's."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", WORKSPACE)  # read once, when cuBLAS opens
    yield replace(_leaves_alone(), pretended=pretended)
    for method in models.METHODS:
        yield replace(_nobody_waits(method, device), pretended=pretended)
    yield replace(_one_at_a_time(), pretended=pretended)
    yield replace(_goes_on(device, pretended), pretended=pretended)
    if not pretended:
        yield _repeats(device)
    yield replace(_full(device), pretended=pretended)


def _fit(method: str, device: str, count: int = 20, batch: int = 8, epochs: int = 2) -> tuple[nn.Module, object]:
    model = models.model(method, SMALL).to(device)
    return model, fit(model, models.images(SMALL, device, count), models.recipe(method, batch, epochs), seed=1)


def _leaves_alone() -> Line:
    _fit("vpt", "cpu")
    opened = torch.cuda.is_initialized()
    return judge("behave", "a CPU job leaves the GPU alone", not opened, "opened" if opened else "not opened", "")


def _nobody_waits(method: str, device: str) -> Line:
    """torch raises at whatever waits for the GPU while steps run."""
    call, steps = TrainStep.__call__, []

    def strictly(self: TrainStep, draws: torch.Tensor) -> None:
        torch.cuda.set_sync_debug_mode("error")
        try:
            call(self, draws)
        finally:
            torch.cuda.set_sync_debug_mode("default")
        steps.append(draws.shape[1])

    with patch.object(TrainStep, "__call__", strictly):
        try:
            captured = _fit(method, device)[1].captured
        except RuntimeError as error:
            captured = f"after {len(steps)} steps: {str(error).splitlines()[0]}"
    found = f"{len(steps)} steps without a wait, captured: {captured}"
    return judge("behave", f"{method}: nobody waits in an epoch", (len(steps), captured) == (6, "yes"), found, "6, yes")


def _repeats(device: str) -> Line:
    settle(torch.get_num_threads(), deterministic=True)
    first, second = (_fit("full", device)[0].state_dict() for _ in range(2))
    settle(torch.get_num_threads())
    other = [name for name in first if not torch.equal(first[name], second[name])]
    found = f"{len(first) - len(other)} of {len(first)} tensors the same"
    return judge("behave", "deterministic: true gives the same bits twice", not other, found, "all")


def _goes_on(device: str, pretended: bool) -> Line:
    """Told to end in its third epoch and run again; on a real card the weights are those of a run left alone."""

    def stop(record: dict, rate: float) -> None:
        if record["epoch"] == 3:
            raise stopping.Stopped("told to end")

    def run(**more) -> tuple[nn.Module, object]:
        train, recipe = models.images(SMALL, device, 20), models.recipe("vpt", 8, 5)
        model = models.model("vpt", SMALL).to(device)
        return model, fit(model, train, recipe, seed=1, **more)

    settle(torch.get_num_threads(), deterministic=True)
    whole, _ = run()
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = Path(folder, "run.checkpoint")
        with contextlib.suppress(stopping.Stopped):
            run(checkpoint=checkpoint, on_epoch=stop)
        left = checkpoint.exists()
        model, history = run(checkpoint=checkpoint)
    settle(torch.get_num_threads())
    pairs = list(zip(whole.parameters(), model.parameters(), strict=True))
    same = pretended or all(torch.equal(a, b) for a, b in pairs)
    weights = "not compared" if pretended else "the same" if same else "others"
    found = f"{len(history.epochs)} epochs, checkpoint {'left' if left else 'missing'}, weights {weights}"
    return judge(
        "behave", "killed and run again", same and left and len(history.epochs) == 5, found, "5, left, the same"
    )


WAITS = """
from vptstudy.run.gpus import handed_out
with handed_out(1, lambda line: print(line, flush=True), poll=0.05) as device:
    print("got", device, flush=True)
"""


def _one_at_a_time() -> Line:
    """Two jobs and one card: the second says that it waits, and has the card when the first has ended."""
    from vptstudy.run.gpus import handed_out

    said: list[str] = []
    card = f"check{os.getpid()}"  # a lock of its own, whoever else is at work on the card itself
    with patch.dict(os.environ, {"VPTCORE_GPUS": card}):
        with handed_out(1, said.append, poll=0.05) as mine:
            words = [sys.executable, "-c", WAITS]
            second = subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env=os.environ | {"LD_PRELOAD": ""})
            first_line = second.stdout.readline().strip()
        rest = second.communicate(timeout=60)[0].split()
    holds = mine == card and not said and first_line.startswith("waiting for a GPU") and rest == ["got", card]
    found = f"the second said: {first_line}, then: {' '.join(rest)}".replace(card, "0")
    return judge("behave", "two jobs, one card", holds, found, "waiting for a GPU, got 0")


def _full(device: str) -> Line:
    """The card is made small, filled by a batch that is too big, and serves a smaller one afterwards."""
    total = torch.cuda.mem_get_info()[1]
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction((torch.cuda.memory_reserved() + ROOM) / total)
    try:
        said = _line(lambda: _fit("full", device, MANY, MANY), device)
        after = len(_fit("vpt", device)[1].epochs) if said else 0
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    holds = said.startswith("no room on cuda") and "\n" not in said and after == 2
    return judge("behave", "a full card is one line", holds, said or "no error", "no room on cuda ...")


def _line(act: Callable[[], object], device: str) -> str:
    try:
        with room_on(torch.device(device)):
            act()
    except ValueError as error:
        return str(error)
    return ""
