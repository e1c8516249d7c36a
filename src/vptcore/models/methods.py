"""The ways to tune, built: which parameters train, and how an image becomes logits.

In: a job slice (plain values: backbone row, method, classes, prompt length, protocol) and, for ft_then_pt, the tuned
backbone's state. Out: a `Tuned` model for `fit`, or for probes a frozen backbone and a head on its cached features.

    python -m pytest tests/vptcore/models/test_methods.py
"""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields

import torch
from torch import Tensor, nn

from vptcore.models.adapters import ChannelAdapter, ParallelAdapter, add_bottlenecks, add_scales, call_adapted
from vptcore.models.backbones import Backbone
from vptcore.models.heads import MlpHead, at_least_fp32, linear_head
from vptcore.models.methods_table import METHODS, Method, settings_of
from vptcore.models.outline import places_of
from vptcore.models.peft_layers import put_in
from vptcore.models.pretrained import create_backbone
from vptcore.models.prompts import PromptedViT, Prompts


@dataclass(frozen=True)
class ModelSpec:
    """What it takes to build a model, apart from weights. Made from a job slice by `spec_of`."""

    backbone: Backbone
    method: str
    classes: int
    prompt_length: int
    deep: bool
    switches: Mapping[str, object]
    settings: Mapping[str, object]

    @property
    def row(self) -> Method:
        return METHODS[self.method]

    @property
    def prompt_init(self) -> str:
        """How prompts start: as the method says, or the protocol."""
        return str(self.settings.get("prompt_init", self.switches["prompt_init"]))


def spec_of(job: Mapping) -> ModelSpec:
    """The model part of a job slice."""
    row = {f.name: job["backbone"][f.name] for f in fields(Backbone)}
    row["mean"], row["std"] = tuple(row["mean"]), tuple(row["std"])
    return ModelSpec(
        backbone=Backbone(**row),
        method=job["method"],
        classes=int(job["classes"]),
        prompt_length=int(job["prompt_length"]),
        deep=bool(job["deep"]),
        switches=job["protocol"],
        settings=settings_of(job),
    )


class Tuned(nn.Module):
    """An encoder that pools images to features, and the head that is tuned with it."""

    def __init__(self, encoder: nn.Module, head: nn.Module):
        super().__init__()
        self.encoder = encoder
        self.head = head

    def forward(self, images_BCHW: Tensor) -> Tensor:
        features_BD = self.encoder(images_BCHW)
        # In bf16 logits near a head's bias of -4.6 would be 1/32 apart, and images tie.
        kind = features_BD.device.type
        with contextlib.nullcontext() if kind == "meta" else torch.autocast(kind, enabled=False):
            return self.head(at_least_fp32(features_BD))


def build(
    spec: ModelSpec,
    *,
    seed: int,
    base_state: Mapping[str, Tensor] | None = None,
    backbone: nn.Module | None = None,
) -> Tuned:
    """The model of `spec`, new head and prompts drawn under `seed`; `base_state` (of `start_state`) replaces what the
    method that it starts from has trained.

    `backbone`, where one is given, is a `pristine` one of this spec, which is copied instead of read again.
    """
    from_head = starts_from_head(spec.row)
    encoder = build_encoder(spec, seed=seed, base_state=None if from_head else base_state, backbone=backbone)
    model = Tuned(encoder, build_head(spec, seed=seed))
    if from_head and base_state is not None:
        model.head.load_state_dict(base_state)
    named = dict(encoder.backbone.named_parameters())
    for place, parameter in zip(places_of(list(named)), named.values(), strict=True):
        parameter.requires_grad_(spec.row.trains(place, spec.settings))
    if spec.backbone.fixed_positions:
        encoder.backbone.pos_embed.requires_grad_(False)
    if spec.row.branch:
        BRANCHES[spec.row.branch](encoder.backbone, spec)
        call_adapted(encoder.backbone)
    return model


def pristine(spec: ModelSpec) -> nn.Module:
    """The backbone of `spec` with its pretrained weights; only full fine-tuning drops paths."""
    return create_backbone(spec.backbone, drop_path=spec.backbone.drop_path if spec.row.as_full else 0.0)


def build_encoder(
    spec: ModelSpec,
    *,
    seed: int,
    base_state: Mapping[str, Tensor] | None = None,
    backbone: nn.Module | None = None,
) -> PromptedViT:
    """The backbone, with prompts where the method has them, and the dropout of its row or the protocol."""
    is_full = spec.row.as_full
    backbone = pristine(spec) if backbone is None else copy.deepcopy(backbone)
    if base_state is not None:
        # What is fixed stays the checkpoint's; buffers that timm computes are in no state.
        own, computed = backbone.state_dict(), {name for name, _ in backbone.named_buffers()}
        backbone.load_state_dict(own | {n: v for n, v in base_state.items() if n in own or n not in computed})
    set_dropout(backbone, spec.backbone.full_dropout if is_full else float(spec.switches["prompted_dropout"]))
    torch.manual_seed(seed)
    prompted = spec.row.prompts
    if spec.backbone.is_swin:
        from vptcore.models.windows import PromptedSwin, SwinPrompts

        prompts = SwinPrompts(backbone, spec.prompt_length, spec.deep, **_prompt_options(spec)) if prompted else None
        return PromptedSwin(backbone, prompts, prompts_in_pool=bool(spec.switches["prompts_in_pool"]))
    prompts = None
    if prompted:
        layers = len(backbone.blocks) if spec.deep else 1
        patch = backbone.patch_embed.patch_size[0]
        prompts = Prompts(layers, spec.prompt_length, backbone.embed_dim, patch, **_prompt_options(spec))
    return PromptedViT(
        backbone, prompts, pool=spec.backbone.pool, prompts_in_pool=bool(spec.switches["prompts_in_pool"])
    )


def _prompt_options(spec: ModelSpec) -> dict:
    # The authors drop prompts out only where they are deep.
    return {
        "dropout": float(spec.switches["prompt_dropout"]) if spec.deep else 0.0,
        "init": spec.prompt_init,
    }


def build_head(spec: ModelSpec, *, seed: int) -> nn.Module:
    torch.manual_seed(seed)
    make = MlpHead if spec.row.head == "mlp" else linear_head
    return make(
        spec.backbone.width, spec.classes, init=str(spec.switches["head_init"]), bias=float(spec.switches["head_bias"])
    )


def set_dropout(backbone: nn.Module, share: float) -> None:
    """Dropout after the embeddings and twice in each MLP; attention stays without (KMnP/vpt vit_backbones/vit.py)."""
    for name, module in backbone.named_modules():
        if isinstance(module, nn.Dropout) and name.endswith(("pos_drop", "mlp.drop1", "mlp.drop2")):
            module.p = share


def _lora(backbone: nn.Module, spec: ModelSpec) -> None:
    """Low-rank updates beside the named projections."""
    lora = spec.settings["lora"]
    config = {"r": int(lora["rank"]), "lora_alpha": float(lora["alpha"]), "target_modules": list(lora["targets"])}
    key = f"methods.{spec.method}.lora"
    put_in(backbone, "LORA", config, key=key, timm=spec.backbone.timm, targets_key="targets")


def _peft(backbone: nn.Module, spec: ModelSpec) -> None:
    """Any adapter of peft that is put into layers, with the arguments of its own config class."""
    config = dict(spec.settings["peft"])
    kind = str(config.pop("peft_type"))
    put_in(backbone, kind, config, key=f"methods.{spec.method}.peft", timm=spec.backbone.timm)


def _adaptformer(backbone: nn.Module, spec: ModelSpec) -> None:
    rank, scale = int(spec.settings["bottleneck"]), float(spec.settings["scale"])
    add_bottlenecks(backbone, lambda width: ParallelAdapter(width, rank, scale), behind=False)


def _adapter_plus(backbone: nn.Module, spec: ModelSpec) -> None:
    rank = int(spec.settings["bottleneck"])
    add_bottlenecks(backbone, lambda width: ChannelAdapter(width, rank, drop_path=0.1), behind=True)


# What a method adds to the backbone, whose parameters are frozen but for those that the method's row trains.
BRANCHES: dict[str, Callable[[nn.Module, ModelSpec], None]] = {
    "lora": _lora,
    "peft": _peft,
    "adaptformer": _adaptformer,
    "adapter_plus": _adapter_plus,
    "ssf": lambda backbone, spec: add_scales(backbone),
}


def count_parameters(model: nn.Module) -> tuple[int, int]:
    """Tuned parameters (head included) and total: the backbone's own plus the tuned ones, as the paper counts (Table
    3).

    Where the backbone itself is tuned its parameters are counted once.
    """
    tuned = sum(p.numel() for p in model.parameters() if p.requires_grad)
    return tuned, tuned + sum(p.numel() for p in model.parameters() if not p.requires_grad)


def tuned_state(model: nn.Module) -> dict[str, Tensor]:
    """What training changed: every trained parameter and every buffer, on the CPU."""
    trained = {n: p for n, p in model.named_parameters() if p.requires_grad}
    return {n: v.detach().cpu().contiguous().clone() for n, v in {**trained, **dict(model.named_buffers())}.items()}


def load_tuned(model: nn.Module, state: Mapping[str, Tensor]) -> nn.Module:
    """Put a `tuned_state` back; a state of another model ends in one line."""
    own = {n for n, p in model.named_parameters() if p.requires_grad} | {n for n, _ in model.named_buffers()}
    if own != set(state):
        odd = sorted(own ^ set(state))
        raise ValueError(f"a tuned state of another model: {len(odd)} names differ, first {odd[0]}")
    model.load_state_dict(state, strict=False)
    return model


def starts_from_head(row: Method) -> bool:
    """Whether a method takes a probe's head, and not a tuned backbone."""
    return bool(row.needs) and METHODS[row.needs].probe


def start_state(row: Method, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What a method takes of the tuned state of the method that it `needs`."""
    return dict(state) if starts_from_head(row) else backbone_state(state)


def backbone_state(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The backbone inside a `tuned_state` of full fine-tuning, in timm's names."""
    prefixes = ("encoder.vit.", "encoder.swin.")
    return {n.removeprefix(p): v for n, v in state.items() for p in prefixes if n.startswith(p)}


def halve_frozen(model: nn.Module) -> nn.Module:
    """Frozen projections in bf16, as autocast would cast them at every step. For models on a GPU."""
    for module in model.modules():
        if isinstance(module, nn.Linear | nn.Conv2d) and not any(p.requires_grad for p in module.parameters()):
            module.to(torch.bfloat16)
    return model
