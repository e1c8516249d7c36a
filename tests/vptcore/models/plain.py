"""The plain form, as the papers describe it: prompts are tokens, and every token goes through every block."""

from __future__ import annotations

import torch
import torch.nn.functional as F


def concatenated_vit(vit, prompts_LPD, images_BCHW, *, pool="token", prompts_in_pool=True, dropout=0.0):
    """Deep prompts as tokens that are overwritten before every block (paper eq. 1); shallow where L is 1."""
    x = vit.norm_pre(vit._pos_embed(vit.patch_embed(images_BCHW)))
    P = prompts_LPD.shape[1]
    for i, block in enumerate(vit.blocks):
        if i < len(prompts_LPD):
            prompts = F.dropout(prompts_LPD[i : i + 1].expand(len(x), -1, -1), dropout, training=dropout > 0)
            rest = x[:, 1:] if i == 0 else x[:, 1 + P :]
            x = torch.cat([x[:, :1], prompts, rest], dim=1)
        x = block(x)
    x = vit.norm(x)
    if pool == "token":
        return vit.fc_norm(x[:, 0])
    return vit.fc_norm(x[:, 1 if prompts_in_pool else 1 + P :].mean(1))


def worst(a: torch.Tensor, b: torch.Tensor) -> float:
    return float((a - b).detach().abs().max())
