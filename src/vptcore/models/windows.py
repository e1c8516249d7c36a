"""Prompts in a Swin transformer, read as keys and values of every window.

The authors prepend deep prompts to every window of every block, average what the windows make of them, and overwrite
them before the next block (KMnP/vpt src/models/vit_prompt/swin_transformer.py:262-419). What is overwritten is never
read, so prompts are only keys and values here: K = LN(P) Wk, V = LN(P) Wv, with no relative position bias and no shift
mask for them. The last block's prompts are read where they enter the pooling (`prompts_in_pool`); there, and with
shallow prompts everywhere, they are tokens.

Shapes: B batch, X x Y the token grid, W windows a image, A tokens a window, P prompts, D width of the stage, H heads, E
= D / H.

    python -m pytest tests/vptcore/models/test_windows.py
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vptcore.models.blocks import drop_path


class SwinPrompts(nn.Module):
    """Prompts of a Swin: `layers[i]` is (1, P, D) for block i, or one layer for all if shallow.

    A deep model has one layer for each block, 12,032 numbers a prompt for Swin-B. Initialised as a ViT's with the first
    stage's patch and width. Dropout draws one mask for the whole batch, as the authors' drop-then-expand does; in
    the first block one for each image, where theirs expands first (swin_transformer.py:169).
    """

    def __init__(self, swin: nn.Module, length: int, deep: bool, *, dropout: float = 0.0, init: str = "uniform"):
        super().__init__()
        if length < 1:
            raise ValueError(
                f"prompt length {length}: a prompted method needs at least 1 prompt; choose 1 or more, or method linear"
            )
        widths = [block.dim for stage in swin.layers for block in stage.blocks]
        patch = swin.patch_embed.patch_size[0]
        bound = math.sqrt(6 / (3 * patch * patch + widths[0]))
        self.layers = nn.ParameterList(torch.empty(1, length, width) for width in (widths if deep else widths[:1]))
        for layer in self.layers:
            nn.init.normal_(layer, std=0.02) if init == "normal" else nn.init.uniform_(layer, -bound, bound)
        self.dropout, self.deep, self.length = dropout, deep, length

    def layer(self, index: int, images: int) -> Tensor:
        """(1 or B, P, D) of one block."""
        layer_1PD = self.layers[index]
        if not self.training or not self.dropout:
            return layer_1PD
        return F.dropout(layer_1PD.expand(images if index == 0 else 1, -1, -1), self.dropout)


def block_reading(
    block: nn.Module,
    x_BXYD: Tensor,
    prompts_1PD: Tensor | None,
    *,
    drop: Callable[[nn.Module, Tensor], Tensor] = drop_path,
) -> Tensor:
    """One block over the grid, whose windows also read the prompts."""
    normed = None if prompts_1PD is None else block.norm1(prompts_1PD)
    attended, _ = window_attention(block, block.norm1(x_BXYD), normed, keep_prompts=False)
    x_BXYD = x_BXYD + drop(block.drop_path1, attended)
    return x_BXYD + drop(block.drop_path2, _over_tokens(block.mlp, block.norm2(x_BXYD)))


def block_with_tokens(
    block: nn.Module,
    x_BXYD: Tensor,
    prompts_BPD: Tensor,
    *,
    drop: Callable[[nn.Module, Tensor], Tensor] = drop_path,
) -> tuple[Tensor, Tensor]:
    """One block over the grid and prompts that are tokens: every window's result for them is averaged."""
    attended, attended_P = window_attention(block, block.norm1(x_BXYD), block.norm1(prompts_BPD), keep_prompts=True)
    x_BXYD = x_BXYD + drop(block.drop_path1, attended)
    prompts_BPD = prompts_BPD + drop(block.drop_path1, attended_P)
    x_BXYD = x_BXYD + drop(block.drop_path2, _over_tokens(block.mlp, block.norm2(x_BXYD)))
    return x_BXYD, prompts_BPD + drop(block.drop_path2, block.mlp(block.norm2(prompts_BPD)))


class PromptedSwin(nn.Module):
    """A timm Swin whose forward gives the pooled feature (B, D), with prompts or without.

    `calls` holds the functions that its blocks are computed by; compiled ones may take their places.
    """

    CALLS: ClassVar[dict[str, Callable]] = {"reading": block_reading, "tokens": block_with_tokens}

    def __init__(self, swin: nn.Module, prompts: SwinPrompts | None = None, *, prompts_in_pool: bool = True):
        super().__init__()
        self.calls: dict[str, Callable] = dict(self.CALLS)
        self.swin = swin
        self.prompts = prompts
        self.prompts_in_pool = prompts_in_pool

    @property
    def backbone(self) -> nn.Module:
        return self.swin

    def forward(self, images_BCHW: Tensor) -> Tensor:
        x_BXYD, prompts, B = self.swin.patch_embed(images_BCHW), self.prompts, len(images_BCHW)
        blocks = [(stage, block) for stage in self.swin.layers for block in stage.blocks]
        carried = None if prompts is None or prompts.deep else prompts.layer(0, B).expand(B, -1, -1)
        for index, (stage, block) in enumerate(blocks):
            if block is stage.blocks[0]:
                x_BXYD, carried = _downsample(stage, x_BXYD, carried)
            is_pooled = index == len(blocks) - 1 and self.prompts_in_pool
            if prompts is not None and prompts.deep and is_pooled:
                carried = prompts.layer(index, B).expand(B, -1, -1)
            if carried is not None:
                x_BXYD, carried = self.calls["tokens"](block, x_BXYD, carried)
            else:
                read = None if prompts is None else prompts.layer(index, B)
                x_BXYD = self.calls["reading"](block, x_BXYD, read)
        return self._pool(x_BXYD, carried)

    def _pool(self, x_BXYD: Tensor, carried: Tensor | None) -> Tensor:
        tokens_BND = x_BXYD.flatten(1, 2)
        if carried is not None and self.prompts_in_pool:
            tokens_BND = torch.cat([carried, tokens_BND], dim=1)
        return self.swin.norm(tokens_BND).mean(1)


def window_attention(
    block: nn.Module, x_BXYD: Tensor, prompts: Tensor | None, *, keep_prompts: bool
) -> tuple[Tensor, Tensor | None]:
    """(Shifted) window attention over normed tokens; `prompts` is normed (1 or B, P, D).

    Returns the grid, and with `keep_prompts` the prompts (B, P, D) averaged over windows.
    """
    attn, (B, X, Y, D) = block.attn, x_BXYD.shape
    wx, wy = block.window_size
    # Shifted windows are plain windows of a rolled grid; what meets across its seam is masked in `_bias`.
    shifted = torch.roll(x_BXYD, [-s for s in block.shift_size], (1, 2)) if any(block.shift_size) else x_BXYD
    shifted = F.pad(shifted, (0, 0, 0, -Y % wy, 0, -X % wx))
    nx, ny = shifted.shape[1] // wx, shifted.shape[2] // wy
    windows_BWAD = shifted.view(B, nx, wx, ny, wy, D).transpose(2, 3).reshape(B, nx * ny, wx * wy, D)
    mixed_BWAD, mixed_prompts = _attend(attn, windows_BWAD, prompts, _bias(block, nx * ny), keep_prompts)
    grid = mixed_BWAD.view(B, nx, ny, wx, wy, D).transpose(2, 3).reshape(B, nx * wx, ny * wy, D)[:, :X, :Y]
    return (torch.roll(grid, tuple(block.shift_size), (1, 2)) if any(block.shift_size) else grid), mixed_prompts


def _bias(block: nn.Module, windows: int) -> Tensor:
    """Relative position bias plus shift mask, (1 or W, H, A, A)."""
    bias_1HAA = block.attn._get_rel_pos_bias()
    if block.attn_mask is None:
        return bias_1HAA
    return bias_1HAA + block.attn_mask.view(windows, 1, *block.attn_mask.shape[-2:])


def _attend(
    attn: nn.Module, x_BWAD: Tensor, prompts: Tensor | None, bias: Tensor, keep_prompts: bool
) -> tuple[Tensor, Tensor | None]:
    """Attention in every window over its tokens and all prompts. Prompts get no bias and no mask."""
    B, W = x_BWAD.shape[:2]
    q, k, v = _heads(attn, _over_tokens(attn.qkv, x_BWAD), 3)
    mask = bias.expand(W, -1, -1, -1)
    if prompts is not None:
        P = prompts.shape[1]
        qp, kp, vp = (t[:, None].expand(B, W, -1, -1, -1) for t in _heads(attn, attn.qkv(prompts), 3))
        k, v = torch.cat([kp, k], dim=-2), torch.cat([vp, v], dim=-2)
        mask = F.pad(mask, (P, 0))  # prompts come first, have no place in the window and are seen from every one
        if keep_prompts:
            q, mask = torch.cat([qp, q], dim=-2), F.pad(mask, (0, 0, P, 0))
    # Fused kernels take four dimensions: each window's heads are side by side.
    mixed = F.scaled_dot_product_attention(
        q.flatten(1, 2),
        k.flatten(1, 2),
        v.flatten(1, 2),
        attn_mask=mask.to(q.dtype).flatten(0, 1)[None],
        dropout_p=attn.attn_drop.p if attn.training else 0.0,
    ).unflatten(1, (W, -1))
    out = attn.proj_drop(_over_tokens(attn.proj, mixed.transpose(-3, -2).flatten(-2)))
    if prompts is None or not keep_prompts:
        return out, None
    return out[:, :, P:], out[:, :, :P].mean(1)


def _over_tokens(layer: nn.Module, x: Tensor) -> Tensor:
    """A layer over (images, ..., width) that is shown (images, tokens, width), as a ViT's are: some adapters take no
    other."""
    return layer(x.flatten(1, -2)).unflatten(1, x.shape[1:-1])


def _heads(attn: nn.Module, x: Tensor, parts: int) -> tuple[Tensor, ...]:
    """(..., n, parts D) to `parts` tensors (..., H, n, E)."""
    split = x.unflatten(-1, (parts, attn.num_heads, -1)).movedim(-3, 0)
    return tuple(part.transpose(-3, -2) for part in split)


def _downsample(stage: nn.Module, x_BXYD: Tensor, carried: Tensor | None) -> tuple[Tensor, Tensor | None]:
    """Patch merging at a stage's start; a carried prompt is put four times side by side and reduced likewise."""
    merged = stage.downsample(x_BXYD)
    if carried is None or isinstance(stage.downsample, nn.Identity):
        return merged, carried
    merge = stage.downsample
    return merged, merge.reduction(merge.norm(carried.repeat(1, 1, 4)))


@torch.no_grad()
def check_same_swin(swin: nn.Module, seed: int = 0) -> None:
    """Raise ValueError (one line) where the feature of one random image is not timm's own."""
    weight, generator = swin.patch_embed.proj.weight, torch.Generator().manual_seed(seed)
    images_BCHW = torch.randn(1, weight.shape[1], *swin.patch_embed.img_size, generator=generator).to(weight)
    was_training = swin.training
    swin.eval()
    try:
        theirs = swin.forward_head(swin.forward_features(images_BCHW), pre_logits=True)
        ours = PromptedSwin(swin)(images_BCHW)
    finally:
        swin.train(was_training)
    off = float((ours - theirs).abs().max() / theirs.abs().max().clamp(min=1e-6))
    if not off <= 1e-4:
        raise ValueError(f"{type(swin).__name__}: is built in a way that prompts do not fit (off by {off:.1g})")
