"""Every plain ViT that timm has weights for: right with prompts, or refused by name.

Each architecture is built with random weights, few blocks and few patches. Without prompts its feature must be timm's
own; with deep prompts it must be that of the form in which prompts are tokens of every block. What is refused is
listed. Swin v1 is compared with timm likewise. The exit code is the number of architectures that are silently wrong.

    python -m bench.zoo
    python -m bench.zoo vit_base_patch16_224 eva02_tiny_patch14_224
"""

from __future__ import annotations

import re
import sys
from collections import Counter
from unittest import mock

import timm
import torch
from timm.models.beit import Beit
from timm.models.eva import Eva
from torch import Tensor, nn

from vptcore.models.blocks import spread
from vptcore.models.prompts import PromptedViT, Prompts, check_promptable, check_same_as_timm

MODULES = ("vision_transformer", "deit", "vision_transformer_hybrid", "eva", "beit", "swin_transformer")
CLOSE, PROMPTS = 1e-5, 3
# Numbers of a model that is still built; larger ones are built with two blocks alone.
LARGEST = 3e8


def small(name: str) -> nn.Module:
    """The architecture with random weights, two blocks, and four patches a side where it takes another size."""
    for options in _options(name):
        try:
            with torch.device("meta"):
                made = timm.create_model(name, pretrained=False, num_classes=5, **options)
            if sum(p.numel() for p in made.parameters()) > LARGEST:
                continue
            torch.manual_seed(0)
            model = timm.create_model(name, pretrained=False, num_classes=5, **options).eval()
            with torch.no_grad():
                model(torch.zeros(1, 3, *model.patch_embed.img_size))
        except (TypeError, AssertionError, ValueError, RuntimeError):
            continue
        _shake(model)
        return model
    raise ValueError(f"{name}: timm builds no small one")


def _options(name: str) -> list[dict]:
    """From the smallest form to the architecture as it is."""
    patch = int(next(iter(re.findall(r"patch(\d+)", name)), 16))
    sizes = [4 * patch, 64, 112, 128]
    return [*({"depth": 2, "img_size": size} for size in sizes), {"depth": 2}, {"img_size": 224}, {}]


def _shake(model: nn.Module) -> None:
    """Parameters that start at 0 or 1 would hide a forgotten one."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.02)


@torch.no_grad()
def concatenated(vit: nn.Module, prompts_LPD: Tensor, images_BCHW: Tensor) -> Tensor:
    """The feature where prompts are tokens of every block, by timm's own blocks, which turn no prefix token.

    What the first block gets, and what every block is handed, is taken from timm's own run.
    """
    length, prefix = prompts_LPD.shape[1], int(getattr(vit, "num_prefix_tokens", 1))
    x_BND, handed = _overheard(vit, images_BCHW)
    for prompts_PD, block, known in zip(prompts_LPD, vit.blocks, handed, strict=True):
        prompts_BPD = prompts_PD.expand(len(x_BND), -1, -1)
        tokens = torch.cat([x_BND[:, :prefix], prompts_BPD, x_BND[:, prefix:]], dim=1)
        tokens = _run(vit, block, tokens, known, length, prefix)
        x_BND = torch.cat([tokens[:, :prefix], tokens[:, prefix + length :]], dim=1)
    return vit.forward_head(vit.norm(x_BND), pre_logits=True)


def _overheard(vit: nn.Module, images_BCHW: Tensor) -> tuple[Tensor, list[dict]]:
    """The first block's tokens and every block's keyword arguments, in timm's own forward pass."""
    seen: list[tuple[Tensor, dict]] = []
    hooks = [
        block.register_forward_pre_hook(lambda _, args, named: seen.append((args[0], named)), with_kwargs=True)
        for block in vit.blocks
    ]
    vit.forward_features(images_BCHW)
    for hook in hooks:
        hook.remove()
    return seen[0][0], [named for _, named in seen]


def _run(vit: nn.Module, block: nn.Module, tokens: Tensor, known: dict, length: int, prefix: int) -> Tensor:
    if isinstance(vit, Eva):
        with mock.patch.object(block.attn, "num_prefix_tokens", prefix + length):
            return block(tokens, **known)
    if isinstance(vit, Beit):
        shared = known.get("shared_rel_pos_bias")
        known = known | {"shared_rel_pos_bias": None if shared is None else spread(shared, prefix, length)}
        if block.attn.relative_position_bias_table is not None:
            own = spread(block.attn._get_rel_pos_bias(), prefix, length)
            with mock.patch.object(block.attn, "_get_rel_pos_bias", return_value=own):
                return block(tokens, **known)
    return block(tokens, **known)


def judged(name: str) -> tuple[str, str]:
    """('right' | 'refused' | 'wrong', why) of one architecture."""
    try:
        model = small(name)
        if name.startswith("swin"):
            return _swin(model)
        check_promptable(model)
        check_same_as_timm(model)
    except ValueError as error:
        return "refused", str(error)
    size = model.patch_embed.img_size
    images = torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(2))
    prompts = Prompts(len(model.blocks), PROMPTS, model.embed_dim, 16, init="normal").eval()
    with torch.no_grad():
        ours = PromptedViT(model, prompts, pool="own")(images)
        theirs = concatenated(model, prompts.tokens, images)
    off = float((ours - theirs).abs().max() / theirs.abs().max())
    return ("right", "") if off <= CLOSE else ("wrong", f"off by {off:.1g} with prompts")


@torch.no_grad()
def _swin(model: nn.Module) -> tuple[str, str]:
    from timm.models.swin_transformer import SwinTransformer

    from vptcore.models.windows import PromptedSwin

    if type(model) is not SwinTransformer:
        raise ValueError(f"{type(model).__name__}: no prompts for this kind of model")
    images = torch.randn(1, 3, *model.patch_embed.img_size, generator=torch.Generator().manual_seed(2))
    theirs = model.forward_head(model.forward_features(images), pre_logits=True)
    off = float((PromptedSwin(model)(images) - theirs).abs().max() / theirs.abs().max())
    return ("right", "") if off <= CLOSE else ("wrong", f"off by {off:.1g}")


def main(names: list[str]) -> int:
    known = {name for module in MODULES for name in timm.list_models(module=module)}
    weights = Counter(name for name in (w.split(".")[0] for w in timm.list_pretrained()) if name in known)
    counts, wrong = Counter(), 0
    for number, name in enumerate(names or sorted(weights), start=1):
        state, why = judged(name)
        family = "swin" if name.startswith("swin") else "vit"
        counts[family, state] += weights.get(name, 1)
        wrong += state == "wrong"
        if state != "right" or names:
            print(f"{state:8} {name:50} {why}", flush=True)
        elif number % 50 == 0:
            print(f"{number} of {len(weights)} architectures", file=sys.stderr, flush=True)
    for family in ("vit", "swin"):
        states = {state: counts[family, state] for state in ("right", "refused", "wrong")}
        print(f"{family}: {sum(states.values())} weights, " + ", ".join(f"{n} {state}" for state, n in states.items()))
    return wrong


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
