"""Grids for the replay of `search: racing`: every configuration trained on a short schedule and on the full one.

In: a folder of parquet files of real images (columns image, label; some embedded tasks need none), and a folder to
write to. Out: one parquet a (set, method), a training a row: which images it labels right, packed into bits, its loss
on val, and what it cost. `truth` are images that neither train nor choose. A grid that is there is left alone.

    nice python -m bench.racing_grids out --images path/to/folder --minutes 60
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from bench.advise_grids import BACKBONE, SHIPPED, Images, cut_backbone, images_of
from vptcore.data.tensors import ImageSet
from vptcore.models.methods import build, spec_of
from vptcore.records import replacing
from vptcore.training import fresh, stage
from vptcore.training.fit import fit, predict, scores
from vptcore.training.flops import step_flops
from vptcore.training.trials import Trial, next_trials
from vptstudy import slices
from vptstudy.config.resolve import load_study

EPOCHS, BATCH, TRAIN, VAL, TRUTH, PROMPTS = 24, 16, 100, 40, 300, 5
# As a config says them: for 256 images a step.
GRIDS = {
    "full": {"lr": [0.0005, 0.0016, 0.005, 0.016, 0.05, 0.16], "weight_decay": [0.01, 0.0001]},
    "vpt": {"lr": [0.125, 0.5, 2, 8, 32, 128], "weight_decay": [0.01, 0.0001]},
    "lora": {"lr": [0.0016, 0.005, 0.016, 0.05, 0.16, 0.5], "weight_decay": [0.01, 0.0001]},
}
SCHEMA = pa.schema([
    ("set", pa.string()), ("method", pa.string()), ("config", pa.int16()), ("lr", pa.float64()),
    ("weight_decay", pa.float64()), ("epochs", pa.int16()), ("diverged", pa.bool_()), ("val_loss", pa.float64()),
    ("gflop", pa.float32()), *((part, pa.int16()) for part in ("val", "truth")),
    *((f"{part}_right", pa.binary()) for part in ("val", "truth")),
])  # fmt: skip


@dataclass(frozen=True)
class Grid:
    """One method's grid on one set of images."""

    of: Images
    method: str
    backbones: Mapping[str, dict]

    @property
    def job(self) -> dict:
        """The slice of a search, raced as the config's defaults have it."""
        config = {
            "study": "grid", "epochs": EPOCHS, "device": "cpu", "search": "racing", "backbones": dict(self.backbones),
            "methods": {self.method: {"batch": BATCH, "grid": GRIDS[self.method]}},
            "prompts": {"lengths": "few", "sets": {"few": {"default": PROMPTS}}},
            "tasks": {"own": {"source": "folder", "path": "images", "classes": self.of.look.classes}},
            "experiments": {"grid": {"backbones": [BACKBONE], "methods": [self.method], "tasks": ["own"],
                                     "train": ["train"]}},
        }  # fmt: skip
        study = load_study(config)
        return slices.search(study, study.cells[0]) | {"resize": "antialias"}

    def sets(self, job: Mapping) -> dict[str, ImageSet]:
        order = np.random.default_rng(0).permutation(len(self.of.labels_N))
        ends = np.cumsum([0, TRAIN, VAL, TRUTH])
        normalise = stage.normalise_of(job)
        parts = {name: order[a:b] for name, a, b in zip(("train", "val", "truth"), ends[:-1], ends[1:], strict=True)}
        return {
            name: ImageSet.of(self.of.images_NHWC[at], self.of.labels_N[at], normalise, "cpu")
            for name, at in parts.items()
        }

    def rows(self) -> Iterator[dict]:
        """Every configuration on both schedules."""
        job = self.job
        sets, whole = self.sets(job), {key: value for key, value in job.items() if key != "racing"}
        models = fresh.Models(lambda: build(spec_of(job), seed=0), torch.device("cpu"))
        for trial in (*next_trials(job), *next_trials(whole)):
            yield _trained(self, trial, models, sets, job)


def _trained(grid: Grid, trial: Trial, models: fresh.Models, sets: Mapping[str, ImageSet], job: Mapping) -> dict:
    model, recipe = models.fresh(), trial.recipe
    history = fit(model, sets["train"], recipe, seed=0)
    row = {
        "set": grid.of.name, "method": grid.method, "config": trial.config, "lr": recipe.lr,
        "weight_decay": recipe.weight_decay, "epochs": recipe.epochs, "diverged": bool(history.diverged),
        "gflop": step_flops(job) * len(sets["train"]) * recipe.epochs / 1e9,
    }  # fmt: skip
    for part in ("val", "truth"):
        logits_NC, labels_N = predict(model, sets[part]), sets[part].labels_N
        right_N = (logits_NC.argmax(-1) == labels_N).numpy()
        row |= {part: len(right_N), f"{part}_right": np.packbits(right_N).tobytes()}
        if part == "val":
            row["val_loss"] = float(scores(logits_NC, labels_N)[0])
    return row


def record(out: Path, sets: Mapping[str, Path | None], minutes: float) -> None:
    """Every grid that is not there yet, until the minutes are over."""
    ends = time.monotonic() + 60 * minutes
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as work:
        backbones, decoded = cut_backbone(Path(work)), {}
        for name, method in product(sets, GRIDS):
            file = out / f"{name}_{method}.parquet"
            if file.exists() or time.monotonic() > ends:
                continue
            if name not in decoded:
                decoded = {name: images_of(name, sets[name], Path(work) / name)}
            began = time.monotonic()
            rows = list(Grid(decoded[name], method, backbones).rows())
            with replacing(file) as beside:
                pq.write_table(pa.Table.from_pylist(rows, SCHEMA), beside, compression="zstd")
            print(f"{file.name}: {len(rows)} trainings, {time.monotonic() - began:,.0f} s", flush=True)


def of_advice(file: Path) -> pa.Table:
    """The grids of a recording by `bench.advise_grids`, with the rates that have both schedules."""
    rows = pd.read_parquet(file).rename(columns={"arm": "method", "rate": "lr", "decay": "weight_decay"})
    rows = rows[rows["stage"].isin(["short", "full"]) & (rows["method"] != "linear")]
    rows["set"] = [f"{name}/{folder}/{split}" for name, folder, split in rows[["set", "folder", "split"]].to_numpy()]
    key = ["set", "method", "lr", "weight_decay"]
    rows = rows[rows.groupby(key)["stage"].transform("nunique") == 2].sort_values(key)
    rows["config"] = rows.groupby(["set", "method"], group_keys=False)["lr"].rank("dense").astype("int16") - 1
    return pa.Table.from_pandas(rows.assign(val_loss=None)[SCHEMA.names], SCHEMA, preserve_index=False)


def joined(out: Path, file: Path, advice: Path | None = None) -> None:
    """All grids of a folder in one file, and those of a recording for `vptcore advise`."""
    tables = [pq.read_table(path, schema=SCHEMA) for path in sorted(out.glob("*.parquet"))]
    table = pa.concat_tables([*tables, *([of_advice(advice)] if advice else [])])
    order = [(name, "ascending") for name in ("set", "method", "epochs", "config")]
    with replacing(file) as beside:
        pq.write_table(table.sort_by(order), beside, compression="zstd", compression_level=19)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--images", type=Path, help="a folder of parquet files, each a set")
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--join", type=Path, metavar="FILE", help="put what is recorded into one file, and no more")
    parser.add_argument("--advice", type=Path, metavar="FILE", help="join with a recording of bench.advise_grids")
    options = parser.parse_args()
    if options.join:
        return joined(options.out, options.join, options.advice)
    options.out.mkdir(parents=True, exist_ok=True)
    found = sorted(options.images.glob("*.parquet")) if options.images else []
    record(options.out, {path.stem: path for path in found} | dict.fromkeys(SHIPPED), options.minutes)


if __name__ == "__main__":
    main()
