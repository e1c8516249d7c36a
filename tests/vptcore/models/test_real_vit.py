"""The two fast forms against the plain ones on really pretrained weights and real photographs, in float64.

The environment variable VPTCORE_REAL_DATA names a folder with vit_small_patch16_224_dinov2s_saliency_fp16.safetensors
(any plain ViT-S/16-224 weights in timm's layout, without a head, under that name) and at least one parquet file whose
column `image` holds encoded images. Without it the tests are skipped.

    VPTCORE_REAL_DATA=path/to/folder python -m pytest -m slow tests/vptcore/models/test_real_vit.py
"""

from __future__ import annotations

import os
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch

from tests.vptcore.models.plain import concatenated_vit, worst
from vptcore.data.decode import resize_bilinear, to_rgb
from vptcore.data.tensors import Normalise
from vptcore.models.backbones import IMAGENET_MEAN, IMAGENET_STD, Backbone
from vptcore.models.blocks import run_block
from vptcore.models.pretrained import create_backbone
from vptcore.models.prompts import PromptedViT, Prompts

pytestmark = pytest.mark.slow
WEIGHTS = "vit_small_patch16_224_dinov2s_saliency_fp16.safetensors"


@pytest.fixture(scope="module")
def folder() -> Path:
    named = os.environ.get("VPTCORE_REAL_DATA")
    if not named:
        pytest.skip("VPTCORE_REAL_DATA is not set; see this file's docstring")
    if not (Path(named) / WEIGHTS).is_file():
        pytest.skip(f"no {WEIGHTS} in VPTCORE_REAL_DATA ({named})")
    return Path(named)


@pytest.fixture(scope="module")
def vit(folder):
    spec = Backbone(
        "real", "ViT-S/16", "vit_small_patch16_224", width=384, checkpoint=str(folder / WEIGHTS), licence="see the file"
    )
    return create_backbone(spec).double().eval().requires_grad_(False)


@pytest.fixture(scope="module")
def photographs(folder):
    """Four images of the first parquet file that has any, (4, 3, 224, 224)."""
    for path in sorted(folder.glob("*.parquet")):
        if "image" in pq.read_schema(path).names:
            encoded = pq.read_table(path, columns=["image"])["image"].slice(0, 4).to_pylist()
            break
    else:
        pytest.skip(f"no parquet file with a column image in VPTCORE_REAL_DATA ({folder})")
    pixels = [torch.from_numpy(resize_bilinear(to_rgb(image), 224)) for image in encoded]
    assert len(pixels) == 4
    return Normalise(224, IMAGENET_MEAN, IMAGENET_STD)(torch.stack(pixels), torch.float64)


@pytest.mark.parametrize(("layers", "length"), [(12, 10), (12, 50), (1, 10)])
@torch.no_grad()
def test_prompts_as_keys_and_values_equal_concatenated(vit, photographs, layers, length):
    torch.manual_seed(length)
    prompts = Prompts(layers, length, 384, 16).double()
    got = PromptedViT(vit, prompts)(photographs)
    assert worst(got, concatenated_vit(vit, prompts.tokens, photographs)) <= 1e-10
    assert worst(got, PromptedViT(vit)(photographs)) > 1e-3  # the prompts did something


def test_gradients_of_the_prompts_equal_concatenated(vit, photographs):
    prompts = Prompts(12, 10, 384, 16).double()
    (ours,) = torch.autograd.grad(PromptedViT(vit, prompts)(photographs[:1]).sum(), prompts.tokens)
    (theirs,) = torch.autograd.grad(concatenated_vit(vit, prompts.tokens, photographs[:1]).sum(), prompts.tokens)
    assert worst(ours, theirs) <= 1e-10


@torch.no_grad()
def test_the_class_token_alone_equals_the_whole_last_block(vit, photographs):
    before = PromptedViT(vit).tokens(photographs, stop_at=11)
    assert before.shape == (4, 197, 384)
    whole = vit.blocks[-1](before)
    assert worst(run_block(vit.blocks[-1], before, queries=1), whole[:, :1]) <= 1e-10
    assert worst(whole[:, :1], before[:, :1]) > 1e-3


@torch.no_grad()
def test_without_prompts_equals_timm(vit, photographs):
    features_BD = vit(photographs)
    assert worst(PromptedViT(vit)(photographs), features_BD) <= 1e-10
    assert torch.pdist(features_BD).min() > 1  # four images, four features
