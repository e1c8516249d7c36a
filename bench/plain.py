"""The plain form, as prompt-tuning repositories train: the baseline that the project is measured against.

Prompts are tokens that go through every block and are overwritten before the next; every token goes through the last
block. Images are decoded in host memory as float32 and are normalised one by one in worker processes. fp32, one
parameter group per tensor, no fused or foreach kernels, a probe's frozen features computed anew in every step.

The blocks are timm's own. Attention is written out, scores and softmax and all, as in KMnP/vpt
src/models/vit_backbones/vit.py, which the study's code is built on; `attention="fused"` gives the plain form PyTorch's
fused attention instead, a stricter comparison than any of those repositories.

Shapes: B batch, N tokens, P prompts a layer, L layers, D width, C classes.

    python -m pytest tests/test_bench.py
"""

from __future__ import annotations

import math
import sys

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from bench.cases import EPOCHS, Case, Work, grid_of, job_of, random_images, recipe_of
from bench.clock import now
from vptcore.data.tensors import Normalise
from vptcore.models.methods import Tuned, build, spec_of
from vptcore.training.recipe import Recipe
from vptcore.training.stage import normalise_of


class PlainTuned(nn.Module):
    """The parameters of a `Tuned` plain ViT, put to work in the plain form; none is copied."""

    def __init__(self, tuned: Tuned, attention: str = "written"):
        super().__init__()
        self.vit, self.head = tuned.encoder.vit, tuned.head
        for block in self.vit.blocks:
            block.attn.fused_attn = attention == "fused"  # the project's own form does not read it
        prompts = tuned.encoder.prompts
        self.prompts_LPD = None if prompts is None else prompts.tokens
        self.dropout = nn.Dropout(0.0 if prompts is None else prompts.dropout)

    def forward(self, images_BCHW: Tensor) -> Tensor:
        vit = self.vit
        x_BND = vit.norm_pre(vit._pos_embed(vit.patch_embed(images_BCHW)))
        for index, block in enumerate(vit.blocks):
            if self.prompts_LPD is not None:
                x_BND = self._put(index, x_BND)
            x_BND = block(x_BND)
        return self.head(vit.fc_norm(vit.norm(x_BND)[:, 0]))

    def _put(self, index: int, x_BND: Tensor) -> Tensor:
        """Tokens with this layer's prompts behind the class token, in place of the last layer's."""
        prompts_BPD = self.dropout(self.prompts_LPD[index].expand(len(x_BND), -1, -1))
        old = 0 if index == 0 else self.prompts_LPD.shape[1]
        return torch.cat([x_BND[:, :1], prompts_BPD, x_BND[:, 1 + old :]], dim=1)


class HostImages(Dataset):
    """Decoded images (N, H, W, 3) as float32 in host memory, normalised one by one."""

    def __init__(self, images_NHWC: np.ndarray, labels_N: np.ndarray, normalise: Normalise):
        self.images_NHWC, self.labels_N = images_NHWC.astype(np.float32), labels_N
        self.mean, self.std = (np.array(v, dtype=np.float32) for v in (normalise.mean, normalise.std))

    def __len__(self) -> int:
        return len(self.labels_N)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        x_HWC = (self.images_NHWC[index] / 255 - self.mean) / self.std
        return torch.from_numpy(x_HWC).permute(2, 0, 1), int(self.labels_N[index])


def make(case: Case, work: Work) -> PlainTuned:
    return PlainTuned(build(spec_of(job_of(case, work)), seed=0), work.attention).to(work.device)


def load(case: Case, work: Work, count: int) -> HostImages:
    return HostImages(*random_images(work, count), normalise_of(job_of(case, work)))


def make_optimizer(model: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """One group per tensor; decay is spared as the project's own groups spare it."""
    groups = []
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            spared = name == "head.bias" if recipe.optimizer == "sgd" else name.endswith("bias")
            groups.append({"params": [parameter], "weight_decay": 0.0 if spared else recipe.weight_decay})
    if recipe.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=recipe.lr_at(0), momentum=recipe.momentum, foreach=False)
    return torch.optim.AdamW(groups, lr=recipe.lr_at(0), betas=(0.9, 0.999), eps=1e-6, foreach=False)


def _loader(images: HostImages, work: Work, *, shuffle: bool) -> DataLoader:
    pin = work.device != "cpu"
    # Linux's own way to start workers; a measuring process inherits another one, which imports torch for each worker.
    start = "fork" if work.workers and sys.platform == "linux" else None
    return DataLoader(
        images, work.batch, shuffle=shuffle, num_workers=work.workers, pin_memory=pin, multiprocessing_context=start
    )


def train(model: PlainTuned, images: HostImages, case: Case, work: Work) -> float:
    """Images per second of one epoch. The clock starts at the first batch: worker start-up is not counted."""
    optimizer = make_optimizer(model, recipe_of(case, work))
    model.train()
    batches = iter(_loader(images, work, shuffle=True))
    batch, started = next(batches), now(work.device)
    while batch is not None:
        inputs, labels_B = (part.to(work.device, non_blocking=True) for part in batch)
        loss = F.cross_entropy(model(inputs), labels_B)
        if not math.isfinite(loss.item()):
            raise ValueError(f"{case.id}: the plain form's loss is not finite; its timing would mean nothing")
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        batch = next(batches, None)
    return len(images) / (now(work.device) - started)


@torch.no_grad()
def evaluate(model: PlainTuned, images: HostImages, work: Work) -> float:
    """Images per second of one pass; the clock as in `train`."""
    model.eval()
    batches = iter(_loader(images, work, shuffle=False))
    batch, started = next(batches), now(work.device)
    logits = []
    while batch is not None:
        logits.append(model(batch[0].to(work.device, non_blocking=True)).cpu())
        batch = next(batches, None)
    return len(images) / (now(work.device) - started)


def grid_seconds(model: PlainTuned, images: HostImages, case: Case, work: Work) -> float:
    """Seconds of the whole grid, scaled up from the steps on `images`: a whole one takes hours."""
    train_rate, eval_rate = train(model, images, case, work), evaluate(model, images, work)
    one = EPOCHS * work.grid_images / train_rate + work.grid_images / 4 / eval_rate
    return len(grid_of(case, work)) * one
