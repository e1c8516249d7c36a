"""A finished cell becomes a model's folder: which cell and seed, what its rows say of it, and the card that says it.

In: a study's results folder, words that name one cell, a folder to write. Out: the folder of `models.export` with a
model card: base model and licence, data counts and hashes, accuracy with its interval, how to load it. The config is
not needed: the rows' own metadata has the job.

    vptcore export results/demo vpt/digits/160 model
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from safetensors.torch import load_file

from vptcore.analysis.statistics import estimate, percent
from vptcore.models.export import restore, write_model
from vptcore.models.methods_table import METHODS
from vptcore.records import file_sha256, hive_parts, read_provenance, read_rows
from vptcore.training.stage import normalise_of

# How a card says that a model is used: by its own model.py, or by timm alone.
USE = """import timm
from PIL import Image, ImageOps
{}
model = {}
prepare = timm.data.create_transform(**timm.data.resolve_data_config({{}}, model=model))
photo = ImageOps.exif_transpose(Image.open("photo.jpg")).convert("RGB")
answers = model(prepare(photo)[None]).softmax(-1)[0].detach()
print(model.pretrained_cfg["label_names"][int(answers.argmax())], float(answers.max()))"""
OWN = ("from model import load\n", 'load(".")')
PLAIN = ("", 'timm.create_model("local-dir:.", pretrained=True).eval()')


@dataclass(frozen=True)
class Finished:
    """A cell's folder below `final`, and the seeds whose tuned models are there."""

    results: Path
    folder: str
    seeds: tuple[int, ...]

    def path(self, kind: str, name: str = "rows.parquet") -> Path:
        return self.results / kind / self.folder / name

    @property
    def title(self) -> str:
        return "/".join(hive_parts(self.folder).values())


@dataclass(frozen=True)
class Crossed:
    """Accuracy over all images by cross-validation and its 95 % interval, where a cell is the first of `folds`.

    Each of the `images` was tested once, by models of `seeds` seeds that had not seen it.
    """

    accuracy: float
    low: float
    high: float
    images: int
    folds: int
    seeds: int

    @property
    def interval(self) -> list[float]:
        return [self.low, self.high]

    @property
    def text(self) -> str:
        return f"{_with_interval(self.accuracy, self.interval)} over all {self.images:,} images"


def release(results: Path, cell: str, out: Path, seed: int | None = None, crossed: Crossed | None = None) -> str:
    """Write the model of one cell; returns a line. Raises ValueError (one line) for a cell or model that is not there.

    Without `seed` the first one is taken: the best by test accuracy would be flattered by the images that measure it.
    With `crossed` the model is known by that accuracy, as its own fold's few images say little.
    """
    found = find(results, cell)
    seed = _seed(found, seed)
    if out.exists() and not _is_ours(out):
        raise ValueError(f"{out}: is there already and is not a model of this package; name another folder")
    final = read_rows(found.path("final"), "final").sort_values("seed")
    note = read_provenance(found.path("final"))
    job, base = note["job"], _base(found, note["job"], seed)
    model = restore(job, load_file(found.path("models", f"seed={seed}.safetensors")), base)
    facts = _facts(found, job, note, final, seed) | {"crossed": crossed}
    labels = _labels(found, job)
    notes = {key: facts[key] for key in ("method", "seed", "test_accuracy", "test_interval", "resize", "native")}
    if crossed:
        notes |= {"cross_validated_accuracy": crossed.accuracy, "cross_validated_interval": crossed.interval}
    difference = write_model(
        out, job, model, normalise_of(job), labels, notes, lambda config: card(facts, config, labels)
    )
    size = (out / "model.safetensors").stat().st_size
    test = f"test {_with_interval(facts['test_accuracy'], facts['test_interval'])}"
    accuracy = f"cross-validated {crossed.text}" if crossed else test
    return f"{found.title}, seed {seed}: {accuracy}, {size / 1e6:,.1f} MB in {out}, logits within {difference:.0e}"


def find(results: Path, cell: str) -> Finished:
    """The one finished cell that the words name, such as vpt/digits/160 or method=vpt/task=digits."""
    folders = sorted(str(p.parent.relative_to(results / "final")) for p in (results / "final").rglob("rows.parquet"))
    if not folders:
        raise ValueError(f"{results}: no finished cell in it; expected a study's folder with final/.../rows.parquet")
    matching = [folder for folder in folders if _named(folder, cell.strip("/").split("/"))]
    if len(matching) != 1:
        shown = ["/".join(list(hive_parts(folder).values())[1:]) for folder in matching or folders]
        listed = ", ".join(shown[:12]) + (", ..." if len(shown) > 12 else "")
        count = "no" if not matching else f"{len(matching)}"
        raise ValueError(f"{cell}: names {count} finished cells of {results}; choices: {listed}")
    models = results / "models" / matching[0]
    seeds = sorted(int(p.stem.removeprefix("seed=")) for p in models.glob("seed=*.safetensors"))
    return Finished(results, matching[0], tuple(seeds))


def _named(folder: str, words: Sequence[str]) -> bool:
    """Whether every word is one of the cell's values, alone or as key=value."""
    parts = hive_parts(folder)
    return all(
        parts.get(word.partition("=")[0]) == word.partition("=")[2] if "=" in word else word in parts.values()
        for word in words
    )


def _seed(found: Finished, seed: int | None) -> int:
    if not found.seeds:
        raise ValueError(
            f"{found.title}: its tuned models were not kept; write `keep: best` into the study's config and run it "
            "again, which trains this cell's finals anew"
        )
    if seed is None:
        in_order = [int(s) for s in read_rows(found.path("final"), "final")["seed"] if int(s) in found.seeds]
        return in_order[0]
    if seed not in found.seeds:
        raise ValueError(f"--seed: {seed} is none of those kept: {', '.join(map(str, found.seeds))}")
    return seed


def _is_ours(folder: Path) -> bool:
    try:
        return "vptcore" in json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return folder.is_dir() and not any(folder.iterdir())


def _base(found: Finished, job: Mapping, seed: int):
    """The state of the tuned model that this one started from, where its method starts from one."""
    needs = METHODS[job["method"]].needs
    if not needs:
        return None
    path = found.path("models", f"seed={seed}.safetensors")
    path = Path(str(path).replace(f"method={job['method']}", f"method={needs}"))
    if not path.is_file():
        raise ValueError(f"{found.title}: starts from {needs}, whose tuned model {path} is not there")
    return load_file(path)


def _labels(found: Finished, job: Mapping) -> list[str]:
    """Class names in order; a class without an image keeps its number."""
    index = read_rows(found.results / "index" / f"task={job['task']}" / "rows.parquet", "index")
    names = dict(zip(index["label"], index["class_name"], strict=True))
    return [str(names.get(label, label)) for label in range(int(job["classes"]))]


def _facts(found: Finished, job: Mapping, note: Mapping, final: pd.DataFrame, seed: int) -> dict:
    row = final[final["seed"] == seed].iloc[0]
    splits = read_rows(found.results / "splits" / f"task={job['task']}" / f"train={job['train']}" / "rows.parquet",
                       "splits")  # fmt: skip
    index = found.results / "index" / f"task={job['task']}" / "rows.parquet"
    about = read_provenance(index)
    over = estimate(final["test_accuracy"])
    return {
        "cell": found.title, "method": METHODS[job["method"]].title, "task": job["task"], "seed": int(seed),
        "backbone": job["backbone"], "resize": job.get("resize", "bilinear"),
        "native": about["shape"][1:3] if about.get("native") else None,
        "lr": float(row["lr"]), "weight_decay": float(row["weight_decay"]), "epochs": int(row["epochs"]),
        "tuned": int(row["tuned_parameters"]), "total": int(row["total_parameters"]),
        "images": splits["part"].value_counts().to_dict(), "test_images": int(row["test_images"]),
        "test_accuracy": float(row["test_accuracy"]),
        "test_interval": list(wilson(float(row["test_accuracy"]), int(row["test_images"]))),
        "seeds": len(final), "mean": over.mean, "std": over.std,
        "index_sha256": file_sha256(index), "splits_sha256": note["inputs"]["splits"]["sha256"],
        "job_hash": note["job_hash"], "packages": note["packages"],
    }  # fmt: skip


def wilson(accuracy: float, images: int, z: float = 1.959964) -> tuple[float, float]:
    """The 95 % interval of a share of `images` (Wilson, 1927): never below 0 or above 1, sound for few images."""
    if not images:
        return math.nan, math.nan
    middle = (accuracy + z * z / (2 * images)) / (1 + z * z / images)
    half = z / (1 + z * z / images) * math.sqrt(accuracy * (1 - accuracy) / images + z * z / (4 * images * images))
    return max(0.0, middle - half), min(1.0, middle + half)


def _with_interval(accuracy: float, interval: Sequence[float]) -> str:
    return f"{percent(accuracy)} % (95 % interval {percent(interval[0])} to {percent(interval[1])})"


def card(facts: Mapping, config: Mapping, labels: Sequence[str]) -> str:
    """README.md: a model card in Markdown, with the hub's metadata on top."""
    front = {"license": "other", "library_name": "timm", "pipeline_tag": "image-classification", "tags": ["timm"]}
    lines = ["---", *(f"{key}: {json.dumps(value)}" for key, value in front.items()), "---"]
    named = ", ".join(labels[:20]) + (", ..." if len(labels) > 20 else "")
    lines += [f"# {facts['task']}: {facts['method']} of {facts['backbone']['title']}", ""]
    lines += [f"Labels an image as one of {len(labels)} classes: {named}.", "", *_bullets(facts, config), ""]
    lines += ["In this folder:", "", "```python", USE.format(*(OWN if "model_py" in config else PLAIN)), "```", ""]
    lines += ["`python predict.py photo.jpg` does the same; `vptcore predict FOLDER photos/` labels many.", ""]
    made = ", ".join(f"{name} {facts['packages'].get(name)}" for name in ("vptcore", "timm", "torch"))
    return "\n".join([*lines, f"Made by {made}; job {facts['job_hash']}.", ""])


def _bullets(facts: Mapping, config: Mapping) -> list[str]:
    row, images = facts["backbone"], facts["images"]
    side = config["pretrained_cfg"]["input_size"][1]
    source = f" from `{row['checkpoint']}`" if row["checkpoint"] else ""
    recipe = f"learning rate {facts['lr']:g}, weight decay {facts['weight_decay']:g}, {facts['epochs']} epochs"
    tuned = f"{facts['tuned']:,} of {facts['total']:,} parameters ({facts['method']})"
    parts = ", ".join(f"{images.get(part, 0):,} {part}" for part in ("train", "val", "test"))
    same = facts["resize"] in ("antialias", "256_crop")
    resize = (
        "timm's own transform prepares images as in training"
        if same
        else "training resized without antialias, timm's transform does with: results can differ a little"
    )
    return [
        *_accuracy(facts),
        f"- **Base model** `{row['timm']}`{source}; licence of its weights: {row['licence'] or 'not stated'}.",
        f"- **Tuned** {tuned}, {recipe}, seed {facts['seed']}.",
        f"- **Data** {parts}; the last training used train and val.",
        f"  Index sha256 `{facts['index_sha256']}`, split sha256 `{facts['splits_sha256']}`.",
        f"- **Input** {side} × {side} pixels; {resize}.",
    ]


def _accuracy(facts: Mapping) -> list[str]:
    test = _with_interval(facts["test_accuracy"], facts["test_interval"])
    images, crossed = f"{facts['test_images']:,} images", facts["crossed"]
    if crossed:
        return [
            f"- **Cross-validated accuracy** {crossed.text}, each tested once: the mean of {crossed.seeds} seeds in "
            f"each of {crossed.folds} folds, by models that had not seen it.",
            f"- **This model** is the first fold's, and learned from the other folds' images alone. Of its own fold's "
            f"{images} it labels {test} right: too few to know it by.",
        ]
    over = f" Over {facts['seeds']} seeds {percent(facts['mean'])} ± {percent(facts['std'])} %."
    return [f"- **Test accuracy** {test} on {images} that nothing was chosen by.{over * (facts['seeds'] > 1)}"]
