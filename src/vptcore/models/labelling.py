"""Labels for photographs, from a model's folder: decoded as in training, in batches, unreadable ones listed.

In: a folder that `models.export` wrote, and paths of images or folders of them, which are turned as EXIF says. Out: one
row an image: path, label, confidence, and the next labels with theirs; and what could not be read, with the reason. The
config of the folder says how images were resized in training, and so they are here.

    vptcore predict model photos/ --csv labels.csv
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from vptcore.data.decode import RESIZES, to_rgb
from vptcore.data.item import IMAGE_SUFFIXES, load
from vptcore.data.tensors import Normalise
from vptcore.models import portable

BATCH = 32


@dataclass(frozen=True)
class Labeller:
    """A loaded model, its labels, and how it wants images. `native`: height and width that need no resize on disk."""

    model: nn.Module
    labels: tuple[str, ...]
    normalise: Normalise
    resize: str
    native: tuple[int, int] | None
    device: torch.device


@dataclass
class Labelled:
    """`rows`: image, label, confidence, label_2, confidence_2, ...; `unreadable`: (path, why)."""

    rows: list[dict] = field(default_factory=list)
    unreadable: list[tuple[str, str]] = field(default_factory=list)


def open_model(folder: Path, device: torch.device) -> Labeller:
    """Raises ValueError (one line) for a folder without a model."""
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        data, own = config["pretrained_cfg"], config.get("vptcore", {})
        labels, size = tuple(map(str, config["label_names"])), int(data["input_size"][-1])
        model = portable.load(folder).to(device)
    except FileNotFoundError as error:
        raise ValueError(
            f"{folder}: no {Path(error.filename or 'model').name} in it; `vptcore export` writes it"
        ) from None
    except (ValueError, KeyError, TypeError, RuntimeError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ValueError(f"{folder}: not a model that `vptcore export` or `advise` wrote ({reason[:100]})") from None
    resize = own.get("resize", "antialias")
    normalise = Normalise(size, tuple(data["mean"]), tuple(data["std"]), resize)
    native = tuple(own["native"]) if own.get("native") else None
    return Labeller(model, labels, normalise, resize, native, device)


def images_in(paths: Iterable[Path]) -> list[Path]:
    """Every image named, or below a folder named, in order. Raises ValueError where there is none."""
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            found += [Path(at) / name for at, folders, names in os.walk(path) for name in _images(folders, names)]
        elif path.exists():
            found.append(path)
        else:
            raise ValueError(f"{path}: no such file or folder")
    if not found:
        raise ValueError(f"no images in {', '.join(map(str, paths))}; looked for {', '.join(sorted(IMAGE_SUFFIXES))}")
    return found


def _images(folders: list[str], names: list[str]) -> list[str]:
    folders[:] = sorted(name for name in folders if not name.startswith("."))
    return sorted(name for name in names if Path(name).suffix.lower() in IMAGE_SUFFIXES and not name.startswith("."))


def label(
    labeller: Labeller, paths: Sequence[Path], *, top: int = 1, batch: int = BATCH,
    on_batch: Callable[[int], None] = lambda done: None,
) -> Labelled:  # fmt: skip
    """Label the images, `batch` at a time; `on_batch` hears how many are done."""
    found, top = Labelled(), min(top, len(labeller.labels))
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        for start in range(0, len(paths), batch):
            some = paths[start : start + batch]
            read = list(pool.map(lambda path: _pixels(labeller, path), some))
            good = [(path, pixels) for path, pixels in zip(some, read, strict=True) if not isinstance(pixels, str)]
            found.unreadable += [(str(p), why) for p, why in zip(some, read, strict=True) if isinstance(why, str)]
            if good:
                logits_BC = _logits(labeller, [pixels for _, pixels in good])
                found.rows += [_row(labeller, path, z_C, top) for (path, _), z_C in zip(good, logits_BC, strict=True)]
            on_batch(start + len(some))
    return found


def _pixels(labeller: Labeller, path: Path) -> np.ndarray | str:
    """uint8 (H, W, 3) as training stored it; or why not."""
    try:
        image_HW3 = to_rgb(load(path), upright=True)
    except ValueError as error:
        return str(error)
    if image_HW3.shape[:2] == labeller.native:
        return image_HW3
    return RESIZES[labeller.resize](image_HW3, labeller.normalise.size)


@torch.inference_mode()
def _logits(labeller: Labeller, images: Sequence[np.ndarray]) -> Tensor:
    inputs = [labeller.normalise(torch.from_numpy(image)[None].to(labeller.device)) for image in images]
    return labeller.model(torch.cat(inputs)).float().cpu()


def _row(labeller: Labeller, path: Path, logits_C: Tensor, top: int) -> dict:
    shares, best = logits_C.softmax(-1).topk(top)
    row: dict = {"image": str(path)}
    for place, (share, number) in enumerate(zip(shares.tolist(), best.tolist(), strict=True), start=1):
        end = "" if place == 1 else f"_{place}"
        row |= {f"label{end}": labeller.labels[number], f"confidence{end}": round(share, 6)}
    return row
