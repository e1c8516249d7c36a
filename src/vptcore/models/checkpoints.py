"""Weights from files: shipped assets, hub repositories, and local .safetensors, .pth or .npz in timm's or the authors'
layout, out of wrappers and behind a prefix.

In: a timm model without a head and a backbone row whose `checkpoint` is `asset:NAME`, `hub:REPO` or a path. Out: the
same model with every weight loaded. A file that does not fit ends in one line with the missing and the left-over keys.
Nothing is unpickled: .pth files are read with weights_only, .npz without pickles.

    python -m pytest tests/vptcore/models/test_checkpoints.py
"""

from __future__ import annotations

import re
import zlib
from importlib import resources
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
import torch
from torch import Tensor, nn

from vptcore.downloads import held
from vptcore.models.backbones import Backbone
from vptcore.wording import plural

# Heads, projectors and predictors of pretraining: never part of a backbone.
_NOT_BACKBONE = re.compile(
    r"^(head|dino_head|ibot_head|pre_logits|decoder\w*|mask_token|fc|predictor|projector)\b|momentum|^(queue|logit_scale)"
)


# Where files keep a state. Of several, averaged weights first, as timm does; DINO's teacher, as its makers do.
_WRAPPERS = ("state_dict_ema", "model_ema", "teacher", "state_dict", "model", "student")
# A weight that every ViT and Swin has, in timm's layout and in the authors'.
_ANCHORS = ("patch_embed.proj.weight", "transformer.embeddings.patch_embeddings.weight")
# What trainers and compilers put before a name.
_AROUND = re.compile(r"^(?:module\.|_orig_mod\.|model\.|enc\.)+")


def load_checkpoint(model: nn.Module, spec: Backbone) -> nn.Module:
    """Fill `model` from `spec.checkpoint`."""
    path = find_checkpoint(spec)
    _check_weights_file(path, spec)
    if path.suffix == ".npz":
        return _load_npz(model, path, spec)
    try:
        state = to_timm_layout(read_state(path))
    except _Several as error:
        raise ValueError(f"{path}: {error}") from None
    wanted = model.state_dict()
    if spec.pool == "avg" and "fc_norm.weight" in wanted and "fc_norm.weight" not in state:
        # The authors' MAE model drops the checkpoint's norm and starts fc_norm afresh (KMnP/vpt vit_mae.py).
        state.update({name: wanted[name] for name in ("fc_norm.weight", "fc_norm.bias")})
    state = {name: value for name, value in state.items() if name in wanted or not _is_droppable(name, spec)}
    missing, left_over = sorted(set(wanted) - set(state)), sorted(set(state) - set(wanted))
    shapes = [name for name in wanted if name in state and state[name].shape != wanted[name].shape]
    if missing or left_over or shapes:
        raise ValueError(_misfit(path, spec, missing, left_over, shapes, state, wanted))
    _check_numbers(path, state, wanted)
    model.load_state_dict({name: value.to(wanted[name].dtype) for name, value in state.items()})
    return model


def find_checkpoint(spec: Backbone) -> Path:
    """The file behind `asset:`, `hub:` or a path."""
    where = spec.checkpoint
    if where.startswith("hub:"):
        return _download(where.removeprefix("hub:"), spec)
    assets = resources.files("vptcore") / "assets"
    is_asset = where.startswith("asset:")
    path = Path(str(assets / where.removeprefix("asset:"))) if is_asset else Path(where)
    if not path.is_file():
        raise ValueError(
            f"backbone {spec.id}: no file {path}; backbones.{spec.id}.checkpoint expects a .safetensors, .pth "
            f"or .npz file"
        )
    return path


def timm_weights(spec: Backbone) -> Path:
    """The safetensors file of timm's own repository for this architecture and these weights."""
    import timm

    known = timm.get_pretrained_cfg(spec.timm)
    if known is None or not known.hf_hub_id:
        raise ValueError(
            f"backbone {spec.id}: timm knows no safetensors file of {spec.timm} on the hub; give a local file as "
            f"backbones.{spec.id}.checkpoint"
        )
    return _download(known.hf_hub_id, spec)


def _download(repo: str, spec: Backbone) -> Path:
    """The repository's safetensors file: the one that came the first time, and no other."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        path = Path(hf_hub_download(repo, "model.safetensors"))
    except (LocalEntryNotFoundError, HfHubHTTPError, OSError) as error:
        raise ValueError(
            f"backbone {spec.id}: cannot fetch {repo} ({type(error).__name__}); give a local file as "
            f"backbones.{spec.id}.checkpoint"
        ) from None
    return held(f"hub:{repo}", path)


def read_state(path: Path) -> dict[str, Tensor]:
    """The tensors of a .safetensors or .pth file, out of whatever wrapper it has."""
    if _is_safetensors(path):
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        try:
            return load_file(path)
        except SafetensorError as error:
            raise ValueError(f"{path}: not a readable safetensors file ({error})") from None
    try:
        with path.open("rb") as file:  # by a path, torch would go by its suffix
            state = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises UnpicklingError, RuntimeError, EOFError, ... for what it will not read
        raise ValueError(
            f"{path}: not a file of plain tensors ({type(error).__name__}); pickled objects are never loaded"
        ) from None
    while isinstance(state, dict) and (inner := next((w for w in _WRAPPERS if isinstance(state.get(w), dict)), None)):
        state = state[inner]
    if not isinstance(state, dict) or not any(isinstance(v, Tensor) for v in state.values()):
        raise ValueError(
            f"{path}: holds no tensors by name; expected a state dict, bare or under {', '.join(map(repr, _WRAPPERS))}"
        )
    return {name: value for name, value in state.items() if isinstance(value, Tensor)}


def _check_weights_file(path: Path, spec: Backbone) -> None:
    """Name the two things that downloads leave in the place of weights."""
    with path.open("rb") as file:
        start = file.read(512).lstrip().lower()
    instead = f"as backbones.{spec.id}.checkpoint"
    if start.startswith(b"version https://git-lfs"):
        raise ValueError(f"{path}: a pointer of Git LFS, not the weights; run `git lfs pull` in its folder")
    if start.startswith((b"<!doctype html", b"<html")):
        raise ValueError(f"{path}: a web page, not weights; download the file itself and give it {instead}")


def _is_safetensors(path: Path) -> bool:
    """By what it holds, whatever its name: the length of a header, and a header."""
    with path.open("rb") as file:
        start = file.read(9)
    if start[8:] == b"{" and int.from_bytes(start[:8], "little") <= path.stat().st_size:
        return True
    return path.suffix == ".safetensors" and not start.startswith((b"PK", b"\x80"))


def _check_numbers(path: Path, state: dict[str, Tensor], wanted: dict[str, Tensor]) -> None:
    """Raise ValueError for integers in the place of weights, and for weights that are no numbers."""
    weights = {name: value for name, value in state.items() if wanted[name].is_floating_point()}
    whole = next((name for name, value in weights.items() if not value.is_floating_point()), None)
    if whole is not None:
        kind = str(weights[whole].dtype).removeprefix("torch.")
        raise ValueError(f"{path}: {whole} is {kind}, expected floats; give the weights as they were before quantising")
    broken = [name for name, value in weights.items() if not bool(value.float().isfinite().all())]
    if broken:
        raise ValueError(
            f"{path}: NaN or infinity in {plural(len(broken), 'weight')} ({_some(broken)}); the training diverged or "
            f"the file is damaged: give an earlier checkpoint"
        )


def to_timm_layout(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Rename keys of MoCo v3, original Swin and the authors' ViT to timm's, without a prefix that all have."""
    if any(name.startswith("module.base_encoder.") for name in state):
        state = {n: v for n, v in state.items() if n.startswith("module.base_encoder.")}
        state = {name.removeprefix("module.base_encoder."): value for name, value in state.items()}
    state = _without_prefix(state)
    if any(name.startswith("transformer.encoder.layer.") for name in state):
        return _from_authors_vit(state)
    if any(".relative_position_index" in name or name.startswith("layers.0.") for name in state):
        return _from_original_swin(state)
    return state


class _Several(ValueError):
    """A file with more than one model."""


def _without_prefix(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The names without what comes before the model's own; other parts lose a trainer's or compiler's prefix."""
    found = {name.removesuffix(a) for name in state for a in _ANCHORS if name == a or name.endswith(f".{a}")}
    if not found or "" in found:
        return state
    if len(found) > 1:
        raise _Several(f"holds several models ({', '.join(sorted(found))}); save the one you mean in a file of its own")
    (prefix,) = found
    return {n.removeprefix(prefix) if n.startswith(prefix) else _AROUND.sub("", n): v for n, v in state.items()}


def _from_original_swin(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Patch merging ends a stage in the original files and opens one in timm; what timm computes is left out."""
    ends_stages = any(name.startswith("layers.0.downsample.") for name in state)

    def renamed(name: str) -> str:
        return re.sub(r"^layers\.(\d+)\.downsample", lambda m: f"layers.{int(m[1]) + ends_stages}.downsample", name)

    kept = {n: v for n, v in state.items() if not n.endswith(("relative_position_index", "attn_mask"))}
    return {renamed(name): value for name, value in kept.items()}


_AUTHORS = (
    (r"^transformer\.embeddings\.patch_embeddings\.", "patch_embed.proj."),
    (r"^transformer\.embeddings\.position_embeddings$", "pos_embed"),
    (r"^transformer\.embeddings\.cls_token$", "cls_token"),
    (r"^transformer\.encoder\.encoder_norm\.", "norm."),
    (r"^transformer\.encoder\.layer\.(\d+)\.attention_norm\.", r"blocks.\1.norm1."),
    (r"^transformer\.encoder\.layer\.(\d+)\.ffn_norm\.", r"blocks.\1.norm2."),
    (r"^transformer\.encoder\.layer\.(\d+)\.ffn\.", r"blocks.\1.mlp."),
    (r"^transformer\.encoder\.layer\.(\d+)\.attn\.out\.", r"blocks.\1.attn.proj."),
)


def _from_authors_vit(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Keys of KMnP/vpt src/models/vit_backbones/vit.py; query, key and value are stacked into timm's qkv."""
    renamed = {}
    for name, value in state.items():
        for pattern, new in _AUTHORS:
            name = re.sub(pattern, new, name)
        renamed[name] = value
    for query in [n for n in renamed if n.endswith(("attn.query.weight", "attn.query.bias"))]:
        names = [query.replace("query", part) for part in ("query", "key", "value")]
        if not set(names) <= set(renamed):
            continue  # left as they are, to be named among the keys that do not fit
        parts = [renamed.pop(name) for name in names]
        new = re.sub(r"^transformer\.encoder\.layer\.(\d+)\.attn\.query", r"blocks.\1.attn.qkv", query)
        renamed[new] = torch.cat(parts)
    return renamed


def _is_droppable(name: str, spec: Backbone) -> bool:
    return bool(_NOT_BACKBONE.search(name)) or (spec.pool == "avg" and name in ("norm.weight", "norm.bias"))


def _load_npz(model: nn.Module, path: Path, spec: Backbone) -> nn.Module:
    if not hasattr(model, "load_pretrained"):
        raise ValueError(f"{path}: .npz files hold original ViTs; {spec.timm} is not one")
    try:
        _check_npz(model, path)
        model.load_pretrained(str(path))
    except (BadZipFile, zlib.error, OSError, EOFError, KeyError, AssertionError, RuntimeError, ValueError) as error:
        reason = str(error).splitlines()[0] if str(error) else "shapes differ"
        raise ValueError(
            f"{path}: does not fit {spec.timm} of backbone {spec.id} ({type(error).__name__}: {reason})"
        ) from None
    return model


def _check_npz(model: nn.Module, path: Path) -> None:
    """What timm would pass over: it resamples patches of another size and leaves further blocks unread."""
    with np.load(path, allow_pickle=False) as arrays:
        blocks = {int(m[1]) for name in arrays.files if (m := re.search(r"encoderblock_(\d+)/", name))}
        kernels = [arrays[name] for name in arrays.files if name.endswith("embedding/kernel")]
    if blocks and len(blocks) != len(model.blocks):
        raise ValueError(f"it holds {len(blocks)} blocks, expected {len(model.blocks)}")
    patch = tuple(model.patch_embed.patch_size)
    if kernels and kernels[0].shape[:2] != patch:
        raise ValueError(f"its patches are {kernels[0].shape[:2]}, expected {patch}")


def _misfit(path: Path, spec: Backbone, missing, left_over, shapes, state, wanted) -> str:
    parts = [f"{path}: does not fit {spec.timm} of backbone {spec.id}"]
    if missing:
        parts.append(f"{plural(len(missing), 'key')} missing ({_some(missing)})")
    if left_over:
        parts.append(f"{len(left_over)} left over ({_some(left_over)})")
    if shapes:
        name = shapes[0]
        parts.append(
            f"{len(shapes)} of another shape ({name} is {tuple(state[name].shape)}, expected "
            f"{tuple(wanted[name].shape)})"
        )
    return "; ".join(parts)


def _some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
