"""A full card: one line wherever it fills up, and nothing lost that was finished.

In: the device. Out: a line per place where memory can run out.

    python -m gpu_check --part behave
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import torch

from gpu_check import grid, models
from gpu_check.checks import Check
from gpu_check.models import Case
from gpu_check.result import Line, judge
from vptcore.data.tensors import ImageSet
from vptcore.jobs.device import room_on
from vptcore.training.fit import fit, predict

SMALL = grid.SMALL
# Bytes that a step on so many images cannot do with, and libraries' workspaces on three streams can.
ROOM, MANY = 512 << 20, 16384


def checks(device: str) -> dict[str, Check]:
    filled = {f"a card filled by {where}": partial(full, where, device) for where in ("a step", "scoring", "images")}
    return filled | {"a full card keeps what is finished": partial(kept, device)}


def tighten(more: int = 0) -> None:
    """From now on this process gets no more than so many bytes beyond what it holds."""
    torch.cuda.empty_cache()
    total = torch.cuda.mem_get_info()[1]
    torch.cuda.set_per_process_memory_fraction((torch.cuda.memory_reserved() + more) / total)


@contextmanager
def loosened() -> Iterator[None]:
    """Afterwards it may have the whole card again."""
    try:
        yield
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)


def full(where: str, device: str, name: str) -> Line:
    """Filled by a step, by scoring or by images that are too many; a smaller batch is served afterwards."""
    case, side = Case("full"), SMALL.side
    model = models.model(case, SMALL).to(device)
    many = ImageSet(
        torch.zeros(MANY, side, side, 3, dtype=torch.uint8, device=device),
        torch.zeros(MANY, dtype=torch.int64, device=device), models.images(SMALL, "cpu", 1).normalise,
    )  # fmt: skip
    acts = {
        "a step": lambda: fit(model, many, models.recipe(case, MANY), seed=1),
        "scoring": lambda: predict(model, many, MANY),
        "images": lambda: torch.zeros(2 * ROOM, dtype=torch.uint8).to(device),
    }
    with loosened():
        tighten(ROOM)
        said = line_of(acts[where], device)
        after = len(fit(model, models.images(SMALL, device), models.recipe(case, 8, 2), seed=1).epochs)
    holds = said.startswith("no room on cuda") and "\n" not in said and after == 2
    return judge("behave", name, holds, said or "no error", "no room on cuda ...")


def line_of(act: Callable[[], object], device: str) -> str:
    try:
        with room_on(torch.device(device)):
            act()
    except ValueError as error:
        return str(error)
    return ""


def kept(device: str, name: str) -> Line:
    """The card is full when the second of two configurations begins; run again, the first is not trained again."""
    said: list[str] = []

    def fill(line: str) -> None:
        if line.startswith("configuration 1/"):
            tighten()

    with tempfile.TemporaryDirectory() as folder, loosened():
        request = grid.make(Path(folder), device, decays=(0.0, 0.01))
        first = line_of(lambda: grid.run(**request, say=fill), device)
        torch.cuda.set_per_process_memory_fraction(1.0)
        second = line_of(lambda: grid.run(**request, say=said.append), device)
    epochs = [sum(line.startswith(f"configuration {i}: epoch") for line in said) for i in (1, 2)]
    holds = first.startswith("no room on cuda") and not second and epochs == [0, grid.EPOCHS]
    found = f"{first or 'no error'}; run again, {epochs[0]} and {epochs[1]} epochs {second}".strip()
    return judge("behave", name, holds, found, f"run again, 0 and {grid.EPOCHS} epochs")
