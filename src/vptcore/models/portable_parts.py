"""What timm has no place for, put into its models: the parts that the `model.py` of an exported folder is made of.

In: a timm model and the tensors that were added to it. Out: the same function as the tuned model's, written once more
in the plainest form: prompts are tokens here, and nothing is left out. Each part needs nothing but torch and timm,
since its source is what is shipped.

    python -m pytest tests/vptcore/models/test_export.py
"""

from __future__ import annotations

import timm
import torch
import torch.nn.functional as F
from torch import nn

from vptcore.models.adapters import ChannelAdapter, ImageDropout, MlpBranch, ParallelAdapter


class Reading(nn.Module):
    """A block before which prompts (P, D), if any, join at the end; the last `leave` tokens go after it."""

    def __init__(self, block, prompts_PD, length, leave):
        super().__init__()
        self.block, self.length, self.leave = block, length, leave
        self.prompts = None if prompts_PD is None else nn.Parameter(prompts_PD)
        if getattr(block.attn, "relative_position_bias_table", None) is not None:  # prompts stand nowhere
            own = block.attn._get_rel_pos_bias
            block.attn._get_rel_pos_bias = lambda: F.pad(own(), (0, length, 0, length))

    def forward(self, x_BND, **handed):
        if self.prompts is not None:
            x_BND = torch.cat([x_BND, self.prompts.expand(len(x_BND), -1, -1)], dim=1)
        if (rope := handed.get("rope")) is not None:  # and are turned by nothing: sine 0, cosine 1
            (sine, cosine), pad = rope.chunk(2, dim=-1), (0, 0, 0, self.length)
            handed["rope"] = torch.cat([F.pad(sine, pad), F.pad(cosine, pad, value=1.0)], dim=-1)
        if (bias := handed.get("shared_rel_pos_bias")) is not None:
            handed["shared_rel_pos_bias"] = F.pad(bias, (0, self.length, 0, self.length))
        return self.block(x_BND, **handed)[:, : x_BND.shape[1] - self.leave]


def add_prompts(vit, added, in_pool):
    """`prompts` is (L, P, D): P tokens of width D before each of the first L blocks (Jia et al., ECCV 2022)."""
    layers, last = added["prompts"], len(vit.blocks) - 1
    for index, block in enumerate(vit.blocks):
        prompts = layers[index] if index < len(layers) else None
        leave = not in_pool if index == last else len(layers) > 1
        vit.blocks[index] = Reading(block, prompts, layers.shape[1], layers.shape[1] * leave)
    return vit


class PromptedSwin(nn.Module):
    """A Swin whose windows all see the prompts: `layers` (P, D) before each block, or before the first alone."""

    def __init__(self, swin, layers, in_pool):
        super().__init__()
        self.swin, self.layers, self.in_pool = swin, nn.ParameterList(layers), in_pool

    def forward(self, images_BCHW):
        x_BXYD, carried, index = self.swin.patch_embed(images_BCHW), None, 0
        for stage in self.swin.layers:
            x_BXYD = stage.downsample(x_BXYD)
            if carried is not None and hasattr(stage.downsample, "reduction"):
                carried = stage.downsample.reduction(stage.downsample.norm(carried.repeat(1, 1, 4)))
            for block in stage.blocks:
                if index < len(self.layers):
                    carried = self.layers[index].expand(len(x_BXYD), -1, -1)
                x_BXYD, carried, index = *through(block, x_BXYD, carried), index + 1
        tokens_BND = x_BXYD.flatten(1, 2)
        tokens_BND = torch.cat([carried, tokens_BND], dim=1) if self.in_pool else tokens_BND
        return self.swin.head.fc(self.swin.norm(tokens_BND).mean(1))


def through(block, x_BXYD, prompts_BPD):
    """A block over the grid and its prompts, which each window changes and the block averages."""
    attended, attended_P = attention(block, block.norm1(x_BXYD), block.norm1(prompts_BPD))
    x_BXYD, prompts_BPD = x_BXYD + attended, prompts_BPD + attended_P
    return x_BXYD + block.mlp(block.norm2(x_BXYD)), prompts_BPD + block.mlp(block.norm2(prompts_BPD))


def attention(block, x_BXYD, prompts_BPD):
    """Attention in every (shifted) window over its tokens and the prompts, which have no position and no mask."""
    attn, (B, X, Y, _), P = block.attn, x_BXYD.shape, prompts_BPD.shape[1]
    window, shift = tuple(block.window_size), tuple(block.shift_size)
    x_BXYD = torch.roll(x_BXYD, [-s for s in shift], (1, 2))
    x_BXYD = F.pad(x_BXYD, (0, 0, 0, -Y % window[1], 0, -X % window[0]))
    tokens = timm.models.swin_transformer.window_partition(x_BXYD, window).flatten(1, 2)
    W = len(tokens) // B
    tokens = torch.cat([prompts_BPD.repeat_interleave(W, 0), tokens], dim=1)
    q, k, v = attn.qkv(tokens).unflatten(-1, (3, attn.num_heads, -1)).permute(2, 0, 3, 1, 4)
    bias = attn._get_rel_pos_bias()
    if block.attn_mask is not None:
        bias = (bias + block.attn_mask[:, None]).repeat(B, 1, 1, 1)
    mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=F.pad(bias, (P, 0, P, 0)))
    out = attn.proj(mixed.transpose(1, 2).flatten(2))
    windows, sides = out[:, P:].unflatten(1, window), x_BXYD.shape[1:3]
    grid = timm.models.swin_transformer.window_reverse(windows, window, *sides)[:, :X, :Y]
    return torch.roll(grid, shift, (1, 2)), out[:, :P].unflatten(0, (B, W)).mean(1)


def add_window_prompts(swin, added, in_pool):
    """`layers.N` is (P, D): the prompts before block N (Jia et al., ECCV 2022)."""
    return PromptedSwin(swin, [added[f"layers.{index}"] for index in range(len(added))], in_pool)


def add_hidden_layers(model, added):
    """The hidden layers of an MLP before timm's head, ReLU behind each."""
    layers = []
    for index in range(len(added) // 2):
        weight = added[f"{index}.weight"]
        layers += [nn.Linear(weight.shape[1], weight.shape[0]), nn.ReLU()]
        layers[-2].load_state_dict({"weight": weight, "bias": added[f"{index}.bias"]})
    place, name = (model.head, "fc") if hasattr(model.head, "fc") else (model, "head")
    setattr(place, name, nn.Sequential(*layers, getattr(place, name)))
    return model


def add_adapters(model, added, rank, scale=None):
    """A bottleneck of `rank` at the MLP of every block: AdaptFormer's with its `scale`, else Adapter+'s."""
    stages = model.layers if hasattr(model, "layers") else [model]
    for index, block in enumerate(block for stage in stages for block in stage.blocks):
        width = len(block.norm2.weight)
        adapter = ChannelAdapter(width, rank, 0.0) if scale is None else ParallelAdapter(width, rank, scale)
        names = adapter.state_dict()
        adapter.load_state_dict({name: added[f"{index}.{name}"] for name in names})
        MlpBranch(block, adapter, behind=scale is None)
    return model


def add_biases(model, added):
    """Biases of layers that timm gives none, and the `k_bias` that its EVA holds at zero."""
    for name, value in added.items():
        layer, _, last = name.rpartition(".")
        setattr(model.get_submodule(layer), last, value if last == "k_bias" else nn.Parameter(value))
    return model


def add_nothing(model, added):
    """timm's model, which pools otherwise than timm would have it."""
    return model


# What is shipped beside each, in order.
PARTS = {
    add_nothing: (),
    add_biases: (),
    add_prompts: (Reading,),
    add_window_prompts: (attention, through, PromptedSwin),
    add_hidden_layers: (),
    add_adapters: (MlpBranch, ParallelAdapter, ImageDropout, ChannelAdapter),
}
