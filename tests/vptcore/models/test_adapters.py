"""Adapters against their makers' formulas in float64, at blocks of a plain ViT, and merged against unmerged."""

import copy

import pytest
import torch
import torch.nn.functional as F

from tests.vptcore.models.tiny import SWIN, VIT, job_of, peft_settings, without_weights
from vptcore.models.methods import build, spec_of
from vptcore.models.methods_table import METHODS, is_target
from vptcore.models.peft_types import TRAINS
from vptcore.models.prompts import run_block


@pytest.fixture(autouse=True)
def unpretrained(monkeypatch):
    without_weights(monkeypatch)


def models(method, backbone=VIT):
    """A method's encoder with every added number drawn, and the same backbone without it; float64, scoring."""
    pair = []
    for name in (method, "linear"):
        torch.manual_seed(3)
        pair.append(build(spec_of(job_of(backbone, name)), seed=0).encoder.double().eval())
    with torch.no_grad():
        for parameter in pair[0].parameters():
            if parameter.requires_grad:
                parameter.add_(0.3 * torch.randn_like(parameter))
    return pair


def block(vit, index, x):
    """A block of timm as it is."""
    return vit.blocks[index](x)


def test_adaptformer_is_its_makers_formula():
    """x = x + MLP(LN(x)) + 0.1 up(relu(down(x))), behind attention (custom_modules.py Block.forward)."""
    ours, plain = models("adaptformer")
    x = torch.randn(2, 17, 48, dtype=torch.float64)
    y = x
    for index in range(3):
        timm, a = plain.vit.blocks[index], ours.vit.blocks[index].mlp.adapter
        y = y + timm.attn(timm.norm1(y))
        adapted = F.relu(y @ a.down.weight.T + a.down.bias) @ a.up.weight.T + a.up.bias
        y = y + timm.mlp(timm.norm2(y)) + 0.1 * adapted
    z = x
    for index in range(3):
        z = run_block(ours.vit.blocks[index], z)
    torch.testing.assert_close(z, y, rtol=1e-12, atol=1e-12)
    assert (z - x).abs().max() > 0.1


def test_adapter_plus_is_its_makers_formula():
    """x = block(x), then x + s * up(gelu(down(x))) (vit_adapter.py forward_post)."""
    ours, plain = models("adapter_plus")
    x = torch.randn(2, 17, 48, dtype=torch.float64)
    y = z = x
    for index in range(3):
        a = ours.vit.blocks[index].mlp.adapter
        y = block(plain.vit, index, y)
        y = y + a.scale * (F.gelu(y @ a.down.weight.T + a.down.bias) @ a.up.weight.T + a.up.bias)
        z = run_block(ours.vit.blocks[index], z)
    torch.testing.assert_close(z, y, rtol=1e-12, atol=1e-12)


def test_adapter_plus_leaves_whole_images_out():
    """A tenth of them, the rest scaled up, as timm's DropPath does."""
    ours, _ = models("adapter_plus")
    adapter = ours.vit.blocks[0].mlp.adapter.train()
    x = torch.randn(1, 5, 48, dtype=torch.float64).expand(2000, -1, -1)
    out = adapter(x)
    zero = (out == 0).flatten(1).all(1)
    assert 0.07 < zero.double().mean() < 0.13
    torch.testing.assert_close(out[~zero][0], adapter.eval()(x)[0] / 0.9)


@pytest.mark.parametrize("backbone", [VIT, SWIN], ids=["vit", "swin"])
def test_ssf_merged_is_ssf(backbone):
    """Scale and shift folded into each layer give the same feature: y = s (W x + b) + t = (s W) x + (s b + t)."""
    ours, plain = models("ssf", backbone)
    merged = copy.deepcopy(plain)
    with torch.no_grad():
        for name, module in merged.backbone.named_modules():
            if not isinstance(module, torch.nn.Linear | torch.nn.Conv2d | torch.nn.LayerNorm):
                continue
            wrapped = ours.backbone.get_submodule(name)
            shape = (-1, *[1] * (module.weight.dim() - 1))
            if module.bias is None:
                module.bias = torch.nn.Parameter(torch.zeros(len(module.weight), dtype=torch.float64))
            module.weight.copy_(wrapped.scale.view(shape) * module.weight)
            module.bias.copy_(wrapped.scale * module.bias + wrapped.shift)
    x = torch.randn(2, 3, 32, 32, dtype=torch.float64)
    torch.testing.assert_close(ours(x), merged(x), rtol=1e-10, atol=1e-10)
    assert (ours(x) - plain(x)).abs().max() > 0.01


@pytest.mark.parametrize("method", ["lora", "dora"])
def test_peft_merged_is_peft(method):
    """W + (alpha / r) B A, for DoRA with its columns' norms set to the trained magnitude (Liu et al., eq. 5)."""
    ours, plain = models(method)
    merged = copy.deepcopy(plain)
    with torch.no_grad():
        for index in range(3):
            layer, qkv = ours.vit.blocks[index].attn.qkv, merged.vit.blocks[index].attn.qkv
            scaling = layer.scaling["default"]
            weight = qkv.weight + scaling * layer.lora_B["default"].weight @ layer.lora_A["default"].weight
            if method == "dora":
                magnitude = layer.lora_magnitude_vector["default"].weight
                weight = weight * (magnitude / weight.norm(dim=1))[:, None]
            qkv.weight.copy_(weight)
    x = torch.randn(2, 3, 32, 32, dtype=torch.float64)
    torch.testing.assert_close(ours(x), merged(x), rtol=1e-9, atol=1e-9)
    assert (ours(x) - plain(x)).abs().max() > 1e-3


@pytest.mark.parametrize(
    ("method", "tuned"),
    [
        ("adaptformer", 12 * (2 * 64 * 768 + 64 + 768)),
        ("adapter_plus", 12 * (2 * 8 * 768 + 8 + 2 * 768)),
        ("ssf", 205_824),  # 12 x 2 x (768 x 4 + 2304 + 3072), patches and the last norm 2 x 768 each
        ("dora", 12 * (8 * (768 + 2304) + 2304)),
        ("lora", 12 * 8 * (768 + 2304)),
    ],
)
def test_tuned_counts_by_hand(method, tuned):
    from vptcore.models.backbones import BACKBONES
    from vptcore.models.changes import count_tuned

    assert count_tuned(job_of(BACKBONES["vit_b16_sup21k"], method, classes=100))[0] == tuned + 76_900


def test_targets_adapt_blocks_alone():
    """The patch embedding has a layer called proj too; it is meant where its name says so."""
    model = build(spec_of(job_of(VIT, "lora", settings={"lora": {"rank": 2, "alpha": 2, "targets": ["proj"]}})), seed=0)
    adapted = {name.rsplit(".lora_", 1)[0] for name, _ in model.encoder.backbone.named_parameters() if "lora_" in name}
    assert adapted == {f"blocks.{index}.attn.proj" for index in range(3)}
    assert is_target("patch_embed.proj", ["patch_embed.proj"])


@pytest.mark.parametrize("kind", TRAINS)
def test_any_adapter_of_peft_trains(kind):
    """Under a name of the config's own: one step changes what is added, the backbone stays."""
    model = build(spec_of(job_of(VIT, "my_own", settings=peft_settings(kind))), seed=0).train()
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=0.1)
    for _ in range(2):
        optimizer.zero_grad()
        F.cross_entropy(model(torch.randn(6, 3, 32, 32)), torch.arange(6)).backward()
        optimizer.step()
    changed = {name for name, parameter in model.named_parameters() if not torch.equal(parameter, before[name])}
    tuned = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert changed - {"head.weight", "head.bias"}
    assert changed <= tuned
    assert not METHODS["my_own"].probe


def test_a_wrong_argument_of_peft_is_one_line():
    wrong = {"peft": {"peft_type": "LORA", "rr": 4, "target_modules": ["qkv"]}}
    with pytest.raises(ValueError, match=r"methods\.my_own\.peft: LORA of peft: .*'rr'"):
        build(spec_of(job_of(VIT, "my_own", settings=wrong)), seed=0)
