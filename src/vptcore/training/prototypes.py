"""Prompts that start as prototypes of the patch tokens of the images that they will be trained on.

In: a model with prompts, built and on its device, its train images, and the seed. Out: the same model, whose prompts
before each block are the centres (k-means) of the patch tokens that enter this block of the backbone without prompts
(Wang et al., Revisiting the Power of Prompt for Visual Tuning, ICML 2024, whose code calls it `kmeans`). At most 512
images and 8,192 tokens are seen, drawn under the seed, as are the first centres: the same seed and images, the same
prompts.

    python -m pytest tests/vptcore/training/test_prototypes.py
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vptcore.data.tensors import ImageSet
from vptcore.models.methods import Tuned

IMAGES, TOKENS, ROUNDS, BATCH = 512, 8192, 100, 64


@torch.no_grad()
def start_from_prototypes(model: Tuned, train: ImageSet, seed: int) -> None:
    """Set the prompts of `model` in place. Images and model are on one device; the backbone computes in fp32."""
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randperm(len(train), generator=generator)[:IMAGES]
    prompts = _layers(model.encoder.prompts)
    tokens = patch_tokens(model.encoder.backbone, train, rows, len(prompts), generator)
    for own_PD, tokens_ND in zip(prompts, tokens, strict=True):
        own_PD.copy_(centres(tokens_ND, len(own_PD), generator))


def _layers(prompts: nn.Module) -> list[Tensor]:
    """The prompts of each layer, (P, D) views of the parameters: a ViT's stacked ones, or a Swin's."""
    return [layer[0] for layer in prompts.layers] if hasattr(prompts, "layers") else list(prompts.tokens)


def patch_tokens(
    backbone: nn.Module, train: ImageSet, rows: Tensor, layers: int, generator: torch.Generator
) -> list[Tensor]:
    """What enters each of the first `layers` blocks, (N, D): of every image the patches at so many random places that
    all are at most `TOKENS`, or one."""
    stages = backbone.layers if hasattr(backbone, "layers") else [backbone]
    blocks = [block for stage in stages for block in stage.blocks][:layers]
    seen: list[list[Tensor]] = [[] for _ in blocks]
    each = max(1, TOKENS // len(rows))
    prefix = int(getattr(backbone, "num_prefix_tokens", 0))

    def keep(index: int, x: Tensor) -> None:
        x_BND = x.flatten(1, 2) if x.dim() == 4 else x[:, prefix:]
        places_BN = torch.rand(x_BND.shape[:2], generator=generator).argsort(1)[:, :each].to(x.device)
        seen[index].append(x_BND.gather(1, places_BN[..., None].expand(-1, -1, x_BND.shape[-1])).flatten(0, 1))

    hooks = [
        block.register_forward_pre_hook(lambda block, inputs, index=index: keep(index, inputs[0]))
        for index, block in enumerate(blocks)
    ]
    was_training = backbone.training
    backbone.eval()
    try:
        for some in rows.to(train.device).split(BATCH):
            backbone.forward_features(train.inputs(some))
    finally:
        backbone.train(was_training)
        for hook in hooks:
            hook.remove()
    return [torch.cat(parts).float() for parts in seen]


def centres(tokens_ND: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """k-means (Lloyd, 1982) from tokens drawn at random: (count, D). A centre that no token is nearest to stays.

    Fewer tokens than centres are drawn again and again.
    """
    drawn = torch.randperm(len(tokens_ND), generator=generator).repeat(-(-count // len(tokens_ND)))[:count]
    centres_PD = tokens_ND[drawn.to(tokens_ND.device)].clone()
    nearest_N = None
    for _ in range(ROUNDS):
        # Squared distances but for what all centres share.
        found_N = (centres_PD.square().sum(1) - 2 * tokens_ND @ centres_PD.T).argmin(1)
        if nearest_N is not None and torch.equal(found_N, nearest_N):
            break
        nearest_N = found_N
        # A product with ones and zeros: sums by index have no fixed order on a GPU.
        member_NP = nn.functional.one_hot(nearest_N, count).to(tokens_ND.dtype)
        size_P = member_NP.sum(0)
        means_PD = member_NP.T @ tokens_ND / size_P.clamp(min=1)[:, None]
        centres_PD = torch.where(size_P[:, None] > 0, means_PD, centres_PD)
    return centres_PD
