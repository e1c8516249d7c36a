"""The adapters of peft: each type of the installed version trains here, or is refused by name with the reason.

What all types must have in common is held for each: an image's logits are its own, a model that is restored is the one
that was kept, and frozen layers in bf16 are no trouble. Those that share one basis between layers are held to their
makers' formulas.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from peft.utils import PeftType

from tests.vptcore.models.tiny import SWIN, VIT, job_of, peft_settings, without_weights
from vptcore.choices import ConfigError
from vptcore.models.export import restore
from vptcore.models.methods import build, count_parameters, halve_frozen, spec_of, tuned_state
from vptcore.models.methods_table import check_peft
from vptcore.models.peft_types import REFUSED, TRAINS

HEAD = 48 * 7 + 7


@pytest.fixture(autouse=True)
def unpretrained(monkeypatch):
    without_weights(monkeypatch)


def built(kind: str, *, seed: int = 0, backbone=VIT, **more):
    """The model of a type on one and the same backbone, and its job."""
    settings = peft_settings(kind)
    settings["peft"] |= more
    job = job_of(backbone, "x", settings=settings)
    torch.manual_seed(3)
    return build(spec_of(job), seed=seed), job


def shaken(model):
    """Every trained number another than drawn."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter += 0.2 * torch.randn(parameter.shape, generator=generator)
    return model.eval()


def pictures(count: int = 3):
    return torch.randn(count, 3, 32, 32, generator=torch.Generator().manual_seed(2))


def test_every_type_of_the_installed_peft_is_known():
    """A new version's types show up here: try each, and put it into one of the tables."""
    assert sorted([*TRAINS, *REFUSED]) == sorted(kind.value for kind in PeftType)


@pytest.mark.parametrize("kind", REFUSED)
def test_a_type_that_cannot_train_is_refused_by_name(kind):
    wrong = {"peft": {"peft_type": kind, "target_modules": ["qkv"]}}
    with pytest.raises(ConfigError) as caught:
        check_peft("methods.x", wrong)
    assert str(caught.value) == (
        f"methods.x.peft.peft_type: {kind} cannot be put into an encoder of images: {REFUSED[kind]}"
    )


def test_the_page_lists_them_all():
    page = " ".join(Path("docs/extending.md").read_text(encoding="utf-8").split())
    assert ", ".join(TRAINS) in page
    for reason in REFUSED.values():
        kinds = ", ".join(kind for kind in REFUSED if REFUSED[kind] == reason)
        assert f"| {kinds} | {reason} |" in page


@pytest.mark.parametrize("kind", TRAINS)
def test_a_restored_model_is_the_one_that_was_kept(kind):
    """Whatever a type draws beside its parameters comes out the same under another seed, or is in the state."""
    model, job = built(kind, seed=5)
    expected = shaken(model)(pictures())
    torch.manual_seed(3)
    torch.testing.assert_close(restore(job, tuned_state(model))(pictures()), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", TRAINS)
def test_an_images_logits_do_not_depend_on_the_images_beside_it(kind):
    model = shaken(built(kind)[0])
    with torch.no_grad():
        torch.testing.assert_close(model(pictures())[:1], model(pictures()[:1]), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind", TRAINS)
def test_it_trains_beside_frozen_layers_in_bf16_as_on_a_gpu(kind):
    model = halve_frozen(built(kind)[0]).train()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits = model(pictures())
    logits.square().sum().backward()
    gradients = [p.grad for p in model.encoder.parameters() if p.requires_grad and p.grad is not None]
    assert gradients
    assert all(bool(gradient.isfinite().all()) for gradient in gradients)


def test_veras_projections_are_one_pair_for_all_layers():
    """W + diag(b) B diag(d) A with one A and B, cut to each layer's shape (Kopiczko et al., ICLR 2024, eq. 2)."""
    model = shaken(built("VERA", target_modules=["qkv", "fc2"])[0]).double()
    blocks = model.encoder.vit.blocks
    layers = [part for block in blocks for part in (block.attn.qkv, block.mlp.fc2)]
    a_RN, b_MR = layers[0].vera_A["default"], layers[0].vera_B["default"]
    assert a_RN.shape == (4, 192)
    assert b_MR.shape == (144, 4)
    assert len({(id(layer.vera_A), id(layer.vera_B)) for layer in layers}) == 1
    assert count_parameters(model)[0] == 3 * (144 + 4 + 48 + 4) + HEAD
    for layer in layers:
        wide, narrow = layer.base_layer.weight.shape
        b, d = layer.vera_lambda_b["default"], layer.vera_lambda_d["default"]
        weight = layer.base_layer.weight + b.diag() @ b_MR[:wide] @ d.diag() @ a_RN[:, :narrow]
        x = torch.randn(2, 5, narrow, dtype=torch.float64)
        torch.testing.assert_close(layer(x), x @ weight.T + layer.base_layer.bias, rtol=1e-9, atol=1e-9)


def test_vb_loras_vectors_are_one_bank_for_all_layers():
    """Each part of A and B is a mix of the bank's top k vectors by the softmax of their logits (Li et al., NeurIPS
    2024, eq. 2)."""
    model = shaken(built("VBLORA")[0]).double()
    layers = [block.attn.qkv for block in model.encoder.vit.blocks]
    bank_HB = layers[0].vblora_vector_bank["default"]
    assert all(layer.vblora_vector_bank["default"] is bank_HB for layer in layers)
    assert bank_HB.requires_grad
    # 16 vectors of 12; for each layer 4 and 12 parts of them, four times.
    assert count_parameters(model)[0] == 16 * 12 + 3 * 4 * (4 + 12) * 16 + HEAD

    def mixed(logits_H):
        top, rows = logits_H.topk(2)
        return top.softmax(0) @ bank_HB[rows]

    layer = layers[1]
    of_a, of_b = layer.vblora_logits_A["default"], layer.vblora_logits_B["default"]
    a_RN = torch.stack([torch.cat([mixed(part) for part in row]) for row in of_a])
    b_MR = torch.cat([torch.stack([mixed(part) for part in row]) for row in of_b], dim=1).T
    weight = layer.base_layer.weight + b_MR @ a_RN
    x = torch.randn(2, 5, 48, dtype=torch.float64)
    torch.testing.assert_close(layer(x), x @ weight.T + layer.base_layer.bias, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(("backbone", "named"), [(VIT, "blocks.{}.attn.qkv"), (SWIN, "layers.{}.attn.qkv")])
def test_layers_to_transform_are_blocks_of_the_whole_network(backbone, named):
    places = {0: "0.blocks.0", 2: "1.blocks.0"} if backbone is SWIN else {0: "0", 2: "2"}
    encoder = built("LORA", backbone=backbone, layers_to_transform=list(places))[0].encoder.backbone
    assert [name for name, part in encoder.named_modules() if hasattr(part, "lora_A")] == [
        named.format(place) for place in places.values()
    ]
    one = built("LORA", backbone=backbone, layers_to_transform=2)[0].encoder.backbone
    assert [name for name, part in one.named_modules() if hasattr(part, "lora_A")] == [named.format(places[2])]


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"modules_to_save": ["head"]}, "methods.x.peft.modules_to_save: is not used here (the head trains anyway"),
        ({"target_parameters": ["w"]}, "methods.x.peft.target_parameters: is not used here (name layers in"),
        ({"init_lora_weights": "eva"}, "methods.x.peft.init_lora_weights: eva is computed from images"),
    ],
)
def test_arguments_that_would_do_nothing_are_refused(more, said):
    with pytest.raises(ConfigError) as caught:
        check_peft("methods.x", {"peft": {"peft_type": "LORA", "target_modules": ["qkv"], **more}})
    assert str(caught.value).startswith(said)


def test_a_type_that_the_installed_peft_lacks_is_one_line(monkeypatch):
    monkeypatch.setattr("peft.mapping.PEFT_TYPE_TO_TUNER_MAPPING", {})
    with pytest.raises(ValueError, match=r"^methods\.x\.peft: peft \d.* has no VERA; install the version in requir"):
        built("VERA")
