"""Logits, features, gradients and counts of every backbone and method, beside KMnP/vpt's on the same weights."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from timm.layers import DropPath
from torch import nn

from tests.peers.models import CLASSES, make
from tests.peers.pattern import dot, pattern, recorded
from vptcore.analysis.explain import CAMS
from vptcore.models.blocks import run_block
from vptcore.models.methods import count_parameters
from vptcore.models.prompts import PromptedViT

__all__ = ["make"]
ANSWERS = recorded("vit") | recorded("others")
TOLERANCE = 1e-11


def inputs(case: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Images and labels of a case. Shallow Swin has one image: theirs mixes the images of a batch there."""
    shape = (2, 3, 224, 224) if case.startswith("swin") else (4, 3, 24, 24)
    images = torch.from_numpy(pattern("images", shape, 2))[: 1 if case == "swin vpt shallow" else None]
    return images, torch.arange(len(images)) % CLASSES


@pytest.mark.parametrize("case", ANSWERS)
def test_logits_and_gradients(make, case):
    backbone, method, *depth = case.split()
    theirs, (images, labels) = ANSWERS[case], inputs(case)
    model = make(backbone, method, deep=depth != ["shallow"]).eval()
    feature = model.encoder(images)
    logits = model.head(feature)
    F.cross_entropy(logits, labels).backward()
    assert (logits - torch.tensor(theirs["logits"], dtype=torch.float64)).abs().max() < TOLERANCE
    if "feature" in theirs:
        assert (feature - torch.tensor(theirs["feature"], dtype=torch.float64)).abs().max() < TOLERANCE
    found = {name: dot(name, p.grad) for name, p in model.named_parameters() if p.grad is not None}
    assert set(found) == set(theirs["gradients"])
    for name, value in theirs["gradients"].items():
        assert found[name] == pytest.approx(value, rel=1e-8, abs=TOLERANCE), name
    assert count_parameters(model) == (theirs["tuned"], theirs["total"])


@pytest.mark.parametrize("case", recorded("dropout"))
def test_dropout_draws_the_masks_that_theirs_draws(make, case, monkeypatch):
    """From one seed: of prompts, each image and layer its own; of full fine-tuning, after embeddings and in every MLP.

    Ours computes the last block for the class token alone, which draws fewer numbers; here it computes all tokens.
    """

    def on_all_tokens(self, block, index, x_BND, *handed, is_last):
        return run_block(block, x_BND)

    if case == "vit full":
        monkeypatch.setattr(PromptedViT, "_run_block", on_all_tokens)
    backbone, method, *_ = case.split()
    model, (images, _) = make(backbone, method, prompt_dropout=0.1).train(), inputs(case)
    torch.manual_seed(77)
    theirs = torch.tensor(recorded("dropout")[case], dtype=torch.float64)
    assert (model(images) - theirs).abs().max() < TOLERANCE
    assert (model.eval()(images) - theirs).abs().max() > 0.01


@pytest.mark.parametrize("form", recorded("grad_cam"))
def test_grad_cam_is_pytorch_grad_cams(make, form):
    """Plain, and with aug_smooth and eigen_smooth, of the class that an image is taken for; theirs are float32."""
    model, images = make("vit", "full").eval(), torch.from_numpy(pattern("images", (3, 3, 24, 24), 2))
    found = CAMS[form](model, images, model(images).argmax(1))
    assert (found - torch.tensor(recorded("grad_cam")[form])).abs().max() < 2e-6


@pytest.mark.parametrize("case", [case for case in ANSWERS if "random in training" in ANSWERS[case]])
def test_what_is_random_in_training(make, case):
    backbone, method, *depth = case.split()
    model = make(backbone, method, deep=depth != ["shallow"]).train()
    found = {("Dropout", m.p) for m in model.modules() if isinstance(m, nn.Dropout) and m.p}
    found |= {("DropPath", round(m.drop_prob, 6)) for m in model.modules() if isinstance(m, DropPath) and m.drop_prob}
    assert found == {tuple(pair) for pair in ANSWERS[case]["random in training"]}
