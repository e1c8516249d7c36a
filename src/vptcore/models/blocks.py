"""One transformer block over tokens that also reads prompts, for every block class of timm's plain ViTs.

In: a block of timm's, tokens x (B, N, D), prompts (B or 1, P, D) or none, and what the model hands its blocks
(`Handed`). Out: the tokens (B, N, D) after the block. timm's standard block reads prompts as keys and values alone and
computes only what is asked for; every other class runs as timm wrote it, with the prompts among its tokens, which gives
the same numbers for more work.

Shapes: B batch, N tokens (prefix tokens first, then patches), P prompts, D width, H heads, E = D / H.

    python -m pytest tests/vptcore/models/test_blocks.py
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import timm.layers
import torch
import torch.nn.functional as F
from timm.models import beit, eva, vision_transformer
from torch import Tensor, nn

# Blocks that see tokens as a set, but for what they are handed.
_AMONG = tuple(
    getattr(module, name)
    for module, names in (
        (
            vision_transformer,
            ("Block", "ResPostBlock", "ParallelScalingBlock", "DiffParallelScalingBlock", "ParallelThingsBlock"),
        ),
        (eva, ("EvaBlock", "EvaBlockPostNorm")),
    )
    for name in names
    if hasattr(module, name)
)


@dataclass(frozen=True)
class Handed:
    """What a model hands each of its blocks beside the tokens.

    `prefix` tokens come before the patches. `rope` are rotary positions of the patches, (N - prefix, 2E) or with a
    leading axis of heads. `bias` is a relative position bias (1, H, N, N) that all blocks share (BEiT).
    """

    prefix: int = 1
    rope: Tensor | None = None
    bias: Tensor | None = None


def is_readable(block: nn.Module) -> bool:
    """Whether `run_block` knows this class of block."""
    return isinstance(block, (*_AMONG, beit.Block))


def is_standard(block: nn.Module) -> bool:
    """timm's pre-norm block around its plain attention: no norm or gate behind the heads, no rotary positions."""
    return (
        type(block) is vision_transformer.Block
        and type(block.attn) is timm.layers.Attention
        and isinstance(block.attn.norm, nn.Identity)
        and block.attn.gate is None
    )


def drop_path(path: nn.Module, x: Tensor) -> Tensor:
    """Stochastic depth, or nothing: what a block does to a branch before it is added."""
    return path(x)


def run_block(
    block: nn.Module,
    x_BND: Tensor,
    prompts_BPD: Tensor | None = None,
    handed: Handed | None = None,
    *,
    queries: int | None = None,
    drop: Callable[[nn.Module, Tensor], Tensor] = drop_path,
) -> Tensor:
    """A block over tokens x and prompts that are only read.

    With `queries` = n only the first n tokens are returned (B, n, D); all N are still read. `drop` takes the place of
    a standard block's stochastic depth.
    """
    if is_standard(block):
        return _standard(block, x_BND, prompts_BPD, queries, drop)
    handed = handed or Handed()
    if isinstance(block, beit.Block):
        return _beit(block, x_BND, prompts_BPD, handed)[:, :queries]
    if prompts_BPD is None:
        return _call(block, x_BND, handed.rope)[:, :queries]
    # Behind the prefix, where positions of prompts can be left unrotated.
    length, prefix = prompts_BPD.shape[1], handed.prefix
    x_BND = torch.cat([x_BND[:, :prefix], prompts_BPD.expand(len(x_BND), -1, -1), x_BND[:, prefix:]], dim=1)
    x_BND = _call(block, x_BND, unrotated(handed.rope, length))
    return torch.cat([x_BND[:, :prefix], x_BND[:, prefix + length :]], dim=1)[:, :queries]


def unrotated(rope: Tensor | None, length: int) -> Tensor | None:
    """Rotary positions with `length` tokens before the patches that are turned by nothing: sine 0, cosine 1."""
    if rope is None:
        return None
    half = rope.shape[-1] // 2
    still = torch.cat([torch.zeros_like(rope[..., :1, :half]), torch.ones_like(rope[..., :1, half:])], dim=-1)
    return torch.cat([still.expand(*rope.shape[:-2], length, -1), rope], dim=-2)


def spread(bias: Tensor, prefix: int, length: int) -> Tensor:
    """A relative position bias (1, H, N, N) with `length` tokens behind the prefix that have no place: 0 to all."""
    for axis in (-2, -1):
        first, rest = bias.split([prefix, bias.shape[axis] - prefix], dim=axis)
        shape = list(bias.shape)
        shape[axis] = length
        bias = torch.cat([first, bias.new_zeros(shape), rest], dim=axis)
    return bias


def _call(block: nn.Module, x_BND: Tensor, rope: Tensor | None) -> Tensor:
    return block(x_BND) if rope is None else block(x_BND, rope=rope)


def _standard(block: nn.Module, x_BND: Tensor, prompts_BPD: Tensor | None, queries: int | None, drop) -> Tensor:
    normed_BND = block.norm1(x_BND)
    normed_prompts = None if prompts_BPD is None else block.norm1(prompts_BPD)
    attended = attend(block.attn, normed_BND, normed_prompts, queries=queries)
    x_BND = x_BND[:, :queries] + drop(block.drop_path1, block.ls1(attended))
    return x_BND + drop(block.drop_path2, block.ls2(block.mlp(block.norm2(x_BND))))


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


def _beit(block: nn.Module, x_BND: Tensor, prompts_BPD: Tensor | None, handed: Handed) -> Tensor:
    """BEiT's block, whose attention knows the places of each pair of tokens: a prompt has none."""
    scale1, scale2 = (1.0, 1.0) if block.gamma_1 is None else (block.gamma_1, block.gamma_2)
    normed = None if prompts_BPD is None else block.norm1(prompts_BPD)
    x_BND = x_BND + block.drop_path1(scale1 * _beit_attend(block.attn, block.norm1(x_BND), normed, handed))
    return x_BND + block.drop_path2(scale2 * block.mlp(block.norm2(x_BND)))


def _beit_attend(attn: nn.Module, x_BND: Tensor, prompts_BPD: Tensor | None, handed: Handed) -> Tensor:
    bias, length = handed.bias, 0
    if attn.relative_position_bias_table is not None:
        own = attn._get_rel_pos_bias()
        among = x_BND.shape[1] - own.shape[-1]  # shallow prompts are tokens like the others
        own = spread(own, handed.prefix, among) if among else own
        bias = own if bias is None else own + bias
    if prompts_BPD is not None:
        length = prompts_BPD.shape[1]
        x_BND = torch.cat([prompts_BPD.expand(len(x_BND), -1, -1), x_BND], dim=1)
        bias = None if bias is None else F.pad(bias, (length, 0))
    q, k, v = _split_heads(attn, _beit_project(attn, x_BND), 3)
    dropout = attn.attn_drop.p if attn.training else 0.0
    mixed = F.scaled_dot_product_attention(q[:, :, length:], k, v, attn_mask=bias, dropout_p=dropout)
    return attn.proj_drop(attn.proj(mixed.transpose(1, 2).flatten(2)))


def _beit_project(attn: nn.Module, x_BND: Tensor) -> Tensor:
    """Its biases are kept beside the layer; an adapted layer is called, and its weight never read."""
    stacked = None if attn.q_bias is None else torch.cat((attn.q_bias, attn.k_bias, attn.v_bias))
    if type(attn.qkv) is nn.Linear:
        return F.linear(x_BND, attn.qkv.weight, stacked)
    return attn.qkv(x_BND) if stacked is None else attn.qkv(x_BND) + stacked
