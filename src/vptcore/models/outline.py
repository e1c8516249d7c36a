"""A backbone on paper: its layers, their sizes and names, without building it.

In: a backbone row as plain values (a job slice's `backbone`). Out: a `Shape`, its `Layer`s in timm's names, and the
numbers of every parameter. The plan, the FLOPs and the rehearsal count with it; tests check it against timm's models.

    python -m pytest tests/vptcore/models/test_outline.py
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache

# Blocks of a Swin's stages, by timm's names.
_SWIN_DEPTHS = {"tiny": (2, 2, 6, 2), "small": (2, 2, 18, 2), "base": (2, 2, 18, 2), "large": (2, 2, 18, 2)}
_BLOCK = re.compile(r"(?:^|\.)(?:layers\.\d+\.)?blocks\.\d+(?=\.)")


@dataclass(frozen=True)
class Stage:
    """Blocks of one width over so many tokens, which attend in windows of `window` tokens (a ViT's window is all)."""

    blocks: int
    tokens: int
    width: int
    window: int


@dataclass(frozen=True)
class Shape:
    """A backbone's numbers. `patch_numbers` are those of one patch (3 x patch^2); a ViT has one stage.

    `heads` are those of a Swin's stages, `averages` whether a ViT's feature is the mean over its tokens.
    """

    stages: tuple[Stage, ...]
    patch_numbers: int
    is_swin: bool = False
    mlp_ratio: float = 4.0
    heads: tuple[int, ...] = ()
    averages: bool = False

    @property
    def width(self) -> int:
        return self.stages[-1].width

    @property
    def depth(self) -> int:
        return sum(stage.blocks for stage in self.stages)

    @property
    def parameters(self) -> int:
        return sum(numbers for _, numbers in places(self))


@dataclass(frozen=True)
class Place:
    """A parameter of the backbone: its name in timm, and its block, counted from 0 over the whole network.

    `block` is -1 before the first block and `blocks` after the last; a Swin's patch merging belongs to the block that
    follows it.
    """

    name: str
    block: int
    blocks: int


@dataclass(frozen=True)
class Layer:
    """A layer in timm's name and its block; `narrow` inputs and `wide` outputs; a norm has no inputs of its own."""

    name: str
    block: int
    narrow: int
    wide: int
    has_bias: bool = True

    @property
    def kind(self) -> str:
        """The last part of its name, such as qkv or norm1."""
        return self.name.rsplit(".", 1)[-1]


def shape_of(backbone: Mapping) -> Shape:
    """The numbers of a backbone row: its options where they are set, timm's name where they are not.

    Exact for plain ViTs with a class token and for Swin v1. Another (EVA, BEiT, a hybrid, one with registers, parallel
    blocks or another MLP ratio) is taken for a plain ViT of its width, depth, size and patch: an approximation.
    """
    options, name, width = backbone["options"], backbone["timm"], backbone["width"]
    found = re.match(r"swin_(?:s3_)?([a-z]+)", name)
    size, window = found[1] if found else "base", re.search(r"_window(\d+)", name)
    patch = int(options.get("patch_size", _patch_of(name)))
    grid, ratio = int(backbone["size"]) // patch, float(options.get("mlp_ratio", 4))
    if not name.startswith("swin_"):
        depth = int(options.get("depth", backbone["depth"]))
        tokens = grid**2 + 1
        return Shape(
            (Stage(depth, tokens, width, tokens),),
            3 * patch**2,
            mlp_ratio=ratio,
            averages=options.get("global_pool") == "avg",
        )
    depths = tuple(options.get("depths", _SWIN_DEPTHS.get(size, (2, 2, 18, 2))))
    side = int(options.get("window_size", window[1] if window else 7))
    stages = []
    for index, blocks in enumerate(depths):
        edge = grid // 2**index
        window_edge = min(side, edge)
        padded = -(-edge // window_edge) * window_edge
        stage_width = width // 2 ** (len(depths) - 1 - index)
        stages.append(Stage(blocks, padded**2, stage_width, window_edge**2))
    heads = tuple(options.get("num_heads", [max(1, stage.width // 32) for stage in stages]))
    return Shape(tuple(stages), 3 * patch**2, is_swin=True, mlp_ratio=ratio, heads=heads)


def _patch_of(name: str) -> int:
    """Pixels a side of a token, by timm's name: a patch's, or a hybrid's stride."""
    patch = re.search(r"_(?:patch|p)(\d+)(?=_|\.|$)", name) or re.search(r"_r\d+_s(\d+)(?=_|\.|$)", name)
    return int(patch[1]) if patch else 4 if name.startswith("swin_") else 16


@lru_cache(maxsize=256)
def layers(shape: Shape) -> tuple[Layer, ...]:
    """Every linear layer, convolution and norm, in the order of the forward pass."""
    return tuple(_swin_layers(shape) if shape.is_swin else _vit_layers(shape))


def _vit_layers(shape: Shape) -> Iterator[Layer]:
    d = shape.width
    yield Layer("patch_embed.proj", -1, shape.patch_numbers, d)
    for index in range(shape.depth):
        yield from _block_layers(f"blocks.{index}", index, d, shape.mlp_ratio)
    yield Layer("fc_norm" if shape.averages else "norm", shape.depth, 0, d)


def _swin_layers(shape: Shape) -> Iterator[Layer]:
    first, index = shape.stages[0].width, 0
    yield Layer("patch_embed.proj", -1, shape.patch_numbers, first)
    yield Layer("patch_embed.norm", -1, 0, first)
    for number, stage in enumerate(shape.stages):
        if number:
            yield Layer(f"layers.{number}.downsample.norm", index, 0, 2 * stage.width)
            yield Layer(f"layers.{number}.downsample.reduction", index, 2 * stage.width, stage.width, False)
        for block in range(stage.blocks):
            yield from _block_layers(f"layers.{number}.blocks.{block}", index, stage.width, shape.mlp_ratio)
            index += 1
    yield Layer("norm", shape.depth, 0, shape.width)


def _block_layers(name: str, block: int, d: int, ratio: float) -> Iterator[Layer]:
    hidden = int(ratio * d)
    yield Layer(f"{name}.norm1", block, 0, d)
    yield Layer(f"{name}.attn.qkv", block, d, 3 * d)
    yield Layer(f"{name}.attn.proj", block, d, d)
    yield Layer(f"{name}.norm2", block, 0, d)
    yield Layer(f"{name}.mlp.fc1", block, d, hidden)
    yield Layer(f"{name}.mlp.fc2", block, hidden, d)


@lru_cache(maxsize=256)
def places(shape: Shape) -> tuple[tuple[Place, int], ...]:
    """Every parameter with how many numbers it has."""
    found = []
    for layer in layers(shape):
        weight = max(layer.narrow, 1) * layer.wide
        found.append((Place(f"{layer.name}.weight", layer.block, shape.depth), weight))
        if layer.has_bias:
            found.append((Place(f"{layer.name}.bias", layer.block, shape.depth), layer.wide))
    return (*found, *((Place(name, block, shape.depth), numbers) for name, block, numbers in _loose(shape)))


def _loose(shape: Shape) -> Iterator[tuple[str, int, int]]:
    """Parameters that belong to no layer: positions and the class token, or a Swin's relative positions."""
    if not shape.is_swin:
        (stage,) = shape.stages
        yield "cls_token", -1, stage.width
        yield "pos_embed", -1, stage.tokens * stage.width
        return
    index = 0
    for number, (stage, heads) in enumerate(zip(shape.stages, shape.heads, strict=True)):
        for block in range(stage.blocks):
            numbers = (2 * round(stage.window**0.5) - 1) ** 2 * heads
            yield f"layers.{number}.blocks.{block}.attn.relative_position_bias_table", index, numbers
            index += 1


def places_of(names: list[str]) -> list[Place]:
    """The places of a built model's parameters, from their names (any prefix may come before timm's)."""
    blocks = {found.group(): None for name in names if (found := _BLOCK.search(name))}
    number = {block: index for index, block in enumerate(blocks)}
    place, found = -1, []
    for name in names:
        block = _BLOCK.search(name)
        if block:
            place = number[block.group()]
        elif place >= 0 and (merge := re.search(r"layers\.(\d+)\.downsample\.", name)):
            place = min(index for key, index in number.items() if key.lstrip(".").startswith(f"layers.{merge[1]}."))
        elif place >= 0:
            place = len(blocks)
        found.append(Place(name, place, len(blocks)))
    return found
