"""Pretrain the demo's backbone: a small plain ViT, by supervised classification of CIFAR-10.

In: a parquet file with the columns image (encoded bytes) and label, or an image folder, one folder per class. Out: the
weights as safetensors, the Fréchet reference statistics of the training images in the backbone's feature space, and a
JSON record (data, recipe, seed, accuracy on held-out images) from which the model card is written.

    vptcore pretrain --data cifar10.parquet --out src/vptcore/assets
"""

from __future__ import annotations

import json
import platform
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import nn

from vptcore.data.augment import CropFlip
from vptcore.data.decode import resize_bilinear, to_rgb
from vptcore.data.item import Request, load
from vptcore.data.sources import open_source
from vptcore.data.tensors import ImageSet, Normalise
from vptcore.models.backbones import MINI
from vptcore.models.pretrained import create_backbone
from vptcore.records import file_sha256
from vptcore.training.fit import fit, predict, scores
from vptcore.training.recipe import Recipe

RECIPE = Recipe(
    optimizer="adamw",
    lr=1.5e-3,
    weight_decay=0.05,
    batch=128,
    epochs=80,
    warmup=5,
    label_smoothing=0.1,
    scale_lr=False,
    zero_first_epoch=False,
    decay_norms=False,
    augment="crop_flip",
)
HELD_OUT = 2000
REFERENCE_SAMPLE = 1000  # features kept for the kernel distance


def load_images(path: Path, classes: int = 10) -> tuple[np.ndarray, np.ndarray]:
    """All images (N, 32, 32, 3) in uint8 and labels (N,) of a parquet file or a folder of class folders."""
    source = "parquet" if path.suffix == ".parquet" or path.is_file() else "folder"
    items = list(open_source(source, Request("pretraining", classes, path)).items)
    images = np.stack([resize_bilinear(to_rgb(load(item.image)), MINI.size) for item in items])
    return images, np.array([item.label for item in items])


class _Classifier(nn.Module):
    def __init__(self, backbone: nn.Module, width: int, classes: int) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = nn.Linear(width, classes)

    def forward(self, x_BCHW):
        return self.head(self.backbone(x_BCHW))


def pretrain(
    images: np.ndarray,
    labels: np.ndarray,
    out: Path,
    *,
    source: str,
    seed: int = 0,
    epochs: int | None = None,
    say=print,
) -> dict:
    """Train on all but `HELD_OUT` random images (uint8, N x 32 x 32 x 3), score those, write three files into `out`."""
    recipe = RECIPE if epochs is None else Recipe(**{**asdict(RECIPE), "epochs": epochs, "warmup": min(5, epochs)})
    device = "cuda" if torch.cuda.is_available() else "cpu"
    order = np.random.default_rng(seed).permutation(len(labels))
    normalise = Normalise(MINI.size, MINI.mean, MINI.std)
    held = ImageSet.of(images[order[:HELD_OUT]], labels[order[:HELD_OUT]], normalise, device)
    train = ImageSet.of(images[order[HELD_OUT:]], labels[order[HELD_OUT:]], normalise, device)
    torch.manual_seed(seed)
    model = _Classifier(create_backbone(MINI, pretrained=False), MINI.width, int(labels.max()) + 1).to(device)

    def on_epoch(record: dict, rate: float) -> None:
        say(
            f"epoch {record['epoch']}/{recipe.epochs}  loss {float(record['train_loss']):.3f}  {rate:,.0f} img/s",
            flush=True,
        )

    checkpoint = out / f"{MINI.id}.checkpoint"
    history = fit(model, train, recipe, seed=seed, augment=CropFlip(), checkpoint=checkpoint, on_epoch=on_epoch)
    loss, accuracy = scores(predict(model, held), held.labels_N)
    features_ND = predict(model.backbone, train).double().cpu()
    card = {
        "backbone": MINI.id,
        "data": source,
        "train_images": len(train),
        "held_out_images": len(held),
        "held_out_accuracy": float(accuracy),
        "held_out_loss": float(loss),
        "recipe": asdict(recipe),
        "seed": seed,
        "parameters": sum(p.numel() for p in model.backbone.parameters()),
        "minutes": round(history.seconds / 60, 1),
        "device": device if device == "cuda" else f"cpu ({platform.machine()}, {torch.get_num_threads()} threads)",
        "torch": torch.__version__,
    }
    _write(out, model.backbone, features_ND, card)
    checkpoint.unlink(missing_ok=True)
    return card


def _write(out: Path, backbone: nn.Module, features_ND: torch.Tensor, card: dict) -> None:
    out.mkdir(parents=True, exist_ok=True)
    weights = out / f"{MINI.id}.safetensors"
    save_file({name: value.cpu().contiguous() for name, value in backbone.state_dict().items()}, weights)
    # Not the analysis package's own function: training is below it.
    centred = features_ND - features_ND.mean(0)
    statistics = {
        "mean": features_ND.mean(0),
        "covariance": centred.T @ centred / (len(features_ND) - 1),
        "count": torch.tensor(len(features_ND)),
        "sample": features_ND[:REFERENCE_SAMPLE].float().contiguous(),
    }
    save_file(statistics, out / f"{MINI.id}.reference.safetensors", metadata={"network": MINI.id})
    card["sha256"] = file_sha256(weights)
    (out / f"{MINI.id}.json").write_text(json.dumps(card, indent=2) + "\n", encoding="utf-8")
