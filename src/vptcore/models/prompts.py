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
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Prompts(nn.Module):
    """Learned tokens: `tokens` is (L, P, D) for deep prompts and (1, P, D) for shallow ones.

    Initialised uniformly in [-v, v] with v = sqrt(6 / (3 patch^2 + D)) (KMnP/vpt src/models/vit_prompt/vit.py:57-70),
    or normally with std 0.02. Dropout draws one mask per image and layer, as the authors' expand-then-drop does.
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
        if init == "uniform":
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


def drop_path(path: nn.Module, x: Tensor) -> Tensor:
    """Stochastic depth, or nothing: what a block does to a branch before it is added."""
    return path(x)


def run_block(
    block: nn.Module,
    x_BND: Tensor,
    prompts_BPD: Tensor | None = None,
    *,
    queries: int | None = None,
    drop: Callable[[nn.Module, Tensor], Tensor] = drop_path,
) -> Tensor:
    """A pre-norm transformer block over tokens x and prompts that are only read.

    With `queries` = n only the first n tokens are computed and returned (B, n, D); all N are still read.
    """
    normed_BND = block.norm1(x_BND)
    normed_prompts = None if prompts_BPD is None else block.norm1(prompts_BPD)
    attended = attend(block.attn, normed_BND, normed_prompts, queries=queries)
    x_BND = x_BND[:, :queries] + drop(block.drop_path1, block.ls1(attended))
    return x_BND + drop(block.drop_path2, block.ls2(block.mlp(block.norm2(x_BND))))


class PromptedViT(nn.Module):
    """A timm plain ViT whose forward gives the pooled feature (B, D), with prompts or without.

    `pool` is "token" (the class token after the last norm) or "avg" (the mean of all other tokens). The paper's MAE
    models average over the prompts too (KMnP/vpt src/models/vit_prompt/vit_mae.py); `prompts_in_pool` says whether.
    `calls` holds the functions that its blocks are computed by; compiled ones may take their places.
    """

    CALLS: ClassVar[dict[str, Callable]] = {"block": run_block}

    def __init__(
        self, vit: nn.Module, prompts: Prompts | None = None, *, pool: str = "token", prompts_in_pool: bool = True
    ):
        super().__init__()
        if getattr(vit, "num_prefix_tokens", 1) != 1 or getattr(vit, "attn_pool", None) is not None:
            raise ValueError(
                f"{type(vit).__name__}: only plain ViTs with one class token and no attention pooling are supported"
            )
        self.calls: dict[str, Callable] = dict(self.CALLS)
        self.vit = vit
        self.prompts = prompts
        self.pool = pool
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
        """Tokens after the blocks, class token first. Only as many as the pooling reads: one for pool "token".

        With `stop_at` the blocks from that index on are not run and all tokens are returned.
        """
        vit = self.vit
        x_BND = vit.norm_pre(vit._pos_embed(vit.patch_embed(images_BCHW)))
        if self.shallow:
            prompts_BPD = self.prompts.layer(0, len(x_BND)).expand(len(x_BND), -1, -1)
            x_BND = torch.cat([x_BND[:, :1], prompts_BPD, x_BND[:, 1:]], dim=1)
        blocks = list(vit.blocks)[:stop_at]
        for index, block in enumerate(blocks):
            x_BND = self._run_block(block, index, x_BND, is_last=index == len(vit.blocks) - 1)
        return x_BND

    def _run_block(self, block: nn.Module, index: int, x_BND: Tensor, *, is_last: bool) -> Tensor:
        prompts = None
        if self.prompts is not None and not self.shallow:
            prompts = self.prompts.layer(index, len(x_BND))
        if is_last and prompts is not None and self.pool == "avg" and self.prompts_in_pool:
            # The pooling reads what the last block makes of its prompts, so here they are tokens like the others.
            x_BND = torch.cat([x_BND[:, :1], prompts.expand(len(x_BND), -1, -1), x_BND[:, 1:]], dim=1)
            prompts = None
        queries = 1 if is_last and self.pool == "token" else None
        return self.calls["block"](block, x_BND, prompts, queries=queries)

    def pooled(self, x_BND: Tensor) -> Tensor:
        vit = self.vit
        if self.pool == "token":
            return vit.fc_norm(vit.norm(x_BND[:, :1])[:, 0])
        skip = 1 + (self.prompts.length if self.shallow and not self.prompts_in_pool else 0)
        return vit.fc_norm(vit.norm(x_BND)[:, skip:].mean(1))


def attend(attn: nn.Module, x_BND: Tensor, prompts_BPD: Tensor | None, *, queries: int | None = None) -> Tensor:
    """Multi-head attention of the first `queries` tokens (all if None) over the prompts and all tokens."""
    q_BHNE, k_BHNE, v_BHNE = _project(attn, x_BND, queries)
    if prompts_BPD is not None:
        keys, values = _split_heads(attn, _linear_rows(attn.qkv, prompts_BPD, 1, 3), 2)
        k_BHNE = torch.cat([attn.k_norm(keys).expand(len(x_BND), -1, -1, -1), k_BHNE], dim=2)
        v_BHNE = torch.cat([values.expand(len(x_BND), -1, -1, -1), v_BHNE], dim=2)
    dropout = attn.attn_drop.p if attn.training else 0.0
    mixed_BHNE = F.scaled_dot_product_attention(q_BHNE, k_BHNE, v_BHNE, dropout_p=dropout)
    mixed_BND = mixed_BHNE.transpose(1, 2).flatten(2)
    return attn.proj_drop(attn.proj(mixed_BND))


def _project(attn: nn.Module, x_BND: Tensor, queries: int | None) -> tuple[Tensor, Tensor, Tensor]:
    """Queries of the first `queries` tokens, keys and values of all, each (B, H, n, E)."""
    if queries is None or type(attn.qkv) is not nn.Linear:  # an adapted projection is not cut into parts
        q, k, v = _split_heads(attn, attn.qkv(x_BND), 3)
        q = q[:, :, :queries]
    else:
        (q,) = _split_heads(attn, _linear_rows(attn.qkv, x_BND[:, :queries], 0, 1), 1)
        k, v = _split_heads(attn, _linear_rows(attn.qkv, x_BND, 1, 3), 2)
    return attn.q_norm(q), attn.k_norm(k), v


def _linear_rows(qkv: nn.Linear, x: Tensor, start: int, stop: int) -> Tensor:
    """x times the thirds `start` to `stop` of the stacked query, key and value projection."""
    third = qkv.out_features // 3
    rows = slice(start * third, stop * third)
    return F.linear(x, qkv.weight[rows], None if qkv.bias is None else qkv.bias[rows])


def _split_heads(attn: nn.Module, x_BNX: Tensor, parts: int) -> tuple[Tensor, ...]:
    B, N, _ = x_BNX.shape
    return x_BNX.view(B, N, parts, attn.num_heads, -1).permute(2, 0, 3, 1, 4).unbind(0)
