"""Heads on a pooled feature: one linear layer, a small MLP, and G linear heads side by side.

In: a feature (B, D). Out: logits (B, C), or (G, B, C) for a stack.

    python -m pytest tests/vptcore/models/test_heads.py
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn


def at_least_fp32(x: Tensor) -> Tensor:
    """bf16 of an autocast region in full precision, where logits and losses are taken; float64 stays as it is."""
    return x if x.dtype == torch.float64 else x.float()


def linear_head(width: int, classes: int, *, init: str = "kaiming", bias: float = 0.0) -> nn.Linear:
    """The paper's head: Kaiming-normal (fan out) weights, every bias at one value (KMnP/vpt src/models/mlp.py)."""
    head = nn.Linear(width, classes)
    if init == "kaiming":
        nn.init.kaiming_normal_(head.weight, mode="fan_out")
    else:
        nn.init.zeros_(head.weight)
    nn.init.constant_(head.bias, bias)
    return head


class MlpHead(nn.Module):
    """Two hidden layers of Linear, ReLU, BatchNorm, Dropout 0.1 before the linear head (KMnP/vpt, MLP_NUM 2).

    Hidden biases start as torch draws them.
    """

    def __init__(self, width: int, classes: int, *, init: str = "kaiming", bias: float = 0.0):
        super().__init__()
        hidden = [
            layer
            for _ in range(2)
            for layer in (nn.Linear(width, width), nn.ReLU(), nn.BatchNorm1d(width), nn.Dropout(0.1))
        ]
        for layer in hidden:
            if isinstance(layer, nn.Linear):
                nn.init.kaiming_normal_(layer.weight, mode="fan_out")
        self.hidden = nn.Sequential(*hidden)
        self.head = linear_head(width, classes, init=init, bias=bias)

    def forward(self, x_BD: Tensor) -> Tensor:
        return self.head(self.hidden(x_BD))

    @torch.no_grad()
    def folded(self) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Weights and biases of the same function, scoring, without batch norms: each scales and shifts what the next
        linear layer reads. First the hidden layers' ("0.weight", ...), ReLU behind each; then the head's."""
        linears = [layer for layer in self.hidden if isinstance(layer, nn.Linear)] + [self.head]
        norms = [layer for layer in self.hidden if isinstance(layer, nn.BatchNorm1d)]
        folded = [(linears[0].weight, linears[0].bias)]
        for norm, linear in zip(norms, linears[1:], strict=True):
            scale_D = norm.weight / (norm.running_var + norm.eps).sqrt()
            shift_D = norm.bias - norm.running_mean * scale_D
            folded.append((linear.weight * scale_D, linear.bias + linear.weight @ shift_D))
        states = [{f"{index}.weight": w, f"{index}.bias": b} for index, (w, b) in enumerate(folded[:-1])]
        hidden = {name: value for state in states for name, value in state.items()}
        return hidden, {"weight": folded[-1][0], "bias": folded[-1][1]}


class StackedHeads(nn.Module):
    """G linear heads that see the same features and are trained side by side, each under its own recipe.

    `make` builds one head; it is called once per configuration under the same seed, so that every head starts where a
    head trained alone would.
    """

    def __init__(self, make: Callable[[], nn.Linear], seed: int, count: int):
        super().__init__()
        heads = []
        for _ in range(count):
            torch.manual_seed(seed)
            heads.append(make())
        self.weight = nn.Parameter(torch.stack([h.weight.detach() for h in heads]))
        self.bias = nn.Parameter(torch.stack([h.bias.detach() for h in heads]))

    def forward(self, x_BD: Tensor) -> Tensor:
        return torch.baddbmm(
            self.bias[:, None], x_BD.expand(len(self.weight), *x_BD.shape), self.weight.transpose(1, 2)
        )
