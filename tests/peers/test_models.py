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
from vptcore.models.methods import count_parameters

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
