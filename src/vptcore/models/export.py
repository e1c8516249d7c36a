"""A tuned model as a folder in timm's hub layout, exact in plain timm wherever timm has the form.

In: a final's job slice, the state that it kept, and for methods that start from another's model that one's state. Out:
`model.safetensors`, `config.json`, `predict.py`, and `model.py` for what timm has no form for (`portable_parts`).
Updates of peft and scales are merged; shallow prompts are the register tokens of a ViT, without a position. What was
written is loaded again and compared with the model it came from before it takes its place.

    vptcore export results/demo vpt/digits/160 model
"""

from __future__ import annotations

import copy
import json
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from timm.models import beit, split_model_name_tag
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from vptcore.data.tensors import Normalise
from vptcore.models import portable
from vptcore.models.adapters import MlpBranch, ParallelAdapter, ScaleShift
from vptcore.models.backbones import Backbone
from vptcore.models.heads import MlpHead
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
from vptcore.models.prompts import PromptedViT, pool_of
from vptcore.models.windows import SwinPrompts

# Logits of what was written against the model's own, relative to the largest: float32 sums in another order.
AGREES = 1e-4
PREDICT = '''"""Label photographs: python predict.py photo.jpg another.png ..."""
import sys
from pathlib import Path
import timm
import torch
from PIL import Image, ImageOps
{load}
names = model.pretrained_cfg["label_names"]
prepare = timm.data.create_transform(**timm.data.resolve_model_data_config(model))
for path in sys.argv[1:]:
    with torch.inference_mode():
        photo = prepare(ImageOps.exif_transpose(Image.open(path)).convert("RGB"))
        share, best = model(photo[None]).softmax(-1)[0].max(0)
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
        try:
            save_file(state, beside / "model.safetensors", metadata={"format": "pt"})
        except SafetensorError as error:  # a full disk, which safetensors does not say as an OSError
            raise OSError(f"{folder}: the model cannot be written ({error})") from None
        (beside / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
        predict = PREDICT.format(load=OWN if "model_py" in config else PLAIN)
        (beside / "predict.py").write_text(predict, encoding="utf-8")
        (beside / "README.md").write_text(card(config), encoding="utf-8")
        if "model_py" in config:
            (beside / "model.py").write_text(portable.model_py(config["model_py"]["add"]), encoding="utf-8")
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
    """The state in timm's names and the config.json of it. What timm has no place for is named "added." in the one, and
    "model_py" in the other says how it is added."""
    encoder, row = model.encoder, spec.backbone
    backbone, adapters, biases = plain(encoder.backbone)
    arguments, pool = (dict(row.options), "") if row.is_swin else _pooling(backbone, row)
    state = backbone.state_dict() | _head(backbone, model.head)
    if _are_registers(encoder):
        state, arguments = _as_registers(encoder, state, arguments)
        add, how, added = "add_nothing", {}, {}
    else:
        add, how, added = _added(encoder, model.head, adapters, biases)
    config = _config(spec, normalise, arguments, backbone)
    if pool or add != "add_nothing":
        config["model_py"] = {"add": add, "pool": pool, "with": how}
    state |= {f"added.{name}": value for name, value in added.items()}
    return {name: value.detach().cpu().contiguous().clone() for name, value in state.items()}, config


def plain(backbone: nn.Module) -> tuple[nn.Module, list[nn.Module], dict[str, Tensor]]:
    """A copy without what was put into it: updates and scales merged into timm's own layers, adapters taken out, and
    by name the biases that these layers have none of."""
    backbone, adapters, biases = copy.deepcopy(backbone), [], {}
    put_in = [(n, m) for n, m in backbone.named_modules() if hasattr(m, "base_layer") or isinstance(m, PUT_IN)]
    for name, part in put_in:
        parent, _, last = name.rpartition(".")
        above = backbone.get_submodule(parent)
        if isinstance(part, MlpBranch):
            adapters.append(part.undo(above))
        elif isinstance(part, ScaleShift):
            layer, shift = part.merged()
            setattr(above, last, layer)
            biases |= _beside(above, last, name, shift)
        else:
            part.merge()
            setattr(above, last, part.get_base_layer())
    return backbone, adapters, biases


PUT_IN = (MlpBranch, ScaleShift)


@torch.no_grad()
def _beside(above: nn.Module, last: str, name: str, shift: Tensor | None) -> dict[str, Tensor]:
    """The shift of a layer that has no bias, as far as it does not go to the biases that BEiT and EVA keep apart."""
    if shift is None:
        return {}
    if last != "qkv" or getattr(above, "q_bias", None) is None:
        return {f"{name}.bias": shift}
    q, k, v = shift.chunk(3)
    above.q_bias += q
    above.v_bias += v
    # Without rotary positions it adds the same to what a query makes of every key, and so nothing.
    return {} if isinstance(above, beit.Attention) else {f"{name.removesuffix('qkv')}k_bias": k}


def _pooling(vit: nn.Module, row: Backbone) -> tuple[dict, str]:
    """The arguments of timm under which a model pools as its row says; or the pooling that model.py sets."""
    arguments = dict(row.options)
    if row.pool in ("own", pool_of(vit)):
        return arguments, ""
    if isinstance(vit, VisionTransformer) and getattr(vit, "attn_pool", None) is None:
        return arguments | {"global_pool": row.pool, "fc_norm": not isinstance(vit.fc_norm, nn.Identity)}, ""
    return arguments, row.pool


def _head(backbone: nn.Module, head: nn.Module) -> dict[str, Tensor]:
    """The last linear layer of the head under the name of timm's classifier, of both where a model has two."""
    last = head.folded()[1] if isinstance(head, MlpHead) else head.state_dict()
    names = backbone.pretrained_cfg["classifier"]
    names = [names] if isinstance(names, str) else names
    return {f"{name}.{key}": value for name in names for key, value in last.items()}


def _added(encoder, head: nn.Module, adapters: list[nn.Module], biases: dict) -> tuple[str, dict, dict]:
    """What is added, by a name of `portable.ADD`: its arguments, and its tensors."""
    if isinstance(encoder.prompts, SwinPrompts):
        layers = {f"layers.{index}": layer[0] for index, layer in enumerate(encoder.prompts.layers)}
        return "add_window_prompts", {"in_pool": encoder.prompts_in_pool}, layers
    if encoder.prompts is not None:
        return "add_prompts", {"in_pool": _in_pool(encoder)}, {"prompts": encoder.prompts.tokens}
    if isinstance(head, MlpHead):
        return "add_hidden_layers", {}, head.folded()[0]
    if adapters:
        names = {f"{index}.{name}": value for index, a in enumerate(adapters) for name, value in a.state_dict().items()}
        scale = {"scale": adapters[0].scale} if isinstance(adapters[0], ParallelAdapter) else {}
        return "add_adapters", {"rank": adapters[0].down.out_features, **scale}, names
    return "add_biases" if biases else "add_nothing", {}, biases


def _in_pool(encoder: PromptedViT) -> bool:
    return encoder.pool == "avg" and encoder.prompts_in_pool


def _are_registers(encoder: nn.Module) -> bool:
    """Whether prompts are the register tokens of timm's plain ViT: shallow, and left out where patches are pooled."""
    if not isinstance(encoder, PromptedViT) or not encoder.shallow:
        return False
    vit = encoder.vit
    return type(vit) is VisionTransformer and not (_in_pool(encoder) or vit.pool_include_prefix)


def _as_registers(encoder: PromptedViT, state: dict, arguments: dict) -> tuple[dict, dict]:
    """Prompts behind the registers that the model has, without a position."""
    vit, tokens_1PD = encoder.vit, encoder.prompts.tokens
    position_1ND, registers = state["pos_embed"], state.get("reg_token")
    if not vit.no_embed_class:  # timm adds positions to registers too: to these, none
        nothing = torch.zeros_like(position_1ND[:, :1]).expand(-1, encoder.prompts.length, -1)
        prefix = vit.num_prefix_tokens
        position_1ND = torch.cat([position_1ND[:, :prefix], nothing, position_1ND[:, prefix:]], dim=1)
    tokens_1PD = tokens_1PD if registers is None else torch.cat([registers, tokens_1PD], dim=1)
    return state | {"reg_token": tokens_1PD, "pos_embed": position_1ND}, arguments | {"reg_tokens": tokens_1PD.shape[1]}


def _config(spec: ModelSpec, normalise: Normalise, arguments: Mapping, backbone: nn.Module) -> dict:
    row, (name, tag) = spec.backbone, split_model_name_tag(spec.backbone.timm)
    data = {
        "input_size": [3, normalise.size, normalise.size], "fixed_input_size": True, "interpolation": "bilinear",
        "crop_pct": 0.875 if normalise.crop else 1.0, "crop_mode": "center" if normalise.crop else "squash",
        "mean": list(normalise.mean), "std": list(normalise.std),
    }  # fmt: skip
    pretrained = {"tag": tag, "custom_load": False, **data, "num_classes": spec.classes, "pool_size": None,
                  "first_conv": backbone.pretrained_cfg.get("first_conv"),
                  "classifier": backbone.pretrained_cfg["classifier"], "license": row.licence}  # fmt: skip
    pool = row.pool if row.pool != "own" else backbone.global_pool
    return {"architecture": name, "num_classes": spec.classes, "num_features": row.width, "global_pool": pool,
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
