"""Exhaustive grids for the replay of `vptcore advise`: every arm at every rate, on a short and on a full schedule.

In: a folder of parquet files of real images (columns image, label; the embedded tasks need none), and a folder to
write to. Out: one parquet a (set, train size, split): rows of arm, rate, epochs, seconds, and right answers on val and
on test. A combination that is there is left alone, so that recording goes on where it was.

    nice python -m bench.advise_grids out --images path/to/folder --minutes 60
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from vptcore.data import arrays
from vptcore.data.listing import Listing
from vptcore.data.tasks import EMBEDDED
from vptcore.data.tensors import ImageSet
from vptcore.models.methods import build, build_encoder, build_head, spec_of
from vptcore.records import read_rows, replacing
from vptcore.training import stage
from vptcore.training.fit import fit, predict
from vptcore.training.recipe import recipes_of
from vptstudy.advise import rungs
from vptstudy.advise.look import Look, look
from vptstudy.advise.rungs import ARMS, RATES, Arm, Budget, Setting
from vptstudy.config.resolve import load_study

BACKBONE, EPOCHS, TEST, SEED = "vit_mini_cifar10", 8, 600, 0
SCHEMA = pa.schema([
    ("set", pa.string()), ("train", pa.int32()), ("split", pa.int32()), ("arm", pa.string()), ("rate", pa.float64()),
    ("epochs", pa.int32()), ("tuned", pa.int64()), ("seconds", pa.float64()), ("val_right", pa.list_(pa.bool_())),
    ("test_right", pa.list_(pa.bool_())),
])  # fmt: skip


def record(out: Path, sets: dict[str, Path | None], sizes: list[int], splits: int, minutes: float) -> None:
    """Every combination that is not there yet, small ones of every set first, until the minutes are over."""
    ends = time.monotonic() + 60 * minutes
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as work:
        prepared: dict[str, tuple] = {}
        for size, split, name in ((n, s, name) for s in range(splits) for n in sizes for name in sets):
            file = out / f"{name}_{size}_{split}.parquet"
            if file.exists() or time.monotonic() > ends:
                continue
            prepared.setdefault(name, _prepared(name, sets[name], Path(work) / name))
            rows = list(_grid(name, *prepared[name], size, split))
            with replacing(file) as beside:
                pq.write_table(pa.Table.from_pylist(rows, SCHEMA), beside, compression="zstd")
            print(f"{file.name}: {len(rows)} trainings, {sum(row['seconds'] for row in rows):,.0f} s", flush=True)


def _prepared(name: str, path: Path | None, work: Path) -> tuple[Look, np.ndarray, np.ndarray]:
    """The set as a person's own images, decoded to the backbone's size: uint8 array and labels."""
    if path:
        found, source, at, classes = look(path, name), "parquet", str(path), 0
        classes = found.classes
    else:
        task = next(task for task in EMBEDDED if task.id == name)
        found = Look(name, "folder", "images", Listing("images", classes=tuple(map(str, range(task.classes)))))
        source, at, classes = task.source, None, task.classes
    job = {"version": 1, "task": name, "source": source, "path": at, "classes": classes, "size": 32, "max_pool": 25_000,
           "seed": 0, "resize": "antialias", "signature": ""}  # fmt: skip
    arrays.prepare(job, work / "images.npy", work / "index.parquet")
    return found, np.load(work / "images.npy"), read_rows(work / "index.parquet", "index")["label"].to_numpy()


def _grid(name: str, found: Look, images, labels, size: int, split: int) -> Iterator[dict]:
    """One row per arm, rate and schedule. Rates are as the optimizer sees them."""
    order = np.random.default_rng([split, size]).permutation(len(images))
    bounds = np.cumsum([size, size // 4, TEST])
    parts = dict(zip(("train", "val", "test"), np.split(order[: bounds[2]], bounds[:2]), strict=True))
    budget = Budget(EPOCHS, rungs.batch_for(size), size)
    setting = Setting(replace(found, name=f"{name}_own"), "results", BACKBONE, {}, "cpu")
    for arm in (Arm("linear"), *ARMS):
        for epochs in (EPOCHS,) if arm.method == "linear" else (budget.short, EPOCHS):
            more = {"epochs": epochs} | (rungs.prompted(arm.length) if arm.length else {})
            study = load_study(rungs.config_of(setting, budget, "grid", {arm.method: RATES[arm.method]}, **more))
            job = study.search_slice(study.cells[0]) | {"resize": "antialias"}
            sets = {part: ImageSet.of(images[rows], labels[rows], stage.normalise_of(job), "cpu")
                    for part, rows in parts.items()}  # fmt: skip
            for row in _trained(job, sets):
                yield {"set": name, "train": size, "split": split, "arm": arm.id, "epochs": epochs} | row


def _trained(job: dict, sets: dict[str, ImageSet]) -> Iterator[dict]:
    spec = spec_of(job)
    if stage.is_probe(job):
        encoder = build_encoder(spec, seed=0)
        sets = {part: ImageSet(predict(encoder, one), one.labels_N) for part, one in sets.items()}
    for recipe in recipes_of(job):
        model = build_head(spec, seed=SEED) if stage.is_probe(job) else build(spec, seed=SEED)
        history = fit(model, sets["train"], recipe, seed=SEED)
        right = {
            part: (predict(model, sets[part]).argmax(-1) == sets[part].labels_N).tolist() for part in ("val", "test")
        }
        tuned = sum(p.numel() for p in model.parameters() if p.requires_grad)
        yield {"rate": recipe.scaled_lr, "tuned": tuned, "seconds": history.seconds,
               "val_right": right["val"], "test_right": right["test"]}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--images", type=Path, help="a folder of parquet files, each a set")
    parser.add_argument("--sizes", type=int, nargs="+", default=[60, 120, 240])
    parser.add_argument("--splits", type=int, default=5)
    parser.add_argument("--minutes", type=float, default=60)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    sets: dict[str, Path | None] = (
        {path.stem: path for path in sorted(options.images.glob("*.parquet"))} if options.images else {}
    )
    sets |= {task.id: None for task in EMBEDDED}
    record(options.out, sets, options.sizes, options.splits, options.minutes)


if __name__ == "__main__":
    main()
