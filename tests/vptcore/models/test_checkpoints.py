"""Weights in every layout that people have give one model; files that do not fit end in one line and run nothing."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
import torch.nn.functional as F
from safetensors.torch import save_file

from tests.vptcore.models.layouts import authors_forward, authors_state, original_arrays
from tests.vptcore.models.plain import worst
from vptcore.models.backbones import Backbone
from vptcore.models.pretrained import create_backbone

VIT = Backbone(
    "tiny", "Tiny", "vit_tiny_patch16_224", size=16, width=24, depth=2,
    options=dict(img_size=16, patch_size=4, embed_dim=24, depth=2, num_heads=3),
)  # fmt: skip
MAE = replace(VIT, id="tiny_mae", pool="avg", options=VIT.options | {"global_pool": "avg"})
SWIN = Backbone(
    "tiny_swin", "Tiny Swin", "swin_tiny_patch4_window7_224", pool="avg", size=32, width=24, depth=4,
    options=dict(img_size=32, patch_size=4, embed_dim=12, depths=(2, 2), num_heads=(2, 3), window_size=4),
)  # fmt: skip


def new(spec: Backbone):
    """timm's model with every parameter away from zeros and ones, where a mixed-up key would hide."""
    torch.manual_seed(0)
    model = timm.create_model(spec.timm, num_classes=0, **spec.options).eval()
    for parameter in model.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    return model


@pytest.fixture
def vit():
    return new(VIT)


@pytest.fixture
def images():
    return torch.randn(3, 3, 16, 16, generator=torch.Generator().manual_seed(1))


def load(path: Path, spec: Backbone = VIT):
    return create_backbone(replace(spec, checkpoint=str(path))).eval()


def save(content, path: Path) -> Path:
    save_file(content, path) if path.suffix == ".safetensors" else torch.save(content, path)
    return path


def refusal(path: Path, spec: Backbone = VIT) -> str:
    """The one line that a file is refused with."""
    with pytest.raises(ValueError, match=r"\S") as caught:
        load(path, spec)
    line = str(caught.value)
    assert "\n" not in line
    assert str(path) in line
    return line


def same_weights(a, b) -> bool:
    ours, theirs = a.state_dict(), b.state_dict()
    return set(ours) == set(theirs) and all(torch.equal(ours[name], theirs[name]) for name in ours)


# Layouts


@pytest.mark.parametrize(
    ("name", "wrapper"),
    [
        ("a.safetensors", None),
        ("a.pth", None),
        ("a.pth", "model"),
        ("a.bin", "state_dict"),
        ("a.pth.tar", "state_dict"),
    ],
)
def test_timm_layout(vit, tmp_path, name, wrapper):
    state = vit.state_dict() | {"head.weight": torch.zeros(5, 24), "head.bias": torch.zeros(5)}
    content = {wrapper: state, "epoch": 3, "optimizer": {"lr": 0.1}} if wrapper else state
    assert same_weights(load(save(content, tmp_path / name)), vit)


def test_half_precision_is_read_as_single(vit, tmp_path):
    loaded = load(save({n: v.half() for n, v in vit.state_dict().items()}, tmp_path / "a.safetensors"))
    assert all(p.dtype == torch.float32 for p in loaded.parameters())
    assert worst(loaded.pos_embed, vit.pos_embed.half().float()) == 0


def test_mocov3_layout(vit, tmp_path):
    """facebookresearch/moco-v3: two encoders with projectors as heads, a predictor, under 'state_dict'."""
    projector = {f"head.{i}.weight": torch.zeros(4, 4) for i in (0, 3)} | {"head.1.running_mean": torch.zeros(4)}
    base, momentum = (dict(vit.state_dict(), **projector), {n: v + 1 for n, v in vit.state_dict().items()})
    state = {f"module.base_encoder.{n}": v for n, v in base.items()}
    state |= {f"module.momentum_encoder.{n}": v for n, v in momentum.items()}
    state |= {"module.predictor.0.weight": torch.zeros(4, 4), "module.predictor.1.num_batches_tracked": torch.tensor(7)}
    path = save(
        {"epoch": 300, "arch": "vit_base", "state_dict": state, "scaler": {"scale": 1.0}}, tmp_path / "m.pth.tar"
    )
    assert same_weights(load(path), vit)


def test_authors_layout(vit, images, tmp_path):
    state = authors_state(vit)
    head = {"head.last_layer.weight": torch.zeros(5, 24), "head.last_layer.bias": torch.zeros(5)}
    loaded = load(save({"model": state | head, "iteration": 9}, tmp_path / "vpt.pth"))
    assert same_weights(loaded, vit)
    assert worst(loaded(images), authors_forward(state, images)) < 1e-5


def test_original_npz(vit, images, tmp_path):
    np.savez(tmp_path / "ViT.npz", **original_arrays(vit))
    loaded = load(tmp_path / "ViT.npz")
    assert same_weights(loaded, vit)
    assert worst(loaded(images), vit(images)) == 0


@pytest.mark.parametrize("wrapped", [True, False])
def test_mae(tmp_path, wrapped):
    """The mean over tokens is normed by a fresh fc_norm; the pretraining's own norm and decoder are dropped."""
    pretrained = new(VIT)
    decoder = {"mask_token": torch.zeros(1, 1, 8), "decoder_embed.weight": torch.zeros(8, 24)}
    decoder |= {"decoder_pos_embed": torch.zeros(1, 17, 8), "decoder_blocks.0.norm1.weight": torch.zeros(8)}
    state = pretrained.state_dict() | (decoder if wrapped else {})
    loaded = load(save({"model": state} if wrapped else state, tmp_path / "mae.pth"), MAE)
    assert torch.equal(loaded.fc_norm.weight, torch.ones(24))
    assert torch.equal(loaded.fc_norm.bias, torch.zeros(24))
    assert not any(name.startswith("norm.") for name in loaded.state_dict())
    x = torch.randn(2, 3, 16, 16)
    tokens = pretrained.blocks(pretrained.norm_pre(pretrained._pos_embed(pretrained.patch_embed(x))))
    assert worst(loaded(x), F.layer_norm(tokens[:, 1:].mean(1), (24,), eps=1e-6)) < 1e-5


def test_mae_that_was_tuned_keeps_its_norm(tmp_path):
    tuned = new(MAE)
    assert same_weights(load(save(tuned.state_dict(), tmp_path / "tuned.safetensors"), MAE), tuned)


def test_original_swin(tmp_path):
    """microsoft/Swin-Transformer: merging ends stage 0, and index and mask buffers are stored."""
    swin = new(SWIN)
    state = {name.replace("layers.1.downsample", "layers.0.downsample"): v for name, v in swin.state_dict().items()}
    state |= {name: value for name, value in swin.named_buffers() if "relative_position_index" in name}
    state |= {
        "layers.0.blocks.1.attn_mask": torch.zeros(4, 16, 16),
        "head.weight": torch.zeros(9, 24),
        "head.bias": torch.zeros(9),
    }
    assert "layers.0.downsample.reduction.weight" in state
    loaded = load(save({"model": state}, tmp_path / "swin.pth"), SWIN)
    assert same_weights(loaded, swin)
    x = torch.randn(2, 3, 32, 32)
    assert worst(loaded(x), swin(x)) == 0


def test_swin_in_timms_layout(tmp_path):
    swin = new(SWIN)
    assert same_weights(load(save(swin.state_dict(), tmp_path / "swin.safetensors"), SWIN), swin)


# Prefixes, wrappers, names


@pytest.mark.parametrize("prefix", ["model.", "module.", "_orig_mod.", "module._orig_mod.", "net.visual.trunk."])
def test_any_one_prefix(vit, tmp_path, prefix):
    state = {prefix + name: value for name, value in vit.state_dict().items()}
    assert same_weights(load(save(state, tmp_path / "a.pth")), vit)
    swin = new(SWIN)
    state = {prefix + name: value for name, value in swin.state_dict().items()}
    assert same_weights(load(save(state, tmp_path / "b.safetensors"), SWIN), swin)


def test_the_authors_layout_behind_a_compilers_prefix(vit, tmp_path):
    state = {f"module._orig_mod.{name}": value for name, value in authors_state(vit).items()}
    assert same_weights(load(save({"model": state}, tmp_path / "a.pth")), vit)


@pytest.mark.parametrize(
    ("taken", "beside"),
    [("model_ema", "model"), ("state_dict_ema", "state_dict"), ("teacher", "student"), ("student", "optimizer")],
)
def test_averaged_weights_and_teachers_come_first(vit, tmp_path, taken, beside):
    other = {name: value + 1 for name, value in vit.state_dict().items()}
    content = {beside: other, taken: vit.state_dict(), "epoch": 3}
    assert same_weights(load(save(content, tmp_path / "a.pth")), vit)


def test_dinos_teacher_loses_its_heads(vit, tmp_path):
    """facebookresearch/dino (module.backbone, module.head) and dinov2 (backbone, dino_head, ibot_head)."""
    for around, heads in (("module.", ["module.head.mlp.0.weight"]), ("", ["dino_head.mlp.0.weight", "ibot_head.a"])):
        state = {f"{around}backbone.{name}": value for name, value in vit.state_dict().items()}
        state |= {name: torch.zeros(2) for name in heads}
        assert same_weights(load(save({"teacher": state}, tmp_path / "a.pth")), vit)


def test_what_stands_beside_a_prefix_is_left_over(vit, tmp_path):
    state = {f"model.{name}": value for name, value in vit.state_dict().items()} | {"text.a": torch.zeros(2)}
    assert "1 left over (text.a)" in refusal(save(state, tmp_path / "a.pth"))


def test_two_models_in_one_file(vit, tmp_path):
    state = {f"{who}.{name}": value for name, value in vit.state_dict().items() for who in ("a", "b")}
    assert "holds several models (a., b.); save the one you mean" in refusal(save(state, tmp_path / "a.pth"))


def test_a_file_under_another_ones_name(vit, tmp_path):
    save_file(vit.state_dict(), tmp_path / "weights.bin")
    assert same_weights(load(tmp_path / "weights.bin"), vit)
    torch.save(vit.state_dict(), tmp_path / "a.safetensors")
    assert same_weights(load(tmp_path / "a.safetensors"), vit)


# Files that do not fit


@pytest.mark.parametrize("name", ["a.safetensors", "a.pth", "a.npz"])
def test_what_a_download_left_in_place_of_weights(tmp_path, name):
    path = tmp_path / name
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 12345\n")
    assert "a pointer of Git LFS, not the weights; run `git lfs pull`" in refusal(path)
    path.write_text("\n<!DOCTYPE html><html>Sign in</html>")
    assert "a web page, not weights; download the file itself" in refusal(path)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers(vit, tmp_path, bad):
    state = vit.state_dict() | {"norm.bias": torch.full((24,), bad)}
    assert "NaN or infinity in 1 weight (norm.bias)" in refusal(save(state, tmp_path / "a.pth"))
    state = vit.state_dict() | {"head.bias": torch.full((24,), bad)}  # no part of the backbone
    assert same_weights(load(save(state, tmp_path / "b.pth")), vit)


@pytest.mark.parametrize("kind", [torch.int8, torch.uint8, torch.int32])
def test_quantised_weights(vit, tmp_path, kind):
    state = vit.state_dict() | {"blocks.0.mlp.fc1.weight": torch.zeros(96, 24, dtype=kind)}
    line = refusal(save(state, tmp_path / "a.safetensors"))
    assert f"blocks.0.mlp.fc1.weight is {str(kind).removeprefix('torch.')}, expected floats" in line


def test_missing_and_left_over_keys_are_named(vit, tmp_path):
    state = vit.state_dict()
    state["norm.wieght"] = state.pop("norm.weight")
    line = refusal(save(state, tmp_path / "a.safetensors"))
    assert "backbone tiny: " not in line
    assert "does not fit vit_tiny_patch16_224 of backbone tiny" in line
    assert "1 key missing (norm.weight)" in line
    assert "1 left over (norm.wieght)" in line


def test_more_blocks_are_left_over(tmp_path):
    deeper = timm.create_model(VIT.timm, num_classes=0, **VIT.options | {"depth": 3})
    line = refusal(save(deeper.state_dict(), tmp_path / "a.pth"))
    assert "12 left over (blocks.2.attn.proj.bias, blocks.2.attn.proj.weight, blocks.2.attn.qkv.bias, ...)" in line
    assert "missing" not in line


def test_another_width_is_named_with_both_shapes(tmp_path):
    wider = timm.create_model(VIT.timm, num_classes=0, **VIT.options | {"embed_dim": 48})
    line = refusal(save(wider.state_dict(), tmp_path / "a.pth"))
    assert "of another shape (cls_token is (1, 1, 48), expected (1, 1, 24))" in line


@pytest.mark.parametrize(("content", "spec"), [(SWIN, VIT), (VIT, SWIN)])
def test_another_architecture(tmp_path, content, spec):
    state = new(content).state_dict()
    if content is SWIN:
        state = {name.replace("layers.1.downsample", "layers.0.downsample"): v for name, v in state.items()}
    line = refusal(save(state, tmp_path / "other.safetensors"), spec)
    assert " missing (" in line
    assert "left over" in line


def test_authors_layout_with_a_part_missing(vit, tmp_path):
    state = authors_state(vit)
    del state["enc.transformer.encoder.layer.1.attn.key.weight"]
    line = refusal(save(state, tmp_path / "vpt.pth"))
    assert "1 key missing (blocks.1.attn.qkv.weight)" in line


@pytest.mark.parametrize("name", ["a.safetensors", "a.pth", "a.npz"])
@pytest.mark.parametrize("share", [0.0, 0.02, 0.6])
def test_truncated(vit, tmp_path, name, share):
    path = tmp_path / name
    np.savez(path, **original_arrays(vit)) if path.suffix == ".npz" else save(vit.state_dict(), path)
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    refusal(path)


@pytest.mark.parametrize("content", [[1, 2], {"epoch": 3}, {"state_dict": {}}, torch.zeros(3)])
def test_without_named_tensors(tmp_path, content):
    assert "holds no tensors by name" in refusal(save(content, tmp_path / "a.pth"))


class Runs:
    """Pickled, it makes a folder when it is read."""

    def __init__(self, folder: Path):
        self.folder = folder

    def __reduce__(self):
        return os.mkdir, (str(self.folder),)


def test_a_pickle_that_runs_code_is_not_run(vit, tmp_path):
    trap = tmp_path / "trap"
    line = refusal(save(vit.state_dict() | {"x": Runs(trap)}, tmp_path / "a.pth"))
    assert "pickled objects are never loaded" in line
    assert not trap.exists()
    torch.load(tmp_path / "a.pth", weights_only=False)
    assert trap.exists()  # so it was a working trap


def test_an_npz_with_pickled_objects_is_not_run(vit, tmp_path):
    trap = tmp_path / "trap"
    arrays = original_arrays(vit) | {"embedding/bias": np.array([Runs(trap)], dtype=object)}
    np.savez(tmp_path / "a.npz", **arrays)
    assert "allow_pickle=False" in refusal(tmp_path / "a.npz")
    assert not trap.exists()


BLOCK = "Transformer/encoderblock_"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({f"{BLOCK}1/MlpBlock_3/Dense_1/kernel": None}, "Dense_1/kernel"),
        ({f"{BLOCK}2/LayerNorm_0/scale": np.ones(24)}, "it holds 3 blocks, expected 2"),
        ({"embedding/kernel": np.zeros((8, 8, 3, 24), np.float32)}, "its patches are (8, 8), expected (4, 4)"),
        ({f"{BLOCK}0/LayerNorm_0/scale": np.ones(48)}, "must match"),
        ({"embedding/kernel": None}, "did not find"),
    ],
)
def test_an_npz_of_another_model(vit, tmp_path, change, words):
    arrays = {name: array for name, array in (original_arrays(vit) | change).items() if array is not None}
    np.savez(tmp_path / "a.npz", **arrays)
    assert words in refusal(tmp_path / "a.npz")


def test_an_npz_for_a_swin(vit, tmp_path):
    np.savez(tmp_path / "a.npz", **original_arrays(vit))
    assert ".npz files hold original ViTs" in refusal(tmp_path / "a.npz", SWIN)


@pytest.mark.parametrize("where", ["no/such.pth", "asset:no_such.safetensors"])
def test_no_such_file(where):
    with pytest.raises(
        ValueError, match=r"backbone tiny: no file .*no.such.*checkpoint expects a \.safetensors"
    ) as caught:
        create_backbone(replace(VIT, checkpoint=where))
    assert "\n" not in str(caught.value)


OFFLINE = """
import torch
from vptcore.models.backbones import BACKBONES
from vptcore.models.pretrained import create_backbone
for row in BACKBONES.values():
    if not row.checkpoint.startswith("asset:"):
        try:
            with torch.device("meta"):
                create_backbone(row)
        except ValueError as error:
            print(error)
"""


def test_hub_names_without_a_network(tmp_path):
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path), "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", OFFLINE], capture_output=True, text=True, env=environment, timeout=120)
    lines = done.stdout.splitlines()
    ids = ["vit_b16_sup21k", "swin_b_sup21k", "vit_b16_mae", "vit_b16_mocov3"]
    assert [line.split(":")[0] for line in lines] == [f"backbone {name}" for name in ids], done.stderr
    for name, line in zip(ids, lines, strict=True):
        assert f"give a local file as backbones.{name}.checkpoint" in line
