"""What a config's schema cannot say: names of shipped files, values that must go together.

In: a `study.Study` whose cells are resolved. Out: nothing, or a `ConfigError` of one line that starts with the key,
and before any job starts.

    python -m faults configs
"""

from __future__ import annotations

import re
from importlib import resources
from typing import TYPE_CHECKING

from vptcore.choices import ConfigError, choose_one
from vptcore.data.sources import READERS
from vptcore.data.tasks import TASKS
from vptcore.training.cards import CARDS, card_of
from vptcore.wording import plural

if TYPE_CHECKING:
    from vptstudy.study import Cell, Study

HUB_REPOSITORY = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")


def check_settings(study: Study) -> None:
    """Raise ConfigError for the first mistake."""
    config = study.config
    if "main_backbone" in config["report"]:
        choose_one("report.main_backbone", config["report"]["main_backbone"], study.used("backbone"))
    planned = config.get("plan", {}).get("device", "cpu")
    if card_of(planned) is None:
        choose_one("plan.device", planned, [*(card.name for card in CARDS), "cpu"])
    _check_fid(config["fid"])
    for name, setting in config["backbones"].items():
        _check_file(f"backbones.{name}.checkpoint", setting.get("checkpoint", ""))
    for name, setting in config["tasks"].items():
        _check_task(name, setting)
    _check_batches(study)


def _check_fid(fid: dict) -> None:
    if fid["network"] == "off":
        return
    for key in ("reference", "bootstrap"):
        if key not in fid:
            raise ConfigError(f"fid: the key {key!r} is missing; `fid: off` measures no distance")
    _check_file("fid.reference", fid["reference"])


def _check_file(key: str, where: str) -> None:
    """A shipped asset must be one, and a hub repository be named as such; a path may still be made or mounted."""
    if where.startswith("asset:"):
        names = sorted(file.name for file in (resources.files("vptcore") / "assets").iterdir())
        choose_one(key, where, [f"asset:{name}" for name in names if name.endswith(".safetensors")])
    if where.startswith("hub:") and not HUB_REPOSITORY.fullmatch(where.removeprefix("hub:")):
        raise ConfigError(f"{key}: {where!r} is not a repository of the Hub; expected hub:OWNER/NAME")


def _check_task(name: str, setting: dict) -> None:
    if name in ("vtab", "fgvc", "embedded"):
        raise ConfigError(f"tasks.{name}: {name} is the name of a set of tasks; choose another")
    source = setting.get("source", "")
    if source in READERS and READERS[source].ships and (name not in TASKS or TASKS[name].source != source):
        raise ConfigError(
            f"tasks.{name}.source: {source!r} has no images of {name}; it reads what ships with the package; say "
            "folder, parquet, hf, vtab1k or wds"
        )


def _check_batches(study: Study) -> None:
    """A config's batch must fit into the images of every train size given as a number; the authors' need not."""
    searched = frozenset(study.searches)
    for cell in study.cells:
        (batch, key), images = study.batch(cell), _fewest_images(cell, cell in searched)
        if images is not None and batch > images and key.startswith("methods."):
            raise ConfigError(
                f"{key}: {batch} is larger than the {images} training images of {cell.task} "
                f"with train {cell.train}; choose at most {images}"
            )


def _fewest_images(cell: Cell, is_searched: bool) -> int | None:
    """What a search trains on, or where another size's recipe is used, what the finals do: train and val."""
    if not cell.train.isdigit():
        return None
    train = int(cell.train)
    return train if is_searched else train + train // 4


def check_grids(study: Study) -> None:
    """A task's own grids are of methods that there are."""
    for task, setting in study.config["tasks"].items():
        for method in setting.get("grids", {}):
            choose_one(f"tasks.{task}.grids", method, study.config["methods"])


def check_shards(study: Study) -> None:
    """No more shards than there is work to split."""
    shards = study.config.get("shards") or {}
    for method in shards.get("methods", []):
        choose_one("shards.methods", method, study.config["methods"])
    if shards.get("final", 1) > len(study.seeds):
        most = len(study.seeds)
        raise ConfigError(
            f"shards.final: {shards['final']} is more than the {plural(most, 'seed')}; choose {most} or less"
        )
    for cell in study.searches:
        if study.config["edges"] == "extend" and study.shards("search", cell) > 1:
            raise ConfigError(
                f"edges: extend: the grid of {cell.method} is split over {shards['search']} jobs, none of which sees "
                "all scores; take shards.search out, or set edges: mark"
            )
        if study.racing and study.shards("search", cell) > 1:
            raise ConfigError(
                f"search: racing: the grid of {cell.method} is split over {shards['search']} jobs, none of which sees "
                "all scores; take shards.search out, or set search: grid"
            )
        grid = study.grid(cell)
        most = len(grid["lr"]) * len(grid["weight_decay"])
        if study.shards("search", cell) > most:
            raise ConfigError(
                f"shards.search: {shards['search']} is more than the {plural(most, 'configuration')} of {cell.method}; "
                f"choose {most} or less, or name the methods it is for in shards.methods"
            )


def check_dependencies(study: Study) -> None:
    """What one cell reads from another must be in the study."""
    for cell in study.cells:
        base = study.tuned_from(cell)
        if base and base not in study.cell_set:
            raise ConfigError(
                f"experiments: {cell.method} on {cell.task} (train {cell.train}) starts from {base.method}; add "
                f"{base.method} to its methods"
            )
        search = study.searched_by(cell)
        if search != cell and search not in study.cell_set:
            raise ConfigError(
                f"experiments: {cell.method} on {cell.task} with train {cell.train} reuses the recipe of train "
                f"{study.base_train}, which is "
                f"not in the study; add {study.base_train} to its sizes or set regrid: true"
            )
