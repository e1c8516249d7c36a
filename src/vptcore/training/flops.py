"""What a step costs, in floating-point operations, and how much of a device's peak it reaches (MFU).

In: a plain ViT's numbers, the method and the prompt length. Out: FLOPs per image of our own form (prompts as keys and
values, the last block for the class token alone), multiply-add counted as 2, matrix products only. Imports no torch.

    python -m pytest tests/training/test_flops.py
"""

from __future__ import annotations

from dataclasses import dataclass

# Dense bf16 peak in FLOP/s by what the device's name contains (vendors' data sheets).
PEAKS = {
    "H200": 989e12,
    "H100 PCIe": 756e12,
    "H100": 989e12,
    "A100": 312e12,
    "L40S": 362e12,
    "RTX 4090": 165e12,
    "V100": 125e12,
}


@dataclass(frozen=True)
class VitShape:
    """Tokens N (class token included), width d, depth L, and the numbers of one patch (3 x patch^2)."""

    tokens: int
    width: int
    depth: int
    patch_numbers: int


def block_flops(shape: VitShape, prompts: int, queries: int) -> float:
    """Forward pass of one block: keys and values of every token, the rest for `queries` of them, prompts read only."""
    d, n = shape.width, shape.tokens
    keys_values = 4 * n * d * d
    rest = queries * (2 + 2 + 16) * d * d
    return keys_values + rest + 4 * queries * (n + prompts) * d


def forward_flops(shape: VitShape, prompts: int = 0, *, class_token_only: bool = True) -> float:
    """One image, without the prompts' own keys and values, which a whole batch shares in evaluation."""
    embed = 2 * (shape.tokens - 1) * shape.patch_numbers * shape.width
    last = block_flops(shape, prompts, 1 if class_token_only else shape.tokens)
    return embed + (shape.depth - 1) * block_flops(shape, prompts, shape.tokens) + last


def step_flops(shape: VitShape, method: str, prompts: int = 0) -> float:
    """Forward and backward of one training image.

    Full and mixed: gradients of weights and of activations, three times the forward pass but for the first layer's
    input. Frozen backbones: activations only. With prompt dropout every image has its own prompt keys and values,
    4 p d^2 a layer, three times over.
    """
    forward, embed = forward_flops(shape, prompts), 2 * (shape.tokens - 1) * shape.patch_numbers * shape.width
    own = 3 * 4 * prompts * shape.width**2 * shape.depth
    if method in ("full", "mixed"):
        return 3 * forward - embed + own
    if method in ("vpt", "ft_then_pt", "lora"):
        return 2 * forward - embed + own
    return forward


def mfu(flops_per_image: float, images_per_second: float, device: str) -> float | None:
    """Share of the device's peak in [0, 1], or None for a device that is not in the table."""
    peak = next((value for name, value in PEAKS.items() if name in device), None)
    return None if peak is None else flops_per_image * images_per_second / peak
