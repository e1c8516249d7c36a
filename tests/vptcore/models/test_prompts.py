"""Prompts as keys and values, and the class-token-only last block, against the plain concatenated form in float64."""

import pytest
import timm
import torch

from tests.vptcore.models.plain import concatenated_vit, worst
from vptcore.models.blocks import run_block
from vptcore.models.prompts import PromptedViT, Prompts

OPTIONS = dict(img_size=16, patch_size=4, embed_dim=24, depth=3, num_heads=3, num_classes=0)


@pytest.fixture(params=["token", "avg"])
def pool(request):
    return request.param


def make_vit(pool="token", **more):
    torch.manual_seed(0)
    extra = {"global_pool": "avg"} if pool == "avg" else {}
    vit = timm.create_model("vit_tiny_patch16_224", **OPTIONS, **extra, **more).double()
    for parameter in vit.parameters():  # away from zero biases and unit norms, where mistakes would hide
        parameter.data += 0.05 * torch.randn_like(parameter)
    return vit


def images(count=5):
    return torch.randn(count, 3, 16, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def gradients(model, output_BD, parameters):
    weights = torch.linspace(-1, 1, output_BD.numel(), dtype=output_BD.dtype).view_as(output_BD)
    return torch.autograd.grad((output_BD * weights).sum(), parameters)


@pytest.mark.parametrize("layers", [3, 1])
@pytest.mark.parametrize("in_pool", [True, False])
@pytest.mark.parametrize("length", [1, 7])
def test_equals_concatenated(pool, layers, in_pool, length):
    vit = make_vit(pool)
    prompts = Prompts(layers, length, 24, 4).double()
    model = PromptedViT(vit, prompts, pool=pool, prompts_in_pool=in_pool)
    if pool == "avg" and layers == 3 and not in_pool:
        # The plain form always carries its prompts out of the last block; it leaves them out of the mean by slicing.
        expected = concatenated_vit(vit, prompts.tokens, images(), pool=pool, prompts_in_pool=False)
    else:
        expected = concatenated_vit(vit, prompts.tokens, images(), pool=pool, prompts_in_pool=in_pool)
    got = model(images())
    assert worst(got, expected) <= 1e-10
    every = [*vit.parameters(), prompts.tokens]
    used = [p for p in every if p.requires_grad]
    for a, b in zip(gradients(model, got, used), gradients(model, expected, used), strict=True):
        assert worst(a, b) <= 1e-10


def test_equals_concatenated_with_dropout(pool):
    """The same masks are drawn in the same order, so even with dropout the two agree."""
    vit, prompts = make_vit(pool), Prompts(3, 4, 24, 4, dropout=0.3).double()
    model = PromptedViT(vit, prompts, pool=pool).train()
    torch.manual_seed(3)
    got = model(images())
    torch.manual_seed(3)
    expected = concatenated_vit(vit, prompts.tokens, images(), pool=pool, dropout=0.3)
    assert worst(got, expected) <= 1e-10
    (a,), (b,) = gradients(model, got, [prompts.tokens]), gradients(model, expected, [prompts.tokens])
    assert worst(a, b) <= 1e-10
    torch.manual_seed(4)
    assert worst(model(images()), got) > 1e-3  # another mask is another output: dropout was active
    assert worst(model.eval()(images()), model(images())) == 0


def test_without_prompts_equals_timm(pool):
    vit = make_vit(pool).eval()
    got = PromptedViT(vit, pool=pool)(images())
    assert worst(got, vit(images())) <= 1e-10


def test_class_token_only_block_equals_whole():
    block, x = make_vit().blocks[1], torch.randn(2, 17, 24, dtype=torch.float64)
    assert worst(run_block(block, x, queries=1), block(x)[:, :1]) <= 1e-12
    assert run_block(block, x, queries=1).shape == (2, 1, 24)


def test_qk_norm_and_layer_scale_are_kept():
    vit = make_vit(qk_norm=True, init_values=0.3)
    prompts = Prompts(3, 4, 24, 4).double()
    assert worst(PromptedViT(vit, prompts)(images()), concatenated_vit(vit, prompts.tokens, images())) <= 1e-10


def test_prompts_start_within_the_authors_bound():
    tokens = Prompts(12, 50, 768, 16).tokens.detach()
    bound = (6 / (3 * 16 * 16 + 768)) ** 0.5
    assert bound == pytest.approx(0.0625)
    assert tokens.abs().max() <= bound
    assert tokens.std() == pytest.approx(bound / 3**0.5, rel=0.01)


def test_length_zero_is_refused_in_one_line():
    with pytest.raises(ValueError, match=r"prompt length 0: .* choose 1 or more"):
        Prompts(3, 0, 24, 4)
