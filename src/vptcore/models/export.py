"""A tuned model as a folder in timm's hub layout, exact in plain timm wherever timm has the form.

In: a final's job slice, the state that it kept, and for methods that start from another's model that one's state. Out:
`model.safetensors`, `config.json`, `predict.py`, and with deep prompts `model.py`. Low-rank updates are merged; shallow
prompts are the register tokens of a ViT, without a position. What was written is loaded again and held against the
model it came from before it takes its place.

    vptcore export results/demo vpt/digits/160 model
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch
from safetensors.torch import save_file
from timm.models import split_model_name_tag
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from vptcore.data.tensors import Normalise
from vptcore.models import portable
from vptcore.models.methods import (
    ModelSpec,
    Tuned,
    build,
    build_encoder,
    build_head,
    load_tuned,
    spec_of,
    start_state,
)
from vptcore.models.methods_table import METHODS

# Logits of what was written against the model's own, relative to the largest: float32 sums in another order.
AGREES = 1e-4
PREDICT = '''"""Label photographs: python predict.py photo.jpg another.png ..."""
import sys
from pathlib import Path

import timm
import torch
from PIL import Image
{load}
names = model.pretrained_cfg["label_names"]
prepare = timm.data.create_transform(**timm.data.resolve_model_data_config(model))
for path in sys.argv[1:]:
    with torch.inference_mode():
        share, best = model(prepare(Image.open(path).convert("RGB"))[None]).softmax(-1)[0].max(0)
    print(path, names[int(best)], f"{{share:.1%}}")
'''
PLAIN = 'model = timm.create_model(f"local-dir:{Path(__file__).parent.resolve()}", pretrained=True).eval()'
OWN = "from model import load\nmodel = load(Path(__file__).parent)"


def restore(job: Mapping, state: Mapping[str, Tensor], base: Mapping[str, Tensor] | None = None) -> Tuned:
    """The model that a final kept, on the CPU, in evaluation mode.

    `state` is a `tuned_state`; `base` is that of the model which a method such as ft_then_pt started from. Raises
    ValueError (one line) for a state of another model.
    """
    spec = spec_of(job)
    if METHODS[spec.method].probe:
        head = build_head(spec, seed=0)
        return Tuned(build_encoder(spec, seed=0), load_tuned(head, state)).eval()
    start = start_state(spec.row, base) if base is not None else None
    return load_tuned(build(spec, seed=0, base_state=start), state).eval()


def write_model(
    folder: Path, job: Mapping, model: Tuned, normalise: Normalise, labels: Sequence[str], notes: Mapping,
    card: Callable[[dict], str],
) -> float:  # fmt: skip
    """Write the folder of `model`; returns the largest difference of logits from the model's own.

    `labels` are the classes in order; `notes` go into config.json under "vptcore"; `card` makes README.md of the
    finished config. Raises ValueError (one line) for a model that neither timm nor model.py can hold.
    """
    spec = spec_of(job)
    state, config = timm_form(model, spec, normalise)
    config |= {"label_names": list(labels), "vptcore": dict(notes)}
    config["pretrained_cfg"]["label_names"] = list(labels)
    beside = folder.with_name(f".{folder.name}.{os.getpid()}.tmp")
    beside.mkdir(parents=True)
    try:
        save_file(state, beside / "model.safetensors", metadata={"format": "pt"})
        (beside / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
        (beside / "predict.py").write_text(PREDICT.format(load=OWN if "prompts" in config else PLAIN), encoding="utf-8")
        (beside / "README.md").write_text(card(config), encoding="utf-8")
        if "prompts" in config:
            shutil.copyfile(portable.__file__, beside / "model.py")
        difference = _held(beside, model, spec)
        for file in beside.iterdir():  # safetensors writes for the owner alone
            file.chmod(0o644)
        if folder.exists():
            shutil.rmtree(folder)
        os.rename(beside, folder)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return difference


def timm_form(model: Tuned, spec: ModelSpec, normalise: Normalise) -> tuple[dict[str, Tensor], dict]:
    """The state in timm's names, and config.json of it; `prompts` in both where they are deep."""
    if not isinstance(model.head, nn.Linear):
        raise ValueError(f"export: the head of {spec.method} is no linear layer; only linear heads have a form in timm")
    encoder = model.encoder
    if spec.backbone.is_swin and encoder.prompts is not None:
        raise ValueError(
            f"export: {spec.method} on {spec.backbone.title}: prompts in windows have no form in timm; export a "
            "method without prompts, or one on a plain ViT"
        )
    backbone = encoder.swin if spec.backbone.is_swin else encoder.vit
    if not spec.backbone.is_swin and (not isinstance(backbone, VisionTransformer) or spec.backbone.pool == "own"):
        raise ValueError(
            f"export: {spec.backbone.title} ({spec.backbone.timm}): only Swins and ViTs that pool their class token or "
            "an average are exported"
        )
    state, arguments = _merged(backbone), dict(spec.backbone.options)
    head = "head.fc" if spec.backbone.is_swin else "head"
    state |= {f"{head}.{name}": value for name, value in model.head.state_dict().items()}
    more: dict = {}
    if not spec.backbone.is_swin:
        arguments |= {"global_pool": spec.backbone.pool, "fc_norm": not isinstance(backbone.fc_norm, nn.Identity)}
        state, arguments, more = _prompts(encoder, state, arguments)
    state = {name: value.detach().cpu().contiguous().clone() for name, value in state.items()}
    return state, _config(spec, normalise, arguments, head) | more


def _merged(module: nn.Module) -> dict[str, Tensor]:
    """Its state with the updates that peft keeps beside a layer added to the layer, under the layer's own names."""
    adapted = [f"{name}." for name, part in module.named_modules() if hasattr(part, "base_layer")]
    for part in module.modules():
        if hasattr(part, "base_layer"):
            part.merge()
    state = {}
    for name, value in module.state_dict().items():
        above = next((prefix for prefix in adapted if name.startswith(prefix)), None)
        if above is None:
            state[name] = value.clone()
        elif name.startswith(f"{above}base_layer."):
            state[above + name.removeprefix(f"{above}base_layer.")] = value.clone()
    for part in module.modules():
        if hasattr(part, "base_layer"):
            part.unmerge()
    return state


def _prompts(encoder, state: dict, arguments: dict) -> tuple[dict, dict, dict]:
    """Prompts as register tokens where that is the same function, and as `prompts` of model.py elsewhere."""
    if encoder.prompts is None:
        return state, arguments, {}
    tokens_LPD = encoder.prompts.tokens.detach()
    is_pooled = encoder.pool == "avg" and encoder.prompts_in_pool
    if not encoder.shallow or is_pooled:
        return state | {"prompts": tokens_LPD}, arguments, {"prompts": {"in_pool": is_pooled}}
    length = encoder.prompts.length
    position_1ND = state["pos_embed"]
    if not encoder.vit.no_embed_class:  # timm adds positions to registers too: to these, none
        nothing = torch.zeros_like(position_1ND[:, :1]).expand(-1, length, -1)
        position_1ND = torch.cat([position_1ND[:, :1], nothing, position_1ND[:, 1:]], dim=1)
    tokens = {"reg_token": tokens_LPD, "pos_embed": position_1ND}
    return state | tokens, arguments | {"reg_tokens": length}, {}


def _config(spec: ModelSpec, normalise: Normalise, arguments: Mapping, head: str) -> dict:
    row, (name, tag) = spec.backbone, split_model_name_tag(spec.backbone.timm)
    data = {
        "input_size": [3, normalise.size, normalise.size], "fixed_input_size": True, "interpolation": "bilinear",
        "crop_pct": 0.875 if normalise.crop else 1.0, "crop_mode": "center" if normalise.crop else "squash",
        "mean": list(normalise.mean), "std": list(normalise.std),
    }  # fmt: skip
    pretrained = {"tag": tag, "custom_load": False, **data, "num_classes": spec.classes, "pool_size": None,
                  "first_conv": "patch_embed.proj", "classifier": head, "license": row.licence}  # fmt: skip
    return {"architecture": name, "num_classes": spec.classes, "num_features": row.width, "global_pool": row.pool,
            "model_args": dict(arguments), "pretrained_cfg": pretrained}  # fmt: skip


@torch.inference_mode()
def _held(folder: Path, model: Tuned, spec: ModelSpec) -> float:
    """The largest difference of logits on random images; ValueError where it is more than rounding."""
    images_BCHW = torch.randn(4, 3, spec.backbone.size, spec.backbone.size, generator=torch.Generator().manual_seed(0))
    wanted_BC = model(images_BCHW)
    try:
        difference = float((portable.load(folder)(images_BCHW) - wanted_BC).abs().max())
    except RuntimeError as error:  # timm's, for names or shapes that the architecture lacks
        raise ValueError(f"export: {spec.method} has no form in timm ({str(error).splitlines()[0]})") from None
    if difference > AGREES * max(1.0, float(wanted_BC.abs().max())):
        raise ValueError(f"export: {spec.method} has no form in timm: logits would differ by {difference:.2g}")
    return difference
