"""Swin: prompts read by windows against the plain form that prepends them to every window, in float64."""

import pytest
import timm
import torch

from tests.vptcore.models.plain import worst
from vptcore.models.windows import PromptedSwin, SwinPrompts

OPTIONS = dict(img_size=32, patch_size=4, embed_dim=12, depths=(2, 2), num_heads=(2, 3), window_size=4, num_classes=0)


@pytest.fixture
def swin():
    torch.manual_seed(0)
    model = timm.create_model("swin_tiny_patch4_window7_224", **OPTIONS).double().eval()
    for parameter in model.parameters():
        parameter.data += 0.05 * torch.randn_like(parameter)
    return model


def images(count=3):
    return torch.randn(count, 3, 32, 32, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def plain_block(block, x, prompts):
    """Prompts prepended to every window as tokens, attention by explicit softmax, results averaged over windows."""
    B, X, Y, D = x.shape
    attn, (w, _), (s, _) = block.attn, block.window_size, block.shift_size
    h, hp = block.norm1(x), block.norm1(prompts)
    h = torch.roll(h, (-s, -s), (1, 2))
    P, out, outp = prompts.shape[1], torch.zeros_like(h), []
    bias = attn._get_rel_pos_bias()[0]
    for i in range(X // w):
        for j in range(Y // w):
            tile = h[:, i * w : (i + 1) * w, j * w : (j + 1) * w].reshape(B, w * w, D)
            tokens = torch.cat([hp, tile], 1)
            q, k, v = attn.qkv(tokens).reshape(B, P + w * w, 3, attn.num_heads, -1).permute(2, 0, 3, 1, 4)
            score = q @ k.transpose(-1, -2) * attn.scale
            score[:, :, P:, P:] += bias
            if block.attn_mask is not None:
                score[:, :, P:, P:] += block.attn_mask[i * (Y // w) + j]
            mixed = attn.proj((score.softmax(-1) @ v).transpose(1, 2).reshape(B, P + w * w, D))
            out[:, i * w : (i + 1) * w, j * w : (j + 1) * w] = mixed[:, P:].reshape(B, w, w, D)
            outp.append(mixed[:, :P])
    x, prompts = x + torch.roll(out, (s, s), (1, 2)), prompts + torch.stack(outp).mean(0)
    return x + block.mlp(block.norm2(x)), prompts + block.mlp(block.norm2(prompts))


def plain_swin(swin, layers, images, *, in_pool):
    x, prompts, index = swin.patch_embed(images), None, 0
    for stage in swin.layers:
        x = stage.downsample(x)
        if prompts is not None and not isinstance(stage.downsample, torch.nn.Identity):
            four = torch.cat([prompts] * 4, -1)
            prompts = stage.downsample.reduction(stage.downsample.norm(four))
        for block in stage.blocks:
            if index < len(layers):
                prompts = layers[index].expand(len(x), -1, -1)
            x, prompts = plain_block(block, x, prompts)
            index += 1
    tokens = x.flatten(1, 2)
    return swin.norm(torch.cat([prompts, tokens], 1) if in_pool else tokens).mean(1)


@pytest.mark.parametrize("deep", [True, False])
@pytest.mark.parametrize("in_pool", [True, False])
def test_equals_prepended(swin, deep, in_pool):
    prompts = SwinPrompts(swin, 3, deep).double()
    got = PromptedSwin(swin, prompts, prompts_in_pool=in_pool)(images())
    expected = plain_swin(swin, list(prompts.layers), images(), in_pool=in_pool)
    assert worst(got, expected) <= 1e-10
    weights = torch.linspace(-1, 1, got.numel(), dtype=got.dtype).view_as(got)
    every = [*swin.parameters(), *prompts.parameters()]
    ours = torch.autograd.grad((got * weights).sum(), every, allow_unused=True)
    theirs = torch.autograd.grad((expected * weights).sum(), every, allow_unused=True)
    for a, b in zip(ours, theirs, strict=True):
        assert worst(torch.zeros(1) if a is None else a, torch.zeros(1) if b is None else b) <= 1e-10


def test_equals_prepended_with_dropout(swin):
    prompts = SwinPrompts(swin, 3, True, dropout=0.4).double().train()
    torch.manual_seed(2)
    masked = [prompts.layer(i, 3) for i in range(4)]
    assert not torch.equal(masked[0][0], masked[0][1]), "a mask for each image in the first block"
    assert [len(layer) for layer in masked] == [3, 1, 1, 1]
    torch.manual_seed(2)
    got = PromptedSwin(swin, prompts)(images())
    assert worst(got, plain_swin(swin, masked, images(), in_pool=True)) <= 1e-10


def test_without_prompts_equals_timm(swin):
    assert worst(PromptedSwin(swin)(images()), swin(images())) <= 1e-10


def test_swin_b_has_12032_numbers_a_prompt():
    with torch.device("meta"):
        swin = timm.create_model("swin_base_patch4_window7_224", num_classes=0)
        assert sum(p.numel() for p in SwinPrompts(swin, 1, True).parameters()) == 12_032


@pytest.mark.parametrize("deep", [True, False])
@pytest.mark.parametrize("length", [0, 3])
def test_attention_is_asked_for_in_four_dimensions(swin, length, deep, monkeypatch):
    """A fused kernel takes no other; five dimensions fall to plain products in fp32."""
    seen, attend = [], torch.nn.functional.scaled_dot_product_attention

    def spy(q, k, v, **rest):
        seen.append((q.dim(), k.dim(), v.dim(), rest["attn_mask"].dim()))
        return attend(q, k, v, **rest)

    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", spy)
    PromptedSwin(swin, SwinPrompts(swin, length, deep).double() if length else None)(images())
    assert seen == [(4, 4, 4, 4)] * 4
