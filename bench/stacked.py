"""Configurations of VPT side by side: one frozen backbone, and prompts and a head for each, trained by one `fit`.

In: a prompted model as it is built for one configuration, and how many. Out: a model whose logits are (G, B, C). Each
configuration sees the images and the dropout masks that it would see alone, so that it ends where it would end alone,
but for rounding (tests/test_racing_replay.py), in two thirds of the time on a CPU.

Shapes: G configurations, B batch, C classes, P prompts a layer, L layers, D width.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vptcore.models.methods import Tuned
from vptcore.models.prompts import Prompts


class StackedPrompts(Prompts):
    """Prompts of G >= 2 configurations, (G, L, P, D)."""

    def __init__(self, one: Prompts, count: int):
        nn.Module.__init__(self)
        self.tokens = nn.Parameter(one.tokens.detach().repeat(count, 1, 1, 1))
        self.dropout = one.dropout

    def layer(self, index: int, batch: int) -> Tensor:
        """(G x B, P, D), for a `batch` of G x B."""
        count, _, length, width = self.tokens.shape
        tokens_GBPD = self.tokens[:, index, None].expand(-1, batch // count, -1, -1)
        if self.training and self.dropout > 0:
            tokens_GBPD = tokens_GBPD * F.dropout(self.tokens.new_ones(batch // count, length, width), self.dropout)
        return tokens_GBPD.reshape(batch, length, width)


class Stacked(nn.Module):
    """`one` prompted model, whose encoder it takes over, G times."""

    def __init__(self, one: Tuned, count: int):
        super().__init__()
        self.encoder = one.encoder
        self.encoder.prompts = StackedPrompts(one.encoder.prompts, count)
        self.weight = nn.Parameter(one.head.weight.detach().repeat(count, 1, 1))
        self.bias = nn.Parameter(one.head.bias.detach().repeat(count, 1))

    def forward(self, images_BCHW: Tensor) -> Tensor:
        count = len(self.bias)
        features_GBD = self.encoder(images_BCHW.repeat(count, 1, 1, 1)).unflatten(0, (count, -1))
        return torch.baddbmm(self.bias[:, None], features_GBD, self.weight.transpose(1, 2))
