"""Every method on every family of models: what is to train reaches the logits, by the makers' formulas there too."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from tests.vptcore.models.tiny import FAMILIES, job_of, peft_settings, without_weights
from vptcore.models.methods import build, spec_of
from vptcore.models.methods_table import METHODS
from vptcore.models.peft_types import TRAINS
from vptcore.models.trial import try_method

TUNED = [name for name, row in METHODS.items() if not row.probe]


@pytest.fixture(autouse=True)
def unpretrained(monkeypatch):
    without_weights(monkeypatch)


def shaken(family: str, method: str, **more):
    """A model in float64 whose trained numbers are all others than drawn."""
    torch.manual_seed(3)
    model = build(spec_of(job_of(FAMILIES[family], method, **more)), seed=0).double().eval()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter += 0.2 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
    return model


def untuned(family: str):
    """The same backbone without anything added."""
    torch.manual_seed(3)
    return build(spec_of(job_of(FAMILIES[family], "linear")), seed=0).double().eval()


def pictures():
    return torch.randn(3, 3, 32, 32, dtype=torch.float64, generator=torch.Generator().manual_seed(2))


def idle(model) -> list[str]:
    """Trained parameters that no logit depends on."""
    model(pictures()).square().sum().backward()
    trained = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    assert trained
    return [name for name, p in trained if p.grad is None or float(p.grad.abs().max()) < 1e-12]


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("method", TUNED)
def test_every_trained_parameter_reaches_the_logits(family, method):
    assert idle(shaken(family, method)) == []


@pytest.mark.parametrize("family", ["beit", "eva", "swin"])
@pytest.mark.parametrize("kind", TRAINS)
def test_adapters_of_peft_reach_the_logits_of_every_kind_of_block(family, kind):
    job = job_of(FAMILIES[family], "x", settings=peft_settings(kind))
    if (family, kind) == ("swin", "FROD"):
        with pytest.raises(ValueError, match=r"^methods\.x: does not fit swin_.*Sizes of tensors must match"):
            try_method(job)
        return
    model = build(spec_of(job), seed=0)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            # Of biases that are zero, as timm draws them, nothing that scales them has a gradient.
            if parameter.requires_grad or "bias" in name:
                parameter += 0.2 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1))
    model(pictures().float()).square().sum().backward()
    assert [
        n for n, p in model.encoder.named_parameters() if p.requires_grad and float(p.grad.abs().max()) < 1e-9
    ] == []


@pytest.mark.parametrize("family", ["beit", "eva", "dinov3"])
def test_lora_there_is_a_low_rank_step_of_the_weight(family):
    """W + (alpha / rank) B A (Hu et al., ICLR 2022), in the model with that weight in its place."""
    model = shaken(family, "lora", settings={"lora": {"rank": 2, "alpha": 6, "targets": ["qkv"]}})
    plain = untuned(family)
    with torch.no_grad():
        before = plain.encoder(pictures())
        for ours, theirs in zip(model.encoder.vit.blocks, plain.encoder.vit.blocks, strict=True):
            lora = ours.attn.qkv
            theirs.attn.qkv.weight += 3 * lora.lora_B["default"].weight @ lora.lora_A["default"].weight
        expected, got = plain.encoder(pictures()), model.encoder(pictures())
    assert (expected - before).abs().max() > 1e-4
    torch.testing.assert_close(got, expected, rtol=1e-9, atol=1e-9)


def test_scales_of_beits_projection_stand_before_its_biases():
    """s (W x) + t, and the biases that BEiT keeps apart are added as before."""
    model = shaken("beit", "ssf")
    plain = untuned("beit")
    block, theirs = model.encoder.vit.blocks[0], plain.encoder.vit.blocks[0]
    x = torch.randn(2, 17, 48, dtype=torch.float64)
    with torch.no_grad():
        for part in (block.attn.q_bias, block.attn.v_bias):
            part += 0.3
        added = block.attn.qkv
        theirs.attn.qkv.weight *= added.scale[:, None]
        q, k, v = added.shift.chunk(3)
        theirs.attn.q_bias += 0.3 + q
        theirs.attn.k_bias += k
        theirs.attn.v_bias += 0.3 + v
        theirs.attn.proj.weight *= block.attn.proj.scale[:, None]
        theirs.attn.proj.bias.mul_(block.attn.proj.scale).add_(block.attn.proj.shift)
        torch.testing.assert_close(block.attn(x), theirs.attn(x), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("method", ["adaptformer", "adapter_plus"])
def test_adapters_stand_outside_the_scale_of_beits_block(method):
    model = shaken("beit", method)
    plain = untuned("beit")
    x = torch.randn(2, 17, 48, dtype=torch.float64)
    ours, theirs = model.encoder.vit.blocks[0], plain.encoder.vit.blocks[0]
    a = ours.mlp.adapter
    with torch.no_grad():
        theirs.gamma_2.fill_(0.3)
        ours.mlp.gamma.fill_(0.3)
        middle = x + theirs.gamma_1 * theirs.attn(theirs.norm1(x))
        branch = 0.3 * theirs.mlp(theirs.norm2(middle))
        if method == "adaptformer":
            expected = middle + branch + 0.1 * a.up(F.relu(a.down(middle)))
        else:
            expected = middle + branch + a.scale * a.up(F.gelu(a.down(middle + branch)))
        torch.testing.assert_close(ours(x), expected, rtol=1e-9, atol=1e-9)


def test_bitfit_trains_the_biases_that_stand_beside_a_layer():
    model = build(spec_of(job_of(FAMILIES["beit"], "bitfit")), seed=0)
    trained = {name for name, p in model.encoder.vit.named_parameters() if p.requires_grad}
    assert {"blocks.0.attn.q_bias", "blocks.0.attn.v_bias", "blocks.0.mlp.fc1.bias"} <= trained
    assert not [name for name in trained if "weight" in name or "table" in name]


def test_blocks_without_an_mlp_behind_a_norm_take_no_adapter():
    row = replace(FAMILIES["vit"], timm="vit_base_patch16_rpn_224", pool="avg")
    with pytest.raises(ValueError, match="ResPostBlock: no MLP branch that starts with a norm"):
        build(spec_of(job_of(row, "adaptformer")), seed=0)
