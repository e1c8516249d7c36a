"""A small search on files, as a workflow's job runs it: for what only whole jobs show.

In: a folder, a device and a grid. Out: the rows of `vptcore.training.search`, and what the job said.

    python -m pytest tests/gpu_check
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from unittest.mock import patch

import numpy as np
import torch

from gpu_check import models
from vptcore.models.backbones import Backbone
from vptcore.models.methods_table import METHODS
from vptcore.models.pretrained import create_backbone
from vptcore.records import read_provenance, replacing, write_rows
from vptcore.training import search
from vptcore.training.protocol import PROTOCOLS

SMALL, VPT = models.Sizes(side=32, patch=8, width=64, heads=4, depth=2), models.Case("vpt")
EPOCHS = 2
PRETENDED = "PRETENDED_LIBRARY"  # in the environment of a process on a pretended card


def make(
    folder: Path,
    device: str,
    decays: Sequence[float] = (0.0,),
    compile: str = "never",
    *,
    case: models.Case = VPT,
    sizes: models.Sizes = SMALL,
    classes: int = models.CLASSES,
    prompts: int = models.PROMPTS,
) -> dict:
    """Images, index, splits and weights in `folder`, and the request of a search of one rate and these decays. A third
    of the sizes' images is val."""
    folder.mkdir(parents=True, exist_ok=True)
    count, val = sizes.images, sizes.images // 3
    pixels = models.images(sizes, "cpu", count)
    np.save(folder / "images.npy", pixels.images.numpy())
    blank = {"split": "train", "class_name": "x", "key": "k", "source": "check", "sha256": "", "width": sizes.side}
    rows = [blank | {"row": i, "label": int(label), "height": sizes.side} for i, label in enumerate(pixels.labels_N)]
    write_rows(folder / "index.parquet", "index", rows, {})
    parts = ["train"] * (count - val) + ["val"] * val
    write_rows(folder / "splits.parquet", "splits", [{"part": p, "row": i} for i, p in enumerate(parts)], {})
    weights = folder / "weights.safetensors"
    _save_weights(sizes.of(case), weights)
    recipe = asdict(replace(models.recipe(case, sizes.batch, EPOCHS), lr=0.0, weight_decay=0.0))
    job = {
        "version": 1, "backbone": asdict(sizes.of(case)) | {"checkpoint": str(weights)}, "method": case.method,
        "task": "check", "train": str(count - val), "classes": classes, "deep": True, "settings": None,
        "prompt_length": prompts if METHODS[case.method].prompts else 0, "protocol": asdict(PROTOCOLS["paper"]),
        "recipe": recipe, "resize": "bilinear", "device": device, "compile": compile, "checkpoint_seconds": 0,
        "seed": 0, "fixed_decay": False, "grid": {"lr": [0.5], "weight_decay": list(decays)},
    }  # fmt: skip
    inputs = {name: str(folder / f"{name}.{end}") for name, end in _ENDS.items()}
    return {"job": job, "inputs": inputs, "outputs": {"rows": str(folder / "rows.parquet"), "work": str(folder / "w")}}


_ENDS = {"images": "npy", "index": "parquet", "splits": "parquet"}


def _save_weights(backbone: Backbone, path: Path) -> None:
    from safetensors.torch import save_file

    torch.manual_seed(0)
    with replacing(path) as beside:
        save_file(create_backbone(backbone, pretrained=False).state_dict(), beside)


def run(job: Mapping, inputs: Mapping, outputs: Mapping, say: Callable[[str], None] = print) -> str:
    """`search.run`, in a process that may be on a pretended card, whose values could not be written as rows. Says
    which process it is."""
    say(f"process {os.getpid()}")
    if not os.environ.get(PRETENDED):
        return search.run(job, inputs, outputs, say=say)
    torch.backends.cudnn.enabled = False
    torch.backends.cuda.enable_cudnn_sdp(False)
    none, predict = torch.tensor(0.0), search.predict
    with (
        patch.object(search, "predict", lambda *a, **more: torch.zeros(predict(*a, **more).shape)),
        patch.object(search, "scores", lambda *_: (none, none)),
    ):
        return search.run(job, inputs, outputs, say=say)


def note_of(request: Mapping) -> dict:
    """What the rows say of how they were made."""
    return read_provenance(request["outputs"]["rows"])


def ask(code: str, *words: str, **environment: str) -> object:
    """What `code` prints as JSON on its last line, in a process of its own. Raises RuntimeError with its last word."""
    result = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code, *words],
        capture_output=True, text=True, check=False, env=os.environ | environment,
    )  # fmt: skip
    if result.returncode:
        raise RuntimeError((result.stderr.strip().splitlines() or ["no error was printed"])[-1])
    return json.loads(result.stdout.splitlines()[-1])
