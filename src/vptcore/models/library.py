"""Prompts for a timm model of your own, outside any study.

In: a timm ViT, EVA, BEiT or Swin with its head. Out: the same model, frozen, with prompts and a head that train; and
the few tensors that are worth keeping afterwards.

    python -m pytest tests/vptcore/models/test_library.py
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from timm.models.swin_transformer import SwinTransformer
from torch import Tensor, nn

from vptcore.choices import choose_one
from vptcore.models import portable
from vptcore.models.methods import load_tuned, tuned_state
from vptcore.models.prompts import PromptedViT, Prompts, check_promptable, check_same_as_timm
from vptcore.models.windows import PromptedSwin, SwinPrompts


class Prompted(nn.Module):
    """A timm model with prompts: images (B, 3, H, W) to logits (B, C), by the model's own head.

    `encoder` is the frozen backbone with its prompts; without a head (num_classes=0) the output is the feature (B, D).
    """

    def __init__(self, encoder: PromptedViT | PromptedSwin):
        super().__init__()
        self.encoder = encoder

    @property
    def head(self) -> nn.Module:
        """The model's own classifier, which trains."""
        return self.encoder.backbone.get_classifier()

    def forward(self, images_BCHW: Tensor) -> Tensor:
        return self.head(self.encoder(images_BCHW))


def add_prompts(
    model: nn.Module, length: int = 10, *, deep: bool = True, dropout: float = 0.0, init: str = "uniform"
) -> Prompted:
    """Freeze a timm model and give it prompts to learn; its head stays and trains (Jia et al., ECCV 2022).

    `model`: a ViT, EVA, BEiT or Swin of timm. Depth, width, patch and pooling are read from it. `length`: prompts a
    layer. `deep`: new prompts before every block; else before the first alone. `dropout`: share of prompt entries
    dropped in training. `init`: uniform (KMnP/vpt src/models/vit_prompt/vit.py:57-70) or normal with std 0.02.

    The model is changed in place: only prompts and head keep `requires_grad`. Raises ValueError (one line) for a model
    that prompts are not made for, and for a length below 1.
    """
    options = {"dropout": dropout, "init": choose_one("init", init, ("uniform", "normal"))}
    if isinstance(model, SwinTransformer):
        encoder: nn.Module = PromptedSwin(model, SwinPrompts(model, length, deep, **options), prompts_in_pool=False)
    else:
        check_promptable(model)
        check_same_as_timm(model)
        patch = model.patch_embed.patch_size[0]
        prompts = Prompts(len(model.blocks) if deep else 1, length, model.embed_dim, patch, **options)
        encoder = PromptedViT(model, prompts, pool="own", prompts_in_pool=False)
    encoder.to(next(model.parameters()).device)
    model.requires_grad_(False)
    prompted = Prompted(encoder)
    prompted.head.requires_grad_(True)
    return prompted


def prompt_state_dict(model: Prompted) -> dict[str, Tensor]:
    """Prompts and head, on the CPU: all that a task needs beside the backbone. Save it as safetensors."""
    return tuned_state(model)


def load_prompts(model: Prompted, state: Mapping[str, Tensor]) -> Prompted:
    """Put a `prompt_state_dict` back. Raises ValueError (one line) for that of another model or another length."""
    try:
        return load_tuned(model, state)
    except RuntimeError as error:
        reason = str(error).splitlines()[-1].strip()
        raise ValueError(f"prompts of another model: {reason}") from None


def load_model(folder: Path | str, device: str | torch.device = "cpu") -> nn.Module:
    """What `vptcore export` or `vptcore advise` wrote, in evaluation mode: images (B, 3, H, W) to logits (B, C).

    Size, mean, std and label names are in `model.pretrained_cfg`. Raises ValueError (one line) for another folder.
    """
    try:
        return portable.load(Path(folder)).to(device)
    except FileNotFoundError as error:
        name = Path(error.filename or "config.json").name
        raise ValueError(f"{folder}: no {name} in it; expected a folder that `vptcore export` wrote") from None
