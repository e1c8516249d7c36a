"""models.blocks: every family of block against timm's own and against prompts as tokens; what is unknown is refused."""

import pytest
import timm
import torch

from bench import zoo
from bench.zoo import concatenated, small
from tests.vptcore.models.plain import worst
from vptcore.models.blocks import Handed, is_standard, run_block, unrotated
from vptcore.models.prompts import PromptedViT, Prompts, check_promptable, check_same_as_timm

# One of a kind: plain, LayerScale, two heads' tokens, registers, map pooling, no class token, rotary positions in an
# axis and mixed, EVA-02's SwiGLU, DINOv3, relative positions, and blocks whose two halves stand side by side.
KINDS = (
    "vit_tiny_patch16_224", "deit3_small_patch16_224", "deit_tiny_distilled_patch16_224",
    "vit_small_patch14_reg4_dinov2", "vit_base_patch16_siglip_224", "vit_base_patch16_siglip_gap_224",
    "vit_medium_patch16_rope_reg1_gap_256", "vit_small_patch16_rope_mixed_224", "eva02_tiny_patch14_224",
    "vit_small_patch16_dinov3", "beit_base_patch16_224", "vit_base_patch16_rpn_224",
)  # fmt: skip


@pytest.fixture(scope="module")
def images():
    generator = torch.Generator().manual_seed(2)
    return lambda vit: torch.randn(2, 3, *vit.patch_embed.img_size, generator=generator).double()


@pytest.mark.parametrize("name", KINDS)
def test_no_prompts_is_timm_and_prompts_are_tokens(name, images):
    vit = small(name).double()
    check_same_as_timm(vit)
    pictures = images(vit)
    prompts = Prompts(len(vit.blocks), 3, vit.embed_dim, 16, init="normal").double().eval()
    with torch.no_grad():
        got = PromptedViT(vit, prompts, pool="own")(pictures)
        expected = concatenated(vit, prompts.tokens, pictures)
        without = PromptedViT(vit, pool="own")(pictures)
    assert worst(got, expected) <= 1e-9 * float(expected.abs().max())
    assert worst(got, without) > 1e-4  # the prompts did something


@pytest.mark.parametrize("name", ["vit_small_patch14_reg4_dinov2", "eva02_tiny_patch14_224", "beit_base_patch16_224"])
def test_shallow_prompts_are_tokens_behind_the_prefix(name, images):
    vit = small(name).double()
    pictures, prefix = images(vit), vit.num_prefix_tokens
    prompts = Prompts(1, 3, vit.embed_dim, 16, init="normal").double().eval()
    with torch.no_grad():
        got = PromptedViT(vit, prompts, pool="own")(pictures)
        x, handed = zoo._overheard(vit, pictures)
        x = torch.cat([x[:, :prefix], prompts.tokens.expand(len(x), -1, -1), x[:, prefix:]], dim=1)
        for block, known in zip(vit.blocks, handed, strict=True):
            x = zoo._run(vit, block, x, known, 3, prefix)
        x = torch.cat([x[:, :prefix], x[:, prefix + 3 :]], dim=1)
        expected = vit.forward_head(vit.norm(x), pre_logits=True)
    assert worst(got, expected) <= 1e-9 * float(expected.abs().max())


def test_unrotated_positions_turn_nothing():
    rope = torch.randn(4, 8).double()
    wide = unrotated(rope, 2)
    assert wide.shape == (6, 8)
    x = torch.randn(1, 1, 6, 4).double()
    from timm.layers import apply_rot_embed_cat

    turned = apply_rot_embed_cat(x, wide)
    assert torch.equal(turned[:, :, :2], x[:, :, :2])
    assert worst(turned[:, :, 2:], apply_rot_embed_cat(x[:, :, 2:], rope)) <= 1e-12


def test_a_norm_behind_the_heads_is_no_standard_block(images):
    """Read as a standard block, BEiT-3's would be silently wrong."""
    vit = small("beit3_base_patch16_224")
    assert not any(is_standard(block) for block in vit.blocks)
    check_same_as_timm(vit)


def test_a_block_without_prompts_is_timms(images):
    block = small("vit_tiny_patch16_224").double().blocks[0]
    x = torch.randn(2, 5, block.norm1.normalized_shape[0]).double()
    assert worst(run_block(block, x, handed=Handed()), block(x)) <= 1e-10


def test_what_is_not_known_is_one_line():
    with pytest.raises(ValueError, match=r"^ResNet: no prompts for this kind of model; expected a ViT"):
        check_promptable(timm.create_model("resnet18"))
    vit = small("vit_tiny_patch16_224")
    vit.blocks[1] = torch.nn.TransformerEncoderLayer(192, 3, batch_first=True)
    with pytest.raises(ValueError, match="no prompts for blocks of class TransformerEncoderLayer"):
        check_promptable(vit)


def test_a_model_put_together_in_another_way_is_refused():
    vit = small("vit_tiny_patch16_224")
    whole = vit.forward_features
    vit.forward_features = lambda x: whole(x) * 1.01
    with pytest.raises(ValueError, match=r"is built in a way that prompts do not fit \(off by 0.01\)"):
        check_same_as_timm(vit)
