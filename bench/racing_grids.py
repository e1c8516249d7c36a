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
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
import yaml

from bench.advise_grids import BACKBONE, MOST_CLASSES, SHIPPED, Images, cut_backbone, images_of
from bench.stacked import Stacked
from vptcore.data.tensors import ImageSet
from vptcore.models.methods import build, spec_of
from vptcore.records import replacing
from vptcore.training import fresh, stage
from vptcore.training.fit import fit, predict, scores
from vptcore.training.flops import step_flops
from vptcore.training.trials import Trial, next_trials
from vptstudy import slices
from vptstudy.config.resolve import load_study

STACK = 10  # configurations of VPT side by side
STUDY = Path(__file__).parents[1] / "config.yaml"


@dataclass(frozen=True)
class Kind:
    """What the grids of a kind have in common. Rates are as a config says them, for 256 images a step."""

    name: str
    methods: Mapping[str, Mapping]
    epochs: int
    parts: Mapping[str, int]  # images at most
    prompts: int
    classes: int
    protocol: str


def like_the_study(share: int = 8) -> Kind:
    """The study's own grids, epochs, protocol and val images, on an eighth of its train images: with an eighth of the
    batch at eight times the rate an epoch has as many steps, each as large."""
    study = yaml.safe_load(STUDY.read_text())
    methods = {
        name: {"batch": own["batch"] // share, "grid": {**own["grid"], "lr": [share * lr for lr in own["grid"]["lr"]]}}
        for name, own in study["methods"].items() if name in ("vpt", "full")
    }  # fmt: skip
    parts = {"train": study["base_train"] // share, "val": 200, "truth": 600}
    prompts = study["prompts"]["sets"][study["prompts"]["lengths"]]["default"]
    return Kind("study", methods, study["epochs"], parts, prompts, classes=30, protocol=study["protocol"])


def small() -> Kind:
    decays = [0.01, 0.0001]
    rates = {
        "full": [0.0005, 0.0016, 0.005, 0.016, 0.05, 0.16], "vpt": [0.125, 0.5, 2, 8, 32, 128],
        "lora": [0.0016, 0.005, 0.016, 0.05, 0.16, 0.5],
    }  # fmt: skip
    methods = {name: {"batch": 16, "grid": {"lr": lr, "weight_decay": decays}} for name, lr in rates.items()}
    return Kind("small", methods, 24, {"train": 100, "val": 40, "truth": 300}, 5, MOST_CLASSES, "sound")


KINDS = {"small": small, "study": like_the_study}
SCHEMA = pa.schema([
    ("kind", pa.string()), ("set", pa.string()), ("method", pa.string()), ("config", pa.int16()), ("lr", pa.float64()),
    ("weight_decay", pa.float64()), ("epochs", pa.int16()), ("diverged", pa.bool_()), ("val_loss", pa.float64()),
    ("gflop", pa.float32()), *((part, pa.int16()) for part in ("val", "truth")),
    *((f"{part}_right", pa.binary()) for part in ("val", "truth")),
])  # fmt: skip


@dataclass(frozen=True)
class Grid:
    """One method's grid on one set of images."""

    of: Images
    kind: Kind
    method: str
    backbones: Mapping[str, dict]

    @property
    def job(self) -> dict:
        """The slice of a search, raced as the config's defaults have it."""
        config = {
            "study": "grid", "epochs": self.kind.epochs, "device": "cpu", "search": "racing",
            "protocol": self.kind.protocol, "backbones": dict(self.backbones),
            "methods": {self.method: self.kind.methods[self.method]},
            "prompts": {"lengths": "few", "sets": {"few": {"default": self.kind.prompts}}},
            "tasks": {"own": {"source": "folder", "path": "images", "classes": self.of.look.classes}},
            "experiments": {"grid": {"backbones": [BACKBONE], "methods": [self.method], "tasks": ["own"],
                                     "train": ["train"]}},
        }  # fmt: skip
        study = load_study(config)
        return slices.search(study, study.cells[0]) | {"resize": "antialias"}

    def sets(self, job: Mapping) -> dict[str, ImageSet]:
        order = np.random.default_rng(0).permutation(len(self.of.labels_N))
        ends = np.cumsum([0, *self.kind.parts.values()])
        normalise = stage.normalise_of(job)
        parts = {name: order[a:b] for name, a, b in zip(self.kind.parts, ends[:-1], ends[1:], strict=True)}
        return {
            name: ImageSet.of(self.of.images_NHWC[at], self.of.labels_N[at], normalise, "cpu")
            for name, at in parts.items()
        }

    def rows(self) -> Iterator[dict]:
        """Every configuration on both schedules."""
        job = self.job
        sets, whole = self.sets(job), {key: value for key, value in job.items() if key != "racing"}
        models = fresh.Models(lambda: build(spec_of(job), seed=0), torch.device("cpu"))
        for trials in (next_trials(job), next_trials(whole)):
            many = STACK if spec_of(job).row.prompts else 1
            for some in (trials[at : at + many] for at in range(0, len(trials), many)):
                stacked = len(some) > 1
                model = Stacked(build(spec_of(job), seed=0), len(some)) if stacked else models.fresh()
                yield from _trained(self, some, model, sets, job)


def _trained(grid: Grid, trials: Sequence[Trial], model, sets: Mapping[str, ImageSet], job: Mapping) -> Iterator[dict]:
    recipes = [trial.recipe for trial in trials]
    history = fit(model, sets["train"], recipes if len(recipes) > 1 else recipes[0], seed=0)
    logits = {part: predict(model, sets[part]) for part in ("val", "truth")}
    for index, (trial, recipe) in enumerate(zip(trials, recipes, strict=True)):
        row = {
            "kind": grid.kind.name, "set": grid.of.name, "method": grid.method, "config": trial.config, "lr": recipe.lr,
            "weight_decay": recipe.weight_decay, "epochs": recipe.epochs,
            "diverged": bool(history.diverged.flatten()[index]),
            "gflop": step_flops(job) * len(sets["train"]) * recipe.epochs / 1e9,
        }  # fmt: skip
        for part, found in logits.items():
            logits_NC, labels_N = found.view(-1, *found.shape[-2:])[index], sets[part].labels_N
            right_N = (logits_NC.argmax(-1) == labels_N).numpy()
            row |= {part: len(right_N), f"{part}_right": np.packbits(right_N).tobytes()}
            if part == "val":
                row["val_loss"] = float(scores(logits_NC, labels_N)[0])
        yield row


def record(out: Path, kind: Kind, sets: Mapping[str, Path | None], minutes: float) -> None:
    """Every grid that is not there yet, until the minutes are over."""
    ends = time.monotonic() + 60 * minutes
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as work:
        backbones, decoded = cut_backbone(Path(work)), {}
        for name, method in product(sets, kind.methods):
            file = out / f"{kind.name}_{name}_{method}.parquet"
            if file.exists() or time.monotonic() > ends:
                continue
            if name not in decoded:
                decoded = {name: images_of(name, sets[name], Path(work) / name, kind.classes)}
            began = time.monotonic()
            rows = list(Grid(decoded[name], kind, method, backbones).rows())
            with replacing(file) as beside:
                pq.write_table(pa.Table.from_pylist(rows, SCHEMA), beside, compression="zstd")
            print(f"{file.name}: {len(rows)} trainings, {time.monotonic() - began:,.0f} s", flush=True)


def joined(out: Path, file: Path) -> None:
    """All grids of a folder in one file."""
    table = pa.concat_tables([pq.read_table(path, schema=SCHEMA) for path in sorted(out.glob("*.parquet"))])
    order = [(name, "ascending") for name in ("kind", "set", "method", "epochs", "config")]
    with replacing(file) as beside:
        pq.write_table(table.sort_by(order), beside, compression="zstd", compression_level=19)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--images", type=Path, help="a folder of parquet files, each a set")
    parser.add_argument("--kind", choices=KINDS, default="small", help="of 12 configurations, or as the study's own")
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--join", type=Path, metavar="FILE", help="put what is recorded into one file, and no more")
    options = parser.parse_args()
    if options.join:
        return joined(options.out, options.join)
    options.out.mkdir(parents=True, exist_ok=True)
    found = sorted(options.images.glob("*.parquet")) if options.images else []
    sets = {path.stem: path for path in found} | dict.fromkeys(SHIPPED)
    record(options.out, KINDS[options.kind](), sets, options.minutes)


if __name__ == "__main__":
    main()
