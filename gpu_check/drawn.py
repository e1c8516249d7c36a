"""Attention's kernels against each other, and dropout inside a captured graph.

In: the device. Out: a line for each. On a CPU, which has one kernel and no graphs, they are compared with themselves.

    python -m gpu_check --part correct
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

from gpu_check import models
from gpu_check.checks import Check
from gpu_check.result import SKIPPED, Line, judge
from vptcore.models.prompts import Prompts
from vptcore.training.fit import fit
from vptcore.training.step import CudaGraphs

# A last block's: one query over 197 tokens and 50 prompts of a ViT-B/16.
BATCH, HEADS, KEYS, EACH = 8, 12, 247, 64
KERNELS = {"cuDNN": SDPBackend.CUDNN_ATTENTION, "flash": SDPBackend.FLASH_ATTENTION}
DROPPED, TOKENS, WIDTH = 0.1, 50, 768
SMALL = models.Sizes(side=32, patch=8, width=64, heads=4, depth=2)


def checks(device: str) -> dict[str, Check]:
    fused = {f"attention of one query, {name}": partial(_attention, KERNELS[name], device) for name in KERNELS}
    return fused | {"dropout in a graph": partial(_dropped, device), "dropout of a seed": partial(_seeds, device)}


def _attention(kernel: SDPBackend, device: str, name: str) -> Line:
    """A fused kernel on one query, in bf16, against the plain product in float64."""
    generator = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(BATCH, HEADS, n, EACH, generator=generator).bfloat16() for n in (1, KEYS, KEYS))
    exact = F.scaled_dot_product_attention(*(x.double() for x in (q, k, v)))
    on_device = [x.to(device) for x in (q, k, v)]
    try:
        with sdpa_kernel(kernel):
            found = F.scaled_dot_product_attention(*on_device).double().cpu()
    except RuntimeError as error:
        return Line("correct", name, SKIPPED, str(error).splitlines()[0][:120])
    off = float((found - exact).abs().max() / exact.abs().max())
    return judge("correct", name, off <= 2e-2, f"within {off:.1e}", "2e-2 of float64's")


def _dropped(device: str, name: str) -> Line:
    """The prompts of a batch, drawn 16 times by one captured graph: the share of zeros, and no draw twice."""
    prompts = Prompts(1, TOKENS, WIDTH, 16, dropout=DROPPED).to(device)
    torch.nn.init.ones_(prompts.tokens)
    mask = torch.zeros(BATCH, TOKENS, WIDTH, device=device)
    draw = _captured(lambda _: mask.copy_(prompts.layer(0, BATCH).detach()), device)
    masks = []
    for _ in range(16):
        draw()
        masks.append((mask == 0).cpu())
    share = float(torch.stack(masks).double().mean())
    # Of two independent draws so large a share is alike.
    alike = max(float((a == b).double().mean()) for a, b in pairwise(masks))
    both = 1 - 2 * DROPPED * (1 - DROPPED)
    holds = abs(share - DROPPED) < 0.005 and abs(alike - both) < 0.01
    found = f"{share:.4f} dropped, {alike:.3f} alike from step to step"
    return judge("correct", name, holds, found, f"{DROPPED:g}, {both:.3f}")


def _captured(body: Callable, device: str) -> Callable[[], object]:
    if device == "cpu":
        return lambda: body(None)
    graphs, place = CudaGraphs(torch.device(device)), torch.zeros(1, 1, dtype=torch.int64, device=device)
    with graphs.beside():
        body(place)
    replay = graphs.capture(body, place)
    return lambda: replay(torch.zeros_like(place))


def _seeds(device: str, name: str) -> Line:
    """Two runs under one seed draw alike, one under another seed does not. A step has all images, in whatever order."""

    def losses(seed: int) -> torch.Tensor:
        case = models.Case("vpt")
        model, train = models.model(case, SMALL, dropout=0.5).to(device), models.images(SMALL, device)
        history = fit(model, train, models.recipe(case, SMALL.images, 3), seed=seed)
        return torch.stack([record["train_loss"] for record in history.epochs]).double()

    first, again, other = losses(1), losses(1), losses(2)
    same, apart = float((again / first - 1).abs().max()), float((other / first - 1).abs().max())
    found = f"losses within {same:.1e}, of another seed {apart:.1e}"
    return judge("correct", name, same <= 1e-3 < apart, found, "1e-3, more than that")
