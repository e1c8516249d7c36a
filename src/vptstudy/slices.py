"""What each job reads of the config: its slice, and the version of its stage.

In: a study, and what the job is about. Out: a dict of the plain values that the job reads and nothing else, so that a
job runs again when its meaning changes and only then.

    python -c "import yaml; from vptstudy import slices; from vptstudy.config.resolve import load_study; \
        study = load_study(yaml.safe_load(open('config.yaml'))); print(slices.final(study, study.cells[0]))"
"""

from __future__ import annotations

from dataclasses import asdict

from vptcore.data.signature import signature
from vptcore.data.sources import READERS
from vptcore.models.methods_table import METHODS
from vptcore.training.edges import MOST
from vptcore.training.racing import how_many, short_epochs
from vptcore.training.recipe import Recipe, final_parts, recipes_of
from vptstudy.study import MAX_POOL, ONE_SHOT, Cell, Study

# Bumped when a stage's meaning changes: it is part of every job's slice, so that the stage's files are made again.
VERSIONS = {
    "prepare": 4,
    "split": 3,
    "features": 1,
    "fid": 3,
    "search": 3,
    "final": 3,
    "explain": 3,
    "examples": 1,
    "tables": 13,
    "figures": 13,
    "report": 6,
}


def prepare(study: Study, task: str, size: int) -> dict:
    """What decodes a task's images to squares of `size` pixels."""
    row = study.tasks[task]
    return {
        "version": VERSIONS["prepare"], "task": task, "source": row.source, "path": study.source_path(task),
        "classes": row.classes, "size": size, "max_pool": MAX_POOL, "seed": 0, "resize": study.resize_of(task),
        "signature": _signature(study, task),
        **_draws(study, task),
    } | ({"on_bad_image": "skip"} if study.skips_bad_images(task) else {})  # fmt: skip


def _draws(study: Study, task: str) -> dict:
    """How splits are drawn that a person's own images do not come with; a benchmark's rule is the version's alone."""
    return {"draws": "by name"} if READERS[study.tasks[task].source].own else {}


def _signature(study: Study, task: str) -> str:
    """A hash of a person's images, so that a change of them prepares the task again.

    Empty for what ships, and for what is downloaded: it is not there yet when the graph is built.
    """
    return "" if study.is_downloaded(task) else signature(*study.source_place(task))


def fetch(study: Study, task: str) -> dict:
    """What downloads a task."""
    return {"row": asdict(study.tasks[task]), "root": study.config["data_root"]}


def split(study: Study, task: str, train: str) -> dict:
    """What draws the train, val and test images of a size."""
    return {
        "version": VERSIONS["split"],
        "task": task,
        "train": train,
        "seed": study.config["split_seed"],
        "classes": study.tasks[task].classes,
        **_draws(study, task),
        **({"told": told} if (told := study.told_splits(task)) else {}),
        **(_one_shot(study) if train == ONE_SHOT else {}),
    }


def _one_shot(study: Study) -> dict:
    protocol = study.protocol
    return {
        "selection": study.one_shot_selection, "pool": protocol.one_shot_pool, "final": protocol.one_shot_final,
        "picks": study.one_shot_picks,
    }  # fmt: skip


def _network(study: Study) -> dict:
    """The network that the Fréchet distance takes its features from, and what comes before it."""
    fid = study.config["fid"]
    return {
        "version": VERSIONS["features"], "network": fid["network"], "weights": fid.get("weights", ""),
        "resize": fid.get("resize", "pytorch-fid"), "backbone": asdict(study.backbones[study.main_backbone]),
        "protocol": asdict(study.protocol), "device": study.config["device"], **_sameness(study),
        **_weights(study, study.main_backbone),
    }  # fmt: skip


def _weights(study: Study, backbone: str) -> dict:
    """A hash of the weights that the config names as a file: another file under the same name is another backbone."""
    found = signature(study.backbones[backbone].checkpoint or None)
    return {"checkpoint": found} if found else {}


def features(study: Study, task: str) -> dict:
    """What the Fréchet network sees of a task."""
    of_task = {"task": task, "train": study.base_fid_train(task)}
    # Squares to crop from are stored: the network sees the middle that the methods are scored on.
    crop = {"crop": study.input_size(task)} if study.resize_of(task) == "256_crop" else {}
    return _network(study) | of_task | crop


def reference(study: Study) -> dict:
    """What the Fréchet network sees of the reference images."""
    size, where = study.backbones[study.main_backbone].size, study.config["fid"]["reference"]
    resized = {"size": size, "image_resize": _reference_resize(study)}
    return _network(study) | {"reference": where, "signature": signature(where)} | resized


def _reference_resize(study: Study) -> str:
    """How reference images reach the methods' input: as VTAB's tasks do, since photographs are to go the same way."""
    resize = study.config.get("resize") or study.protocol.vtab_resize
    return "antialias" if resize == "256_crop" else resize


def fid(study: Study, task: str) -> dict:
    """What the distances of a task read."""
    read = {key: study.config["fid"][key] for key in ("reference", "bootstrap")}
    of_statistics = {} if study.reference_images else {"signature": signature(read["reference"])}
    resized = {"image_resize": _reference_resize(study)}
    return {"version": VERSIONS["fid"], "task": task, **read, **of_statistics, **resized}


def _model(study: Study, cell: Cell) -> dict:
    """What builds, trains and scores the model of a cell."""
    base = {
        "backbone": study.plain_rows[cell.backbone],
        "method": cell.method,
        "task": cell.task,
        "train": cell.train,
    }
    return base | {
        "classes": study.tasks[cell.task].classes, "prompt_length": study.prompt_length(cell),
        "deep": study.config["prompts"]["placement"] == "deep", "protocol": study.plain_rows["protocol"],
        "resize": study.resize_of(cell.task),
        "recipe": asdict(_recipe(study, cell)), "settings": study.settings(cell.method),
        "device": study.config["device"], "compile": study.config["compile"],
        "checkpoint_seconds": study.config["checkpoint_seconds"], **_sameness(study),
    }  # fmt: skip


def _sameness(study: Study) -> dict:
    """What last bits depend on (training.determinism), where the config says other than one thread and no."""
    said = {"threads": study.threads, "deterministic": study.config.get("deterministic", False)}
    return {key: value for key, value in said.items() if value != {"threads": 1, "deterministic": False}[key]}


def _recipe(study: Study, cell: Cell, epochs: int = 0) -> Recipe:
    """The recipe of a cell but for learning rate and weight decay, which the grid fills in; for the config's epochs."""
    protocol, epochs, row = study.protocol, epochs or study.config["epochs"], METHODS[cell.method]
    share = protocol.warmup_full if row.as_full else protocol.warmup
    return Recipe(
        optimizer=row.optimizer_under(protocol), lr=0.0, weight_decay=0.0,
        batch=study.batch(cell)[0], epochs=epochs, warmup=round(share * epochs),
        scale_lr=protocol.scale_lr, zero_first_epoch=protocol.lr_zero_epoch, decay_norms=protocol.decay_norms,
        adamw=protocol.adamw, layer_decay=float(study.settings(cell.method).get("layer_decay", 1.0)),
    )  # fmt: skip


def search(study: Study, cell: Cell) -> dict:
    """What a grid search reads."""
    grid = study.grid(cell)
    extends = {"extend": MOST, "ties": "inside"} if study.config["edges"] == "extend" else {}
    job = _model(study, cell) | _weights(study, cell.backbone) | extends | {
        "version": VERSIONS["search"], "seed": study.config["search_seed"], "grid": grid,
        "fixed_decay": METHODS[cell.method].as_full and study.protocol.full_decay == "fixed",
    }  # fmt: skip
    return job | _raced(study, cell, job)


def _raced(study: Study, cell: Cell, job: dict) -> dict:
    """How a cell's grid is raced; nothing where that is the grid itself. A probe's grid is no work to save."""
    if study.racing is None or METHODS[cell.method].probe:
        return {}
    configurations, epochs = len(recipes_of(job)), job["recipe"]["epochs"]
    keep, short = how_many(configurations, study.racing["keep"]), short_epochs(epochs, study.racing["short"])
    if keep >= configurations or short >= epochs:
        return {}
    return {"racing": {"epochs": short, "warmup": _recipe(study, cell, short).warmup, "keep": keep}}


def final(study: Study, cell: Cell) -> dict:
    """What the seeds of a cell read."""
    return (
        _model(study, cell)
        | _weights(study, cell.backbone)
        | {
            "version": VERSIONS["final"],
            "parts": list(final_parts(study.protocol, study.tasks[cell.task].group, cell.train)),
            "seeds": list(study.seeds),
            "curve_seeds": study.curve_seeds,
            "curve_images": study.config["curves"]["images"],
        }
        | ({"picks": _picks(study)} if cell.train == ONE_SHOT else {})
    )


def _picks(study: Study) -> list[int]:
    """Of each seed, which pick of one-shot images it trains on."""
    return [place % study.one_shot_picks for place in range(len(study.seeds))]


def search_shard(study: Study, cell: Cell, shard: str) -> dict:
    """The slice of shard '2of4', which tries every fourth configuration from the second on."""
    number, count = shard_of(shard)
    return search(study, cell) | {"shard": [number, count]}


def final_shard(study: Study, cell: Cell, shard: str) -> dict:
    """The slice of shard '2of5', which runs every fifth seed from the second on."""
    number, count = shard_of(shard)
    curves = len(range(number - 1, study.curve_seeds, count))
    whole = final(study, cell)
    each = {key: whole[key][number - 1 :: count] for key in ("seeds", "picks") if key in whole}
    return whole | each | {"curve_seeds": curves}


def explain(study: Study, backbone: str, task: str, train: str) -> dict:
    """What the attribution maps of FT and VPT read."""
    cells = {method: Cell(backbone, method, task, train) for method in ("full", "vpt")}
    slices = {method: _model(study, cell) for method, cell in cells.items()}
    return {
        "version": VERSIONS["explain"],
        **_weights(study, backbone),
        "seed": study.seeds[0],
        "images": study.config["explain"]["images"],
        "cam": study.config["explain"]["cam"],
        "models": slices,
        **_sameness(study),
    }


def shard_of(name: str) -> tuple[int, int]:
    """(2, 4) from '2of4'."""
    number, count = name.split("of")
    return int(number), int(count)
