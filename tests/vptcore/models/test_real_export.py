"""Top-1 of exported models on real test images: prepared by timm's own transform, against prepared as in training.

A linear probe of the embedded ViT-Mini and of a really pretrained ViT-S/16 learns each set, is exported, and labels
test images twice: decoded and resized with antialias by this package, and by `timm.data.create_transform`. The
environment variable VPTCORE_REAL_DATA names the folder, as in tests/vptcore/data/test_real_images.py; without it the
tests are skipped. With -s they print the shares. A minute a case on a CPU.

    VPTCORE_REAL_DATA=path/to/folder python -m pytest -m slow -s tests/vptcore/models/test_real_export.py
"""

from __future__ import annotations

import io
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import timm
import torch
from PIL import Image

from tests.vptcore.models.test_real_vit import WEIGHTS
from tests.vptcore.models.tiny import job_of
from vptcore.data.decode import resize_antialias, to_rgb
from vptcore.data.tensors import Normalise
from vptcore.models import portable
from vptcore.models.backbones import MINI, Backbone
from vptcore.models.export import restore, write_model
from vptcore.models.methods import build_encoder, spec_of

pytestmark = pytest.mark.slow
SETS = ("dtd_10cls", "cub200_10cls", "rsscn7_300perclass")
# Images to train on and to test, at most.
SEEN = {"mini": (1000, 1000), "vit_s": (100, 250)}


def backbone_of(name: str, folder: Path) -> Backbone:
    if name == "mini":
        return MINI
    return Backbone("real", "ViT-S/16", "vit_small_patch16_224", width=384, checkpoint=str(folder / WEIGHTS))


def encoded(path: Path, train: int, test: int) -> dict[str, tuple[list[bytes], list[int]]]:
    """Encoded images and labels, numbered from 0, of both parts in a seeded order."""
    table = pq.read_table(path)
    frame = pd.DataFrame({"split": table["split"].to_pylist(), "label": table["label"].to_pylist()})
    frame["label"] = frame["label"].astype("category").cat.codes
    frame = frame.sample(frac=1, random_state=0)
    parts = {"train": frame[frame["split"] != "test"][:train], "test": frame[frame["split"] == "test"][:test]}
    images = table["image"]
    return {
        part: ([images[int(row)].as_py() for row in rows.index], rows["label"].tolist()) for part, rows in parts.items()
    }


def ours(image: bytes, normalise: Normalise) -> torch.Tensor:
    """(3, H, W) as `vptcore advise` and `vptcore predict` prepare it."""
    return normalise(torch.from_numpy(resize_antialias(to_rgb(image), normalise.size))[None])[0]


@torch.inference_mode()
def in_batches(model, inputs: list[torch.Tensor]) -> torch.Tensor:
    return torch.cat([model(torch.stack(inputs[at : at + 50])) for at in range(0, len(inputs), 50)])


def probe(features_ND: torch.Tensor, labels: list[int]) -> dict[str, torch.Tensor]:
    """A linear head by ridge regression on one-hot labels, in float64."""
    x_ND = features_ND.double()
    mean_D, std_D = x_ND.mean(0), x_ND.std(0) + 1e-6
    x_ND = (x_ND - mean_D) / std_D
    y_NC = torch.nn.functional.one_hot(torch.tensor(labels)).double() - 1 / (max(labels) + 1)
    weight_DC = torch.linalg.solve(x_ND.T @ x_ND + len(x_ND) * torch.eye(x_ND.shape[1]).double(), x_ND.T @ y_NC)
    weight_CD = (weight_DC / std_D[:, None]).T
    return {"weight": weight_CD.float().contiguous(), "bias": (-weight_CD @ mean_D).float()}


@pytest.mark.parametrize("name", SETS)
@pytest.mark.parametrize("backbone", SEEN)
def test_timms_own_transform_gives_the_same_labels(tmp_path, backbone, name):
    folder = Path(os.environ.get("VPTCORE_REAL_DATA", ""))
    for file in (WEIGHTS, f"{name}.parquet"):
        if not os.environ.get("VPTCORE_REAL_DATA") or not (folder / file).is_file():
            pytest.skip(f"no {file} in VPTCORE_REAL_DATA; see this file's docstring")
    row, parts = backbone_of(backbone, folder), encoded(folder / f"{name}.parquet", *SEEN[backbone])
    normalise = Normalise(row.size, row.mean, row.std, "antialias")
    (images, labels), classes = parts["train"], len(set(parts["train"][1]))
    job = job_of(row, "linear", classes=classes)
    encoder = build_encoder(spec_of(job), seed=0).eval()
    state = probe(in_batches(encoder, [ours(image, normalise) for image in images]), labels)
    write_model(tmp_path / "model", job, restore(job, state), normalise, [str(n) for n in range(classes)], {}, str)

    model = portable.load(tmp_path / "model")
    transform = timm.data.create_transform(**timm.data.resolve_model_data_config(model))
    images, labels = parts["test"]
    mine = in_batches(model, [ours(image, normalise) for image in images]).argmax(-1)
    theirs = in_batches(
        model, [transform(Image.open(io.BytesIO(image)).convert("RGB")) for image in images]
    ).argmax(-1)  # fmt: skip
    same, right = (mine == theirs).float().mean(), np.mean(mine.numpy() == labels)
    print(f"\n{backbone} on {name}: {same:.2%} of {len(labels)} the same, {right:.1%} right")
    assert right > 1.5 / classes
    assert same >= 0.995
