"""Exhaustive grids for the replay of `vptcore advise`: every arm at every rate, on a short and on a full schedule, and
every method's finals.

In: a folder of parquet files of real images (columns image, label; some embedded tasks need none), and a folder to
write to. Out: one parquet a (set, folder, split), a training a row: which images it labels right, packed into bits, and
what it cost. A folder is so many images of a set, as a person may have them; its splits are five stratified folds, each
once the sealed test. `truth` are images outside the folder, the same for all of its splits. A combination that is there
is left alone, so that recording goes on where it was; splits come last in the order, so that a recording that is
stopped has every set at every size.

    nice python -m bench.advise_grids out --images path/to/folder --minutes 60
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import product
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from safetensors.torch import load_file, save_file

from vptcore.data import arrays
from vptcore.data.listing import Listing
from vptcore.data.tasks import EMBEDDED
from vptcore.data.tensors import ImageSet
from vptcore.models.backbones import MINI
from vptcore.models.checkpoints import find_checkpoint
from vptcore.models.methods import build, build_head, spec_of
from vptcore.records import read_rows, replacing
from vptcore.training import fresh, stage
from vptcore.training.fit import fit, predict
from vptcore.training.flops import step_flops
from vptcore.training.recipe import recipes_of
from vptstudy import slices
from vptstudy.advise import rungs
from vptstudy.advise.folds import dealt
from vptstudy.advise.look import Look, look
from vptstudy.advise.rungs import ARMS, DECAY, RATES, SEEDS, Arm, Budget, Setting
from vptstudy.config.resolve import load_study

BACKBONE, BLOCKS, EPOCHS = "vit_mini_cut", 2, 8
FOLDERS, SPLITS, TRUTH, MOST_CLASSES = (60, 100, 160), 5, 250, 12
FINAL_SEEDS = SEEDS[:3]
SHIPPED = ("fashion_mnist", "digits", "shapes_location")
LINEAR = Arm("linear")
PARTS = ("val", "test", "truth")
SCHEMA = pa.schema([
    ("set", pa.string()), ("folder", pa.int16()), ("split", pa.int8()), ("arm", pa.string()), ("stage", pa.string()),
    ("seed", pa.int16()), ("rate", pa.float64()), ("decay", pa.float64()), ("epochs", pa.int16()),
    ("diverged", pa.bool_()), ("tuned", pa.int32()), ("gflop", pa.float32()),
    *((part, pa.int16()) for part in PARTS), *((f"{part}_right", pa.binary()) for part in PARTS),
])  # fmt: skip


@dataclass(frozen=True)
class Images:
    """A set as a person's own, decoded to the backbone's size: uint8 (N, H, W, C) and labels."""

    name: str
    look: Look
    images_NHWC: np.ndarray
    labels_N: np.ndarray


def cut_backbone(folder: Path) -> dict[str, dict]:
    """A config's row for the first blocks of the small backbone, whose weights are written into `folder`."""
    file = folder / "cut.safetensors"
    weights = load_file(find_checkpoint(MINI))
    left_out = tuple(f"blocks.{block}." for block in range(BLOCKS, MINI.depth))
    save_file({name: value for name, value in weights.items() if not name.startswith(left_out)}, file)
    row = {"title": f"ViT-Mini/8, {BLOCKS} blocks", "timm": MINI.timm, "size": MINI.size, "width": MINI.width,
           "depth": BLOCKS, "pool": MINI.pool, "mean": list(MINI.mean), "std": list(MINI.std), "checkpoint": str(file),
           "options": {**MINI.options, "depth": BLOCKS}, "full_dropout": MINI.full_dropout}  # fmt: skip
    return {BACKBONE: row}


def images_of(name: str, path: Path | None, work: Path, classes: int = MOST_CLASSES) -> Images:
    """A parquet's images, or an embedded task's; of many classes the first."""
    if path:
        found, source, at = look(path, name), "parquet", str(path)
    else:
        task = next(task for task in EMBEDDED if task.id == name)
        found = Look(name, "folder", "images", Listing("images", classes=tuple(map(str, range(task.classes)))))
        source, at = task.source, None
    job = {"version": 1, "task": name, "source": source, "path": at, "classes": found.classes, "size": MINI.size,
           "max_pool": 25_000, "seed": 0, "resize": "antialias", "signature": ""}  # fmt: skip
    arrays.prepare(job, work / "images.npy", work / "index.parquet")
    labels = read_rows(work / "index.parquet", "index")["label"].to_numpy()
    kept = labels < classes
    names = tuple(found.listing.classes)[:classes]
    return Images(name, replace(found, name=f"{name}_own", listing=Listing("images", classes=names)),
                  np.load(work / "images.npy")[kept], labels[kept])  # fmt: skip


@dataclass(frozen=True)
class Bench:
    """One combination: a folder of images of a set, one of its splits, and what trains on them."""

    of: Images
    backbones: Mapping[str, dict]
    folder: int
    split: int
    epochs: int = EPOCHS

    @cached_property
    def rows(self) -> dict[str, np.ndarray]:
        """Test is a fold, val a fifth of the others, truth what is outside the folder."""
        order = np.random.default_rng(self.folder).permutation(len(self.of.labels_N))
        inside, truth = order[: self.folder], order[self.folder :][:TRUTH]
        is_test_N = dealt(self.of.labels_N[inside], SPLITS, 0) == self.split
        pool = inside[~is_test_N]
        is_val_N = dealt(self.of.labels_N[pool], SPLITS, self.split) == 0
        return {"train": pool[~is_val_N], "val": pool[is_val_N], "test": inside[is_test_N], "truth": truth}

    @property
    def train(self) -> int:
        return len(self.rows["train"])

    def job(self, arm: Arm, rates: Sequence[float], epochs: int) -> dict:
        """The slice of a search in `rungs`' own config."""
        budget = Budget(epochs, rungs.batch_for(self.train), self.train)
        setting = Setting(self.of.look, "results", BACKBONE, self.backbones, "cpu")
        more = rungs.prompted(arm.length) if arm.length else {}
        study = load_study(rungs.config_of(setting, budget, "grid", {arm.method: tuple(rates)}, **more))
        return slices.search(study, study.cells[0]) | {"resize": "antialias"}

    def parts(self, job: Mapping, *names: Sequence[str]) -> list[ImageSet]:
        picked = [np.concatenate([self.rows[part] for part in name]) for name in names]
        normalise = stage.normalise_of(job)
        sets = [ImageSet.of(self.of.images_NHWC[at], self.of.labels_N[at], normalise, "cpu") for at in picked]
        return list(fresh.as_features(job, *sets)[0]) if stage.is_probe(job) else sets

    def trained(self, arm: Arm, stage_: str, rates: Sequence[float], epochs: int, seeds=(), decay=None) -> list[dict]:
        """A row a configuration, or a row a seed: then on train and val."""
        job = self.job(arm, rates, epochs)
        on = ("train", "val") if seeds else ("train",)
        scored = {"short": ("val",), "full": ("val", "truth"), "final": ("test", "truth")}[stage_]
        train, *others = self.parts(job, on, *((part,) for part in scored))
        cost = step_flops(job) * len(train) * epochs / 1e9
        rows = []
        for seed in seeds or (job["seed"],):
            models = fresh.Models(lambda seed=seed: _built(job, seed), torch.device("cpu"))
            for rate, recipe in zip(_spread(rates, len(DECAY[arm.method])), recipes_of(job), strict=True):
                if decay is not None and recipe.weight_decay != decay:
                    continue
                model = models.fresh()
                history = fit(model, train, recipe, seed=seed)
                row = {"set": self.of.name, "folder": self.folder, "split": self.split, "arm": arm.id, "stage": stage_,
                       "seed": seed, "rate": rate, "decay": recipe.weight_decay, "epochs": epochs,
                       "diverged": bool(history.diverged), "tuned": _tuned(model), "gflop": cost}  # fmt: skip
                for part, images in zip(scored, others, strict=True):
                    row |= _right(part, model, images)
                rows.append(row)
        return rows


def _tuned(model) -> int:
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


def _built(job: Mapping, seed: int):
    spec = spec_of(job)
    return build_head(spec, seed=seed) if stage.is_probe(job) else build(spec, seed=seed)


def _spread(rates: Sequence[float], times: int) -> list[float]:
    """The rates in the order of `recipes_of`: each for every decay."""
    return [rate for rate in sorted(rates) for _ in range(times)]


def _right(part: str, model, images: ImageSet) -> dict:
    right_N = (predict(model, images).argmax(-1) == images.labels_N).numpy()
    return {part: len(right_N), f"{part}_right": np.packbits(right_N).tobytes()}


def best_of(rows: Sequence[Mapping]) -> Mapping:
    """As `vptcore.training.choose`: the best on val, ties to the smaller rate, then the smaller decay."""
    usable = [row for row in rows if not row["diverged"]]
    return min(usable, key=lambda row: (-_count(row), row["rate"], row["decay"]))


def _count(row: Mapping) -> int:
    return int(np.unpackbits(np.frombuffer(row["val_right"], np.uint8)).sum())


def grid(bench: Bench) -> Iterator[dict]:
    """All rows of a combination."""
    short = Budget(bench.epochs, 8, bench.train).short
    probe = bench.trained(LINEAR, "short", RATES["linear"], rungs.SHORT)
    whole = bench.trained(LINEAR, "full", RATES["linear"], bench.epochs)
    yield from probe + whole
    for best in {(row["rate"], row["decay"]) for row in map(best_of, (probe, whole))}:
        yield from bench.trained(LINEAR, "final", best[:1], bench.epochs, FINAL_SEEDS, decay=best[1])
    tried = {}
    for arm in ARMS:
        rows, rates = bench.trained(arm, "short", RATES[arm.method], short), RATES[arm.method]
        if more := rungs.beyond(rates, best_of(rows)["rate"]):
            rows += bench.trained(arm, "short", more, short)
        tried[arm] = best_of(rows)
        full = sorted({*rates, tried[arm]["rate"]})
        yield from rows + bench.trained(arm, "full", full, bench.epochs)
    lengths = [arm for arm in ARMS if arm.length]
    longest = max(lengths, key=lambda arm: (_count(tried[arm]), -arm.length))
    for arm in [longest, *(arm for arm in ARMS if not arm.length)]:
        yield from bench.trained(arm, "final", [tried[arm]["rate"]], bench.epochs, FINAL_SEEDS)


def record(out: Path, sets: Mapping[str, Path | None], minutes: float, share: str = "1of1") -> None:
    """Every combination of this share that is not there yet, until the minutes are over."""
    number, count = map(int, share.split("of"))
    ends = time.monotonic() + 60 * minutes
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as work:
        backbones, decoded = cut_backbone(Path(work)), {}
        for split, folder, name in list(product(range(SPLITS), FOLDERS, sets))[number - 1 :: count]:
            file = out / f"{name}_{folder}_{split}.parquet"
            if file.exists() or time.monotonic() > ends:
                continue
            decoded.setdefault(name, images_of(name, sets[name], Path(work) / name))
            began = time.monotonic()
            rows = list(grid(Bench(decoded[name], backbones, folder, split)))
            with replacing(file) as beside:
                pq.write_table(pa.Table.from_pylist(rows, SCHEMA), beside, compression="zstd")
            print(f"{file.name}: {len(rows)} trainings, {time.monotonic() - began:,.0f} s", flush=True)


def joined(out: Path, file: Path) -> None:
    """All combinations of a folder in one file."""
    table = pa.concat_tables([pq.read_table(path, schema=SCHEMA) for path in sorted(out.glob("*.parquet"))])
    order = [(name, "ascending") for name in ("set", "folder", "split", "arm", "stage", "rate", "decay", "seed")]
    with replacing(file) as beside:
        pq.write_table(table.sort_by(order), beside, compression="zstd", compression_level=19)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--images", type=Path, help="a folder of parquet files, each a set")
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--share", default="1of1", metavar="KofN", help="every Nth combination, for N processes")
    parser.add_argument("--join", type=Path, metavar="FILE", help="put what is recorded into one file, and no more")
    options = parser.parse_args()
    if options.join:
        return joined(options.out, options.join)
    options.out.mkdir(parents=True, exist_ok=True)
    found = sorted(options.images.glob("*.parquet")) if options.images else []
    sets = {path.stem: path for path in found} | dict.fromkeys(SHIPPED)
    record(options.out, sets, options.minutes, options.share)


if __name__ == "__main__":
    main()
