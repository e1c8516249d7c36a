"""vptcore's small models with the recorded answers' weights: a ViT, Swin, MAE and MoCo v3.

In: a backbone's name and a method. Out: a `Tuned` model in float64 under the protocol `authors`, prompt dropout off.
"""

from __future__ import annotations

from dataclasses import asdict, replace

import pytest
import timm
import torch
from safetensors.torch import save_file

from tests.peers.pattern import weight
from vptcore.models.backbones import BACKBONES, Backbone
from vptcore.models.methods import ModelSpec, Tuned, build
from vptcore.training.protocol import PROTOCOLS

PROMPTS, CLASSES = 3, 5
VIT = {"img_size": 24, "patch_size": 8, "embed_dim": 32, "depth": 3, "num_heads": 2}
SWIN = {"embed_dim": 16, "depths": (2, 2, 1, 1), "num_heads": (1, 2, 2, 4)}


def small(id: str, of: str, name: str, options: dict, **more) -> Backbone:
    """The row of a backbone of the paper on a model of a few blocks: dropout, depth and positions stay the row's."""
    return replace(BACKBONES[of], id=id, timm=name, options=options, **more)


ROWS = {
    "vit": small("vit", "vit_b16_sup21k", "vit_tiny_patch16_224", VIT, size=24, width=32, depth=3),
    "swin": small("swin", "swin_b_sup21k", "swin_tiny_patch4_window7_224", SWIN, size=224, width=128, depth=6),
    "mae": small(
        "mae", "vit_b16_mae", "vit_base_patch16_224.mae", VIT | {"global_pool": "avg"}, size=24, width=32, depth=3
    ),
    "moco": small("moco", "vit_b16_mocov3", "vit_base_patch16_224", VIT, size=24, width=32, depth=3),
}


def fill(model: torch.nn.Module) -> None:
    """Every parameter by its name; the backbone's by timm's."""
    for name, parameter in model.named_parameters():
        short = name.removeprefix("encoder.vit.").removeprefix("encoder.swin.")
        parameter.data = weight(short, parameter.shape)


@pytest.fixture
def make(tmp_path):
    def make_model(backbone: str, method: str, *, deep: bool = True, prompt_dropout: float = 0.0) -> Tuned:
        row, path = ROWS[backbone], tmp_path / f"{backbone}.safetensors"
        if not path.exists():
            save_file(timm.create_model(row.timm, num_classes=0, **row.options).state_dict(), path)
        switches = asdict(PROTOCOLS["authors"]) | {"prompt_dropout": prompt_dropout}
        spec = ModelSpec(replace(row, checkpoint=str(path)), method, CLASSES, PROMPTS, deep, switches, {})
        model = build(spec, seed=0).double()
        fill(model)
        return model

    return make_model
