"""Memory of a training batch against what autograd really saves for the built model."""

from dataclasses import asdict

import pytest
import torch
from torch.autograd.graph import saved_tensors_hooks

from vptcore.models import methods
from vptcore.models.backbones import BACKBONES
from vptcore.models.methods import build, spec_of
from vptcore.models.methods_table import METHODS
from vptcore.models.pretrained import create_backbone
from vptcore.training.protocol import PROTOCOLS
from vptcore.training.recipe import Recipe
from vptstudy.plan.memory import model_bytes, saved_numbers

BATCH = 2


def job_of(backbone, method, length=0):
    return {
        "backbone": asdict(BACKBONES[backbone]), "method": method, "classes": 10, "prompt_length": length,
        "deep": True, "protocol": asdict(PROTOCOLS["paper"]), "settings": {},
        "recipe": asdict(Recipe("sgd", 0.0, 0.0, BATCH, 1, 0)),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("backbone", "method", "length"),
    [("vit_b16_sup21k", id, 100 if row.prompts else 0) for id, row in METHODS.items() if not row.probe]
    + [("vit_b16_sup21k", "mixed", 200), ("swin_b_sup21k", "full", 0), ("swin_b_sup21k", "vpt", 50)],
)  # fmt: skip
def test_what_autograd_saves(backbone, method, length, monkeypatch):
    """The estimate is no less than nine tenths of what is saved, and no more than twice."""
    monkeypatch.setattr(methods, "create_backbone", lambda spec, drop_path=0.0: create_backbone(spec, pretrained=False))
    job, saved = job_of(backbone, method, length), {}
    with torch.device("meta"):
        model = build(spec_of(job), seed=0).train()
        images = torch.randn(BATCH, 3, 224, 224)
    own = {p.untyped_storage()._cdata for p in [*model.parameters(), *model.buffers()]}

    def keep(tensor):
        if tensor.untyped_storage()._cdata not in own:
            saved[tensor.untyped_storage()._cdata] = tensor
        return tensor

    with saved_tensors_hooks(keep, lambda tensor: tensor):
        model(images).sum()
    numbers = sum(t.untyped_storage().nbytes() / 4 for t in saved.values())
    assert 0.9 * numbers <= saved_numbers(job, BATCH) <= 2 * numbers


def test_weights_gradients_and_optimizer_states():
    """Frozen weights once; tuned ones once more for gradients and once for momentum, twice for Adam's moments."""
    weights = 85.8e6
    assert model_bytes(job_of("vit_b16_sup21k", "linear")) == pytest.approx(4 * weights, rel=0.02)
    full = job_of("vit_b16_sup21k", "full")
    adam = full | {"recipe": full["recipe"] | {"optimizer": "adamw"}}
    assert model_bytes(full) == pytest.approx(3 * 4 * weights, rel=0.02)
    assert model_bytes(adam) == pytest.approx(4 * 4 * weights, rel=0.02)
