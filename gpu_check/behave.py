"""How jobs behave on the device: who waits, what is made twice, what a full card says, whether bits repeat.

In: the device; on a pretended one, which has no numbers, only the counts and lines that mean something there. Out: a
line per behaviour.

    python -m gpu_check --part behave
"""

from __future__ import annotations

import contextlib
import os
import signal
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from unittest.mock import patch

import torch
import torch.nn.functional as F
from torch import nn

from gpu_check import full, grid, jobs, models
from gpu_check.checks import Check, lines
from gpu_check.models import CASES, Case
from gpu_check.result import Line, judge
from vptcore.jobs import stopping
from vptcore.jobs.determinism import WORKSPACE, settle
from vptcore.jobs.toolchain import CANNOT, compiler
from vptcore.training import step as step_module
from vptcore.training.fit import fit
from vptcore.training.fresh import Models
from vptcore.training.prepared import Prepared
from vptcore.training.step import CudaGraphs, TrainStep

SMALL = grid.SMALL
VPT, FT = Case("vpt"), Case("full")


def run(device: str, ends: float, *, pretended: bool = False) -> Iterator[Line]:
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", WORKSPACE)  # read once, when cuBLAS opens
    for line in lines("behave", _checks(device, pretended), ends):
        yield replace(line, pretended=pretended)


def _checks(device: str, pretended: bool) -> dict[str, Check]:
    waits = {f"{case.name}: nobody waits in an epoch": partial(_nobody_waits, case, device) for case in CASES}
    bits = {} if pretended else {"deterministic: true gives the same bits twice": partial(_repeats, device)}
    return {
        **jobs.checks(pretended), **waits,
        "attention is fused": partial(_fused, device),
        "nothing is made twice": partial(_nothing_again, device),
        "killed at a step and run again": partial(_goes_on, device, pretended),
        **bits, **full.checks(device),
    }  # fmt: skip


def fitted(case: Case, device: str, count: int = 20, batch: int = 8, epochs: int = 2) -> tuple[nn.Module, object]:
    model = models.model(case, SMALL).to(device)
    return model, fit(model, models.images(SMALL, device, count), models.recipe(case, batch, epochs), seed=1)


def _nobody_waits(case: Case, device: str, name: str) -> Line:
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
            captured = fitted(case, device)[1].captured
        except RuntimeError as error:
            captured = f"after {len(steps)} steps: {str(error).splitlines()[0]}"
    holds, found = (len(steps), captured) == (6, "yes"), f"{len(steps)} steps without a wait, captured: {captured}"
    return judge("behave", name, holds, found, "6, yes")


def _fused(device: str, name: str) -> Line:
    """What torch chooses for each call of attention, as a step and as scoring make them at real widths in bf16."""
    attend, chosen = F.scaled_dot_product_attention, []

    def spy(q, k, v, **rest):
        chosen.append(torch._fused_sdp_choice(q, k, v, **rest))
        return attend(q, k, v, **rest)

    with patch.object(F, "scaled_dot_product_attention", spy):
        for case in CASES:
            model, train = models.model(case, models.Sizes()).to(device), models.images(models.Sizes(), device, 2)
            with step_module.precision_context(train):
                model.train()(train.inputs(train.order())).sum().backward()
                with torch.no_grad():
                    model.eval()(train.inputs(train.order()))
    plain = sum(choice == 0 for choice in chosen)  # torch.nn.attention.SDPBackend.MATH
    found = f"{plain} of {len(chosen)} calls plain"
    return judge("behave", name, bool(chosen) and not plain, found, "0 plain")


def _nothing_again(device: str, name: str) -> Line:
    """Two learning rates, three epochs each: what is compiled and captured in the first epoch is all that is."""
    made, seen = Models(lambda: models.model(VPT, SMALL), torch.device(device)), []
    train, prepared, capture, captures = models.images(SMALL, device), Prepared(), CudaGraphs.capture, []

    def counting(self, body, draws):
        captures.append(draws.shape[1])
        return capture(self, body, draws)

    def note(record: dict, rate: float) -> None:
        graphs = torch._dynamo.utils.counters["stats"]["unique_graphs"]
        seen.append((int(graphs), len(captures)))

    with patch.object(CudaGraphs, "capture", counting):
        for lr in (0.1, 0.2):
            recipe = replace(models.recipe(VPT, 8, 3), lr=lr)
            history = fit(made.fresh(), train, recipe, seed=1, on_epoch=note, compile="auto", prepared=prepared)
    found = f"{seen[0][0]} compiled and {seen[0][1]} captured, then {seen[-1][0] - seen[0][0]} and "
    found += f"{seen[-1][1] - seen[0][1]}; compiled: {history.compiled}, captured: {history.captured}"
    can = history.compiled.startswith("yes") or CANNOT in compiler()
    return judge("behave", name, can and len(set(seen)) == 1 and seen[0][1] == 2, found, "then 0 and 0")


DIGEST = """
import hashlib, json
import torch
from gpu_check.behave import FT, fitted
from vptcore.jobs.determinism import settle
settle(1, deterministic=True)
state = fitted(FT, "{device}")[0].state_dict()
parts = b"".join(value.cpu().numpy().tobytes() for value in state.values())
print(json.dumps(hashlib.sha256(parts).hexdigest()))
"""


def _repeats(device: str, name: str) -> Line:
    digests = [grid.ask(DIGEST.replace("{device}", device)) for _ in range(2)]
    found = " and ".join(digest[:12] for digest in digests)
    return judge("behave", name, len(set(digests)) == 1, found, "two processes alike")


def _goes_on(device: str, pretended: bool, name: str) -> Line:
    """Told to end in the second step of its third epoch, and run again; a card's weights are those of a whole run."""
    call, steps = TrainStep.__call__, []

    def stop(self: TrainStep, draws: torch.Tensor) -> None:
        call(self, draws)
        steps.append(1)
        if len(steps) == 8:
            os.kill(os.getpid(), signal.SIGTERM)

    def run(**more) -> tuple[nn.Module, object]:
        train, recipe = models.images(SMALL, device, 20), models.recipe(VPT, 8, 5)
        model = models.model(VPT, SMALL).to(device)
        return model, fit(model, train, recipe, seed=1, **more)

    settle(torch.get_num_threads(), deterministic=True)
    whole, _ = run()
    with tempfile.TemporaryDirectory() as folder, _listening():
        checkpoint = Path(folder, "run.checkpoint")
        with contextlib.suppress(stopping.Stopped), patch.object(TrainStep, "__call__", stop):
            run(checkpoint=checkpoint)
        left = checkpoint.exists()
        stopping.listen()
        model, history = run(checkpoint=checkpoint)
    settle(torch.get_num_threads())
    pairs = list(zip(whole.parameters(), model.parameters(), strict=True))
    same = pretended or all(torch.equal(a, b) for a, b in pairs)
    weights = "not compared" if pretended else "the same" if same else "others"
    found = f"after {len(steps)} steps, checkpoint {'left' if left else 'missing'}; "
    found += f"{len(history.epochs)} epochs in all, weights {weights}"
    holds = same and left and len(steps) == 8 and len(history.epochs) == 5
    return judge("behave", name, holds, found, "after 8 steps, left; 5, the same")


@contextlib.contextmanager
def _listening() -> Iterator[None]:
    """Inside, signals are notes to whoever saves."""
    before = {number: signal.getsignal(number) for number in stopping.SIGNALS}
    stopping.listen()
    try:
        yield
    finally:
        stopping.listen()
        for number, handler in before.items():
            signal.signal(number, handler)
