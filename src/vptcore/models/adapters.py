"""What methods put into a frozen backbone: bottlenecks at the MLP, scales and shifts after every layer.

In: a timm backbone. Out: the same backbone, changed in place; the modules that are put in carry the only parameters
that train. Each class names the makers' repository whose formula it computes; tests compare the two in
float64.

Shapes: B batch, N tokens, D width.

    python -m pytest tests/vptcore/models/test_adapters.py
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from timm.models import beit, eva, swin_transformer, vision_transformer
from torch import Tensor, nn


class MlpBranch(nn.Module):
    """A block's MLP branch as one module, so that an adapter sees the tokens before the norm.

    It takes the norm, the MLP, the scale and the stochastic depth out of the block, which then adds its output to the
    tokens as before. `behind`: the adapter reads the block's result, and not the tokens that enter the branch.
    """

    def __init__(self, block: nn.Module, adapter: nn.Module, *, behind: bool):
        super().__init__()
        self.norm, self.mlp, self.adapter, self.behind = block.norm2, block.mlp, adapter, behind
        self.scale, self.drop_path = getattr(block, "ls2", nn.Identity()), block.drop_path2
        self.gamma = getattr(block, "gamma_2", None)
        block.norm2, block.drop_path2, block.mlp = nn.Identity(), nn.Identity(), self
        if hasattr(block, "ls2"):
            block.ls2 = nn.Identity()
        if self.gamma is not None:  # the scale of EVA's and BEiT's blocks
            del block.gamma_2
            block.gamma_2 = 1.0

    def forward(self, x: Tensor) -> Tensor:
        out = self.scale(self.mlp(self.norm(x)))
        out = self.drop_path(out if self.gamma is None else self.gamma * out)
        return out + self.adapter(x + out if self.behind else x)

    def undo(self, block: nn.Module) -> nn.Module:
        """Give the block its parts back, and return the adapter."""
        block.norm2, block.mlp, block.drop_path2 = self.norm, self.mlp, self.drop_path
        if hasattr(block, "ls2"):
            block.ls2 = self.scale
        if self.gamma is not None:
            block.gamma_2 = self.gamma
        return self.adapter


class ParallelAdapter(nn.Module):
    """AdaptFormer's bottleneck: s (W2 ReLU(W1 x)), zero at the start (ShoufaChen/AdaptFormer models/adapter.py)."""

    def __init__(self, width: int, rank: int, scale: float):
        super().__init__()
        self.down, self.up, self.scale = nn.Linear(width, rank), nn.Linear(rank, width), scale
        self.drop = nn.Dropout(0.1)
        nn.init.kaiming_uniform_(self.down.weight, a=math.sqrt(5))
        for zero in (self.down.bias, self.up.weight, self.up.bias):
            nn.init.zeros_(zero)

    def forward(self, x: Tensor) -> Tensor:
        return self.up(self.drop(F.relu(self.down(x)))) * self.scale


class ImageDropout(nn.Dropout):
    """Whole images' values dropped in training, the others' scaled up."""

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.p == 0:
            return x
        kept = torch.rand(len(x), *[1] * (x.dim() - 1), device=x.device) >= self.p
        return x * kept.to(x.dtype) / (1 - self.p)


class ChannelAdapter(nn.Module):
    """Adapter+: s * (W2 GELU(W1 x)) with a learned scale a channel, left out for a tenth of the images in training
    (visinf/adapter_plus adapter_plus/vit_adapter.py)."""

    def __init__(self, width: int, rank: int, drop_path: float):
        super().__init__()
        self.down, self.up = nn.Linear(width, rank), nn.Linear(rank, width)
        self.scale, self.drop = nn.Parameter(torch.ones(width)), ImageDropout(drop_path)
        for layer in (self.down, self.up):
            nn.init.trunc_normal_(layer.weight, std=0.01, a=-0.02, b=0.02)
            nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.drop(self.up(F.gelu(self.down(x)))) * self.scale


class ScaleShift(nn.Module):
    """SSF: a layer, then a learned scale and shift a channel (dongzelian/SSF models/vision_transformer.py)."""

    def __init__(self, layer: nn.Module):
        super().__init__()
        width = len(layer.weight)
        self.layer = layer
        self.scale = nn.Parameter(torch.empty(width).normal_(1, 0.02))
        self.shift = nn.Parameter(torch.empty(width).normal_(0, 0.02))

    def forward(self, x: Tensor) -> Tensor:
        out = self.layer(x)
        # A convolution's channels are its second dimension, a norm's and a linear layer's the last.
        shape = (-1, 1, 1) if isinstance(self.layer, nn.Conv2d) else (-1,)
        return out * self.scale.view(shape) + self.shift.view(shape)

    @torch.no_grad()
    def merged(self) -> tuple[nn.Module, Tensor | None]:
        """The layer with scale and shift in its own weights, in place: s (W x + b) + t = (s W) x + (s b + t). Of one
        without a bias the shift is returned beside it."""
        self.layer.weight *= self.scale.view(-1, *[1] * (self.layer.weight.dim() - 1))
        if self.layer.bias is None:
            return self.layer, self.shift.detach()
        self.layer.bias.mul_(self.scale).add_(self.shift)
        return self.layer, None


# Blocks that add MLP(norm(x)) to x; others norm behind the MLP, or have none of their own.
_BRANCHED = (vision_transformer.Block, eva.EvaBlock, beit.Block, swin_transformer.SwinTransformerBlock)


def add_bottlenecks(backbone: nn.Module, make: Callable[[int], nn.Module], *, behind: bool) -> None:
    """An adapter at the MLP of every block; `make` takes the block's width. Raises ValueError (one line) for blocks
    without such a branch."""
    stages = backbone.layers if hasattr(backbone, "layers") else [backbone]
    for block in [block for stage in stages for block in stage.blocks]:
        if not isinstance(block, _BRANCHED):
            raise ValueError(f"{type(block).__name__}: no MLP branch that starts with a norm, so no adapter beside it")
        MlpBranch(block, make(len(block.norm2.weight)), behind=behind)


def add_scales(backbone: nn.Module) -> None:
    """A scale and a shift after every linear layer, convolution and norm."""
    layers = [n for n, m in backbone.named_modules() if isinstance(m, nn.Linear | nn.Conv2d | nn.LayerNorm)]
    for name in layers:
        parent, _, last = name.rpartition(".")
        setattr(backbone.get_submodule(parent), last, ScaleShift(backbone.get_submodule(name)))


def call_adapted(backbone: nn.Module) -> None:
    """Have BEiT's and EVA's attention call a projection that was adapted: left alone it reads the weight alone."""
    for attn in backbone.modules():
        if hasattr(attn, "qkv_bias_separate") and type(attn.qkv) is not nn.Linear:
            attn.qkv_bias_separate = True
