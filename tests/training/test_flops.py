"""The cost model against numbers counted elsewhere for ViT-B/16 at 224 px (multiply-add as 2)."""

import pytest

from vptcore.training.flops import VitShape, forward_flops, mfu, step_flops

VIT_B = VitShape(tokens=197, width=768, depth=12, patch_numbers=768)


def test_forward_is_timms_count():
    """timm's benchmark lists 17.58 GMAC for vit_base_patch16_224."""
    assert forward_flops(VIT_B, class_token_only=False) == pytest.approx(2 * 17.58e9, rel=0.01)


def test_against_torchs_own_counter():
    import timm
    import torch
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.utils.flop_counter import FlopCounterMode

    from vptcore.models.prompts import PromptedViT, Prompts

    options = dict(img_size=32, patch_size=8, embed_dim=48, depth=3, num_heads=3, num_classes=0)
    vit = timm.create_model("vit_tiny_patch16_224", **options)
    shape = VitShape(tokens=17, width=48, depth=3, patch_numbers=192)
    for length in (None, 5):
        prompts = None if length is None else Prompts(3, length, 48, 8)
        model = PromptedViT(vit, prompts).requires_grad_(False)
        with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
            model(torch.randn(1, 3, 32, 32))
        own = 4 * (length or 0) * 48 * 48 * 3
        assert counter.get_total_flops() == pytest.approx(forward_flops(shape, length or 0) + own, rel=0.01)


@pytest.mark.parametrize(
    ("method", "prompts", "gflop"), [("full", 0, 97.9), ("vpt", 50, 70.3), ("vpt", 200, 81.8), ("mixed", 100, 108.3)]
)
def test_steps_of_the_cost_table(method, prompts, gflop):
    assert step_flops(VIT_B, method, prompts) == pytest.approx(gflop * 1e9, rel=0.06)


def test_share_of_peak():
    assert mfu(100e9, 3300, "NVIDIA H100 80GB HBM3") == pytest.approx(0.3337, abs=1e-3)
    assert mfu(100e9, 3300, "cpu x86_64") is None
