"""Prompts from patch prototypes: k-means against scikit-learn's, tokens against timm's blocks one by one, in every
family; a seed and the train images decide them. Whole jobs: test_search_final.py."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.cluster import KMeans

from tests.vptcore.models.tiny import FAMILIES, SWIN, VIT, job_of, without_weights
from vptcore.data.tensors import ImageSet, Normalise
from vptcore.models.methods import build, spec_of
from vptcore.training import fresh, prototypes

BLOBS = torch.tensor(np.random.default_rng(0).normal(size=(300, 5)) + 4 * np.arange(300)[:, None] % 3).float()


def images(count=6) -> ImageSet:
    pixels = np.random.default_rng(1).integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)
    return ImageSet.of(pixels, np.arange(count) % 3, Normalise(32, (0.5,) * 3, (0.2,) * 3), "cpu")


def test_centres_are_those_of_scikit_learn():
    """Lloyd's algorithm from the same first tokens, to its end."""
    found = prototypes.centres(BLOBS, 4, torch.Generator().manual_seed(3))
    first = BLOBS[torch.randperm(300, generator=torch.Generator().manual_seed(3))[:4]]
    theirs = KMeans(4, init=first.numpy(), n_init=1, algorithm="lloyd", tol=0, max_iter=prototypes.ROUNDS).fit(BLOBS)
    np.testing.assert_allclose(found, theirs.cluster_centers_, rtol=1e-4, atol=1e-4)


def test_fewer_tokens_than_prompts_are_taken_again():
    found = prototypes.centres(BLOBS[:3], 7, torch.Generator().manual_seed(0))
    assert found.shape == (7, 5)
    assert {tuple(row) for row in found.tolist()} == {tuple(row) for row in BLOBS[:3].tolist()}


def entering(backbone, pixels):
    """Patches that enter each block, by timm's own parts."""
    if hasattr(backbone, "layers"):
        x = backbone.patch_embed(pixels)
        for stage in backbone.layers:
            x = stage.downsample(x)
            for block in stage.blocks:
                yield x.flatten(1, 2)
                x = block(x)
        return
    x, prefix = backbone.norm_pre(backbone._pos_embed(backbone.patch_embed(pixels))), backbone.num_prefix_tokens
    for block in backbone.blocks:
        yield x[:, prefix:]
        x = block(x)


@pytest.mark.parametrize("row", [VIT, SWIN, FAMILIES["registers"]], ids=["vit", "swin", "registers"])
def test_every_patch_of_few_images_is_seen_at_every_block(row, monkeypatch):
    without_weights(monkeypatch)
    model, train = build(spec_of(job_of(row, "vpt")), seed=0), images()
    found = prototypes.patch_tokens(model.encoder.backbone, train, torch.arange(6), 3, torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = list(entering(model.encoder.backbone.eval(), train.inputs(torch.arange(6))))
    assert len(found) == len(expected) == 3
    for ours, theirs in zip(found, expected, strict=True):
        theirs = theirs.flatten(0, 1)
        order = [np.lexsort(x.round(decimals=4).numpy().T) for x in (ours, theirs)]
        torch.testing.assert_close(ours[order[0]], theirs[order[1]], rtol=1e-4, atol=1e-4)


def test_many_images_give_a_bounded_number_of_tokens(monkeypatch):
    without_weights(monkeypatch)
    monkeypatch.setattr(prototypes, "TOKENS", 40)
    model = build(spec_of(job_of(VIT, "vpt")), seed=0)
    tokens = prototypes.patch_tokens(model.encoder.vit, images(20), torch.arange(20), 3, torch.Generator())
    assert [tuple(part.shape) for part in tokens] == [(40, 48)] * 3


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("deep", [True, False])
def test_prompts_of_every_family_start_where_no_centre_moves(family, deep, monkeypatch):
    """A centre is the mean of the tokens that are nearest to it; the rest of the model is as it was built."""
    without_weights(monkeypatch)
    row, train = FAMILIES[family], images()
    spt = job_of(row, "spt", deep=deep)
    torch.manual_seed(3)
    model = fresh.built(spt, train, seed=4)
    torch.manual_seed(3)
    plain = build(spec_of(spt), seed=4)
    layers = prototypes._layers(model.encoder.prompts)
    rows = torch.arange(6)
    tokens = prototypes.patch_tokens(model.encoder.backbone, train, rows, len(layers), torch.Generator())
    for prompts_PD, tokens_ND in zip(layers, tokens, strict=True):
        nearest = torch.cdist(tokens_ND, prompts_PD.detach()).argmin(1)
        for index in nearest.unique():
            torch.testing.assert_close(prompts_PD[index].detach(), tokens_ND[nearest == index].mean(0))
    changed = [n for (n, a), b in zip(model.named_parameters(), plain.parameters(), strict=True) if not a.equal(b)]
    assert changed
    assert all("prompts" in name for name in changed)


def test_the_switch_and_the_method_say_the_same_and_a_seed_decides(monkeypatch):
    without_weights(monkeypatch)
    spt = job_of(VIT, "spt")
    vpt = job_of(VIT, "vpt")
    vpt["protocol"] = vpt["protocol"] | {"prompt_init": "prototypes"}

    def tokens(said, seed, count=6):
        torch.manual_seed(3)
        return fresh.built(said, images(count), seed=seed).encoder.prompts.tokens.detach()

    assert tokens(spt, 1).equal(tokens(vpt, 1))
    assert tokens(spt, 1).equal(tokens(spt, 1))
    assert not tokens(spt, 1).equal(tokens(spt, 2))
    assert not tokens(spt, 1).equal(tokens(spt, 1, count=5))  # of the train images, and no others


def test_a_library_call_has_no_images_to_start_from():
    import timm

    import vptcore

    vit = timm.create_model(VIT.timm, num_classes=3, **replace(VIT).options)
    with pytest.raises(ValueError, match="init: 'prototypes' is unknown; choices: uniform, normal"):
        vptcore.add_prompts(vit, 4, init="prototypes")
