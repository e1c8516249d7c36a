"""Prompts in a plain ViT, read as keys and values.

A deep prompt is overwritten before every block (paper eq. 1), so what a block computes *at* a prompt's place is never
read: prompts matter only as keys and values of the other tokens. So each block computes K = LN(P) Wk, V = LN(P) Wv for
its prompts and nothing else, and the last block computes query, projection and MLP for the class token alone. The
function is the same as with prompts concatenated as tokens, at up to half the FLOPs; tests hold logits and gradients
against the concatenated form in float64.

Shapes: B batch, N tokens (class token first, then patches), P prompts a layer, D width, L layers, H heads, E = D / H.

    python -m pytest tests/vptcore/models/test_prompts.py
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import ClassVar

import torch
import torch.nn.functional as F
from timm.models.beit import Beit
from timm.models.eva import Eva
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from vptcore.models.blocks import Handed, is_readable, run_block, spread, unrotated


class Prompts(nn.Module):
    """Learned tokens: `tokens` is (L, P, D) for deep prompts and (1, P, D) for shallow ones.

    Initialised uniformly in [-v, v] with v = sqrt(6 / (3 patch^2 + D)) (KMnP/vpt src/models/vit_prompt/vit.py:57-70),
    or normally with std 0.02; `training.prototypes` sets them anew where they start from those. Dropout draws one mask
    per image and layer, as the authors' expand-then-drop does.
    """

    def __init__(
        self, layers: int, length: int, width: int, patch: int, *, dropout: float = 0.0, init: str = "uniform"
    ):
        super().__init__()
        if length < 1:
            raise ValueError(
                f"prompt length {length}: a prompted method needs at least 1 prompt; choose 1 or more, or method linear"
            )
        self.tokens = nn.Parameter(torch.empty(layers, length, width))
        self.dropout = dropout
        if init != "normal":
            bound = math.sqrt(6 / (3 * patch * patch + width))
            nn.init.uniform_(self.tokens, -bound, bound)
        else:
            nn.init.normal_(self.tokens, std=0.02)

    @property
    def length(self) -> int:
        return self.tokens.shape[1]

    def layer(self, index: int, batch: int) -> Tensor:
        """The prompts of one layer: (B, P, D) with a mask per image while dropout is active, else (1, P, D)."""
        tokens_1PD = self.tokens[index : index + 1]
        if self.training and self.dropout > 0:
            return F.dropout(tokens_1PD.expand(batch, -1, -1), self.dropout)
        return tokens_1PD


class PromptedViT(nn.Module):
    """A timm plain ViT whose forward gives the pooled feature (B, D), with prompts or without.

    `pool` is "token" (the class token after the last norm), "avg" (the mean of the patches), or "own", as the model
    pools itself. The paper's MAE models average over the prompts too (KMnP/vpt src/models/vit_prompt/vit_mae.py);
    `prompts_in_pool` says whether "avg" does. Raises ValueError (one line) for a model that no prompt can be put into.
    `calls` holds the functions that its blocks are computed by; compiled ones may take their places.
    """

    CALLS: ClassVar[dict[str, Callable]] = {"block": run_block}

    def __init__(
        self, vit: nn.Module, prompts: Prompts | None = None, *, pool: str = "token", prompts_in_pool: bool = True
    ):
        super().__init__()
        check_promptable(vit)
        self.calls: dict[str, Callable] = dict(self.CALLS)
        self.vit = vit
        self.prompts = prompts
        self.pool = "token" if pool == "own" and _takes_the_class_token(vit) else pool
        self.prompts_in_pool = prompts_in_pool

    @property
    def backbone(self) -> nn.Module:
        return self.vit

    @property
    def shallow(self) -> bool:
        return self.prompts is not None and len(self.prompts.tokens) == 1 < len(self.vit.blocks)

    def forward(self, images_BCHW: Tensor) -> Tensor:
        return self.pooled(self.tokens(images_BCHW))

    def tokens(self, images_BCHW: Tensor, *, stop_at: int | None = None) -> Tensor:
        """Tokens after the blocks, prefix tokens first. Only as many as the pooling reads: one for pool "token".

        With `stop_at` the blocks from that index on are not run and all tokens are returned.
        """
        x_BND, handed = _embedded(self.vit, images_BCHW)
        if self.shallow:
            prefix, prompts_BPD = handed[0].prefix, self.prompts.layer(0, len(x_BND)).expand(len(x_BND), -1, -1)
            x_BND = torch.cat([x_BND[:, :prefix], prompts_BPD, x_BND[:, prefix:]], dim=1)
            handed = [_with_tokens(h, self.prompts.length) for h in handed]
        blocks = list(self.vit.blocks)[:stop_at]
        for index, block in enumerate(blocks):
            x_BND = self._run_block(block, index, x_BND, handed[index], is_last=index == len(self.vit.blocks) - 1)
        return x_BND

    def _run_block(self, block: nn.Module, index: int, x_BND: Tensor, handed: Handed, *, is_last: bool) -> Tensor:
        prompts = None
        if self.prompts is not None and not self.shallow:
            prompts = self.prompts.layer(index, len(x_BND))
        if is_last and prompts is not None and self.pool == "avg" and self.prompts_in_pool:
            # The pooling reads what the last block makes of its prompts, so here they are tokens like the others.
            prefix = handed.prefix
            x_BND = torch.cat([x_BND[:, :prefix], prompts.expand(len(x_BND), -1, -1), x_BND[:, prefix:]], dim=1)
            handed, prompts = _with_tokens(handed, self.prompts.length), None
        queries = 1 if is_last and self.pool == "token" else None
        return self.calls["block"](block, x_BND, prompts, handed, queries=queries)

    def pooled(self, x_BND: Tensor) -> Tensor:
        vit, prefix = self.vit, _prefix(self.vit)
        if self.pool == "token":
            return vit.fc_norm(vit.norm(x_BND[:, :1])[:, 0])
        if self.shallow and not (self.pool == "avg" and self.prompts_in_pool):
            x_BND = torch.cat([x_BND[:, :prefix], x_BND[:, prefix + self.prompts.length :]], dim=1)
        if self.pool == "own":
            return vit.forward_head(vit.norm(x_BND), pre_logits=True)
        return vit.fc_norm(vit.norm(x_BND)[:, prefix:].mean(1))


FAMILIES = (VisionTransformer, Eva, Beit)


def check_promptable(vit: nn.Module) -> None:
    """Raise ValueError (one line) for a model whose tokens or blocks are not known here."""
    name = type(vit).__name__
    if not isinstance(vit, FAMILIES):
        raise ValueError(f"{name}: no prompts for this kind of model; expected a ViT, EVA, BEiT or Swin of timm")
    odd = next((type(block).__name__ for block in vit.blocks if not is_readable(block)), None)
    if odd is not None:
        raise ValueError(f"{name}: no prompts for blocks of class {odd}")


@torch.no_grad()
def check_same_as_timm(vit: nn.Module, seed: int = 0) -> None:
    """Raise ValueError (one line) where the tokens of one random image are not timm's own.

    So a model that was put together in a way not known here is refused, and never silently wrong.
    """
    size, generator = vit.patch_embed.img_size, torch.Generator().manual_seed(seed)
    channels = getattr(vit, "in_chans", 3)
    images_BCHW = torch.randn(1, channels, *size, generator=generator).to(next(vit.parameters()))
    was_training = vit.training
    vit.eval()
    try:
        theirs = vit.forward_head(vit.forward_features(images_BCHW), pre_logits=True)
        ours = PromptedViT(vit, pool="own")(images_BCHW)
    finally:
        vit.train(was_training)
    off = float((ours - theirs).abs().max() / theirs.abs().max().clamp(min=1e-6))
    if not off <= 1e-4:
        raise ValueError(f"{type(vit).__name__}: is built in a way that prompts do not fit (off by {off:.1g})")


def _prefix(vit: nn.Module) -> int:
    """Class and register tokens, which come before the patches."""
    return int(getattr(vit, "num_prefix_tokens", 1))


def pool_of(vit: nn.Module) -> str:
    """The `pool` that is the model's own: "token", "avg" over the patches, or "own" for another."""
    if _takes_the_class_token(vit):
        return "token"
    averages = vit.global_pool == "avg" and getattr(vit, "attn_pool", None) is None
    return "avg" if averages and _is_plain(vit) and not getattr(vit, "pool_include_prefix", False) else "own"


def _is_plain(vit: nn.Module) -> bool:
    return type(vit).forward_head in (VisionTransformer.forward_head, Eva.forward_head, Beit.forward_head)


def _takes_the_class_token(vit: nn.Module) -> bool:
    """Whether the model's own feature is its first token and nothing else, so that a last block need not do more."""
    return _is_plain(vit) and vit.global_pool == "token" and getattr(vit, "attn_pool", None) is None


def _embedded(vit: nn.Module, images_BCHW: Tensor) -> tuple[Tensor, list[Handed]]:
    """The tokens before the first block, as the model makes them, and what it hands each block."""
    x = vit.patch_embed(images_BCHW)
    depth, prefix = len(vit.blocks), _prefix(vit)
    if isinstance(vit, Beit):
        x_BND = torch.cat((vit.cls_token.expand(len(x), -1, -1), x), dim=1)
        x_BND = vit.pos_drop(x_BND if vit.pos_embed is None else x_BND + vit.pos_embed)
        bias = vit.rel_pos_bias() if vit.rel_pos_bias is not None else None
        return x_BND, [Handed(prefix, bias=bias)] * depth
    if isinstance(vit, Eva):
        x_BND, rope = vit._pos_embed(x)
        mixed = getattr(vit, "rope_mixed", False) and rope is not None
        return vit.norm_pre(x_BND), [Handed(prefix, rope[i] if mixed else rope) for i in range(depth)]
    return vit.norm_pre(vit.patch_drop(vit._pos_embed(x))), [Handed(prefix)] * depth


def _with_tokens(handed: Handed, length: int) -> Handed:
    """What blocks are handed once `length` prompts are among the tokens, behind the prefix."""
    bias = None if handed.bias is None else spread(handed.bias, handed.prefix, length)
    return replace(handed, rope=unrotated(handed.rope, length), bias=bias)
