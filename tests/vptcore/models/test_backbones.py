"""Every row against the model it names, the shipped weights against their card, no prompts against timm."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from importlib import resources
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.vptcore.models.plain import worst
from vptcore.models.backbones import BACKBONES, MINI, Backbone
from vptcore.models.pretrained import create_backbone
from vptcore.models.prompts import PromptedViT
from vptcore.models.windows import PromptedSwin

ASSETS = Path(str(resources.files("vptcore") / "assets"))
ROWS = pytest.mark.parametrize("row", BACKBONES.values(), ids=BACKBONES)
SMALL_VIT = dict(img_size=16, patch_size=4, embed_dim=24, depth=2, num_heads=3)
SMALL_SWIN = dict(img_size=32, patch_size=4, embed_dim=12, depths=(2, 2), num_heads=(2, 3), window_size=4)


def on_meta(row: Backbone, **more):
    with torch.device("meta"):
        return create_backbone(row, pretrained=False, **more)


def blocks_of(row: Backbone, model) -> list:
    return [b for stage in model.layers for b in stage.blocks] if row.is_swin else list(model.blocks)


@ROWS
def test_a_row_is_true_of_its_model(row):
    model = on_meta(row)
    assert model.num_features == row.width
    assert len(blocks_of(row, model)) == row.depth
    assert tuple(model.patch_embed.img_size) == (row.size, row.size)
    assert model.global_pool == row.pool
    assert model.num_classes == 0
    assert not any(name.startswith("head.") for name in model.state_dict())


@ROWS
def test_drop_path_reaches_the_last_block_and_none_the_first(row):
    first, *_, last = blocks_of(row, on_meta(row, drop_path=0.3))
    assert last.drop_path1.drop_prob == pytest.approx(0.3)
    assert getattr(first.drop_path1, "drop_prob", 0) == 0
    assert getattr(blocks_of(row, on_meta(row))[-1].drop_path1, "drop_prob", 0) == 0


def test_parameter_counts():
    """ViT-B/16 by hand: blocks, patches, positions, class token, last norm. MAE's has fc_norm in place of that norm."""
    D = 768
    by_hand = 12 * (12 * D * D + 13 * D) + (3 * 16 * 16 * D + D) + 197 * D + D + 2 * D
    assert by_hand == 85_798_656
    for name in ("vit_b16_sup21k", "vit_b16_mae", "vit_b16_mocov3"):
        assert sum(p.numel() for p in on_meta(BACKBONES[name]).parameters()) == by_hand
    # Swin-B of Liu et al. 2021 has 87,768,224 with its 1,000 classes.
    swin = sum(p.numel() for p in on_meta(BACKBONES["swin_b_sup21k"]).parameters())
    assert swin + 1024 * 1000 + 1000 == 87_768_224


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"timm": "vit_tiny_patch16_2244"}, "no model 'vit_tiny_patch16_2244'; did you mean 'vit_tiny_patch16_224'"),
        ({"timm": "zzz"}, r"timm has no model 'zzz'$"),
        ({"timm": "resnet18", "options": {}}, "resnet18 is a ResNet; expected a ViT, EVA, BEiT or Swin"),
        ({"timm": "swinv2_tiny_window8_256", "options": {}}, "is a SwinTransformerV2; expected a ViT"),
        ({"timm": "vit_base_patch16_224_in21k"}, r"old name; timm's new one is vit_base_patch16_224\.augreg_in21k"),
        ({"timm": "vit_tiny_patch16_224.zz"}, r"no weights 'zz' of vit_tiny_patch16_224; choices: augreg_in21k"),
        ({"width": 768}, r"backbones\.mine\.width: 768, but vit_tiny_patch16_224 is 24 wide"),
        ({"size": 224}, r"backbones\.mine\.size: 224, but vit_tiny_patch16_224 takes 16x16 pixels"),
    ],
)  # fmt: skip
def test_a_row_of_ones_own_that_is_wrong_ends_in_one_line(change, message):
    mine = Backbone("mine", "Mine", "vit_tiny_patch16_224", size=16, width=24, depth=2, options=SMALL_VIT)
    assert len(on_meta(mine).blocks) == 2
    with pytest.raises(ValueError, match=message) as caught:
        on_meta(replace(mine, **change))
    assert "\n" not in str(caught.value)


@ROWS
@pytest.mark.parametrize("trains", [False, True])
def test_without_prompts_a_tiny_one_of_the_family_equals_timm(row, trains):
    options = row.options | (SMALL_SWIN if row.is_swin else SMALL_VIT)
    tiny = replace(row, options=options, width=24, size=options["img_size"])
    torch.manual_seed(0)
    model = create_backbone(tiny, pretrained=False).double().train(trains)
    for parameter in model.parameters():
        parameter.data += 0.05 * torch.randn_like(parameter)
    x = torch.randn(3, 3, tiny.size, tiny.size, dtype=torch.float64)
    prompted = PromptedSwin(model) if row.is_swin else PromptedViT(model, pool=row.pool)
    assert prompted(x).shape == (3, 24)
    assert worst(prompted(x), model(x)) <= 1e-10


# The shipped backbone


@pytest.fixture(scope="module")
def card() -> dict:
    return json.loads((ASSETS / f"{MINI.id}.json").read_text())


def test_the_shipped_backbone_is_the_file(card):
    weights = ASSETS / f"{MINI.id}.safetensors"
    stored = load_file(weights)
    model = create_backbone(MINI)
    assert set(stored) == set(model.state_dict())
    assert all(torch.equal(stored[name], value) for name, value in model.state_dict().items())
    assert sum(p.numel() for p in model.parameters()) == card["parameters"]
    features_BD = model.eval()(torch.randn(2, 3, 32, 32))
    assert features_BD.shape == (2, 128)
    assert torch.isfinite(features_BD).all()


def test_the_card_is_of_this_file(card):
    weights = (ASSETS / f"{MINI.id}.safetensors").read_bytes()
    assert hashlib.sha256(weights).hexdigest() == card["sha256"]
    assert len(weights) <= 6_000_000
    assert card["backbone"] == MINI.id


def test_the_shipped_backbone_has_learnt(card):
    assert 0.5 < card["held_out_accuracy"] <= 1


def test_the_shipped_reference_is_a_gaussian_of_its_features(card):
    stored = load_file(ASSETS / f"{MINI.id}.reference.safetensors")
    assert stored["mean"].shape == (128,)
    covariance = stored["covariance"].double()
    assert torch.allclose(covariance, covariance.T)
    assert torch.linalg.eigvalsh(covariance).min() > -1e-8
    assert int(stored["count"]) == card["train_images"]
