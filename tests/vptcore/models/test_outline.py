"""Names, sizes and places of a backbone's parameters on paper, against timm's own models."""

from dataclasses import asdict

import pytest
import torch

from vptcore.models.backbones import BACKBONES
from vptcore.models.outline import Place, layers, places, places_of, shape_of
from vptcore.models.pretrained import create_backbone


@pytest.mark.parametrize("backbone", list(BACKBONES))
def test_every_parameter_is_timms(backbone):
    with torch.device("meta"):
        model = create_backbone(BACKBONES[backbone], pretrained=False)
    named = {name: parameter.numel() for name, parameter in model.named_parameters()}
    shape = shape_of(asdict(BACKBONES[backbone]))
    found = places(shape)
    assert {place.name: numbers for place, numbers in found} == named
    assert shape.parameters == sum(named.values())
    assert shape.width == model.num_features
    assert {place.name: place for place, _ in found} == {place.name: place for place in places_of(list(named))}
    for layer in layers(shape):
        weight = model.get_submodule(layer.name).weight
        assert (layer.wide, max(layer.narrow, 1)) == (len(weight), weight[0].numel())


def test_blocks_are_counted_over_the_whole_network():
    names = [
        "cls_token", "blocks.0.norm1.weight", "blocks.1.norm1.weight", "norm.weight", "head.bias",
    ]  # fmt: skip
    assert [place.block for place in places_of(names)] == [-1, 0, 1, 2, 2]
    swin = [
        "swin.patch_embed.proj.bias", "swin.layers.0.blocks.0.mlp.fc1.bias", "swin.layers.0.blocks.1.mlp.fc1.bias",
        "swin.layers.1.downsample.norm.bias", "swin.layers.1.blocks.0.norm1.bias", "swin.norm.bias",
    ]  # fmt: skip
    assert [place.block for place in places_of(swin)] == [-1, 0, 1, 2, 2, 3]
    assert places_of(swin)[3] == Place("swin.layers.1.downsample.norm.bias", 2, 3)
