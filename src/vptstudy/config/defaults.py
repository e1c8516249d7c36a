"""What a config leaves out: the defaults under a person's file, YAML 1.2's numbers, and where `~` is.

In: a config as Snakemake or YAML gives it. Out: a whole config, which is what every other module sees.

    vptcore check --all mine.yaml
"""

from __future__ import annotations

import copy
import os
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from vptcore.models.methods_table import METHODS
from vptcore.training.racing import KEEP, SHORT
from vptstudy.config.fair import fair_defaults, is_fair
from vptstudy.config.schema import read_config

FILE = Path(__file__).with_name("defaults.yaml")
# These are named by the person, and what they hold is theirs: a default beside them would be one more experiment.
WHOLE = ("experiments", "tasks", "backbones", "switches", "prompts.sets", "shards")
# In a path `~` is your home. `*` is any name.
PATHS = (
    "results",
    "data_root",
    "fid.weights",
    "fid.reference",
    "backbones.*.checkpoint",
    "tasks.*.path",
    "tasks.*.splits",
)
# YAML 1.2 reads 1e-3 as a number; PyYAML, which follows 1.1, as a text.
_NUMBER = re.compile(r"[-+]?(\d+(\.\d*)?|\.\d+)[eE][-+]?\d+")


@cache
def _shipped() -> dict:
    return read_config(FILE)


def _defaults(config: Mapping) -> dict:
    """The file's, with the batch and grid of every method that comes with its makers' and of the config's own."""
    found, named = _shipped(), config.get("methods")
    own = [id for id in named if isinstance(id, str)] if isinstance(named, Mapping) else []
    rows = {id: METHODS[id] for id in [*METHODS, *own]}
    makers = {id: {"batch": row.batch, "grid": dict(row.grid)} for id, row in rows.items() if row.grid}
    methods = makers | found["methods"]
    return found | (fair_defaults(methods) if is_fair(config) else {"methods": methods})


def with_defaults(config: Mapping) -> dict:
    """The config with what it leaves out. What is no mapping stays as it is, for the schema to name."""
    merged = _merged(_defaults(config), _numbers(config), "")
    for path in PATHS:
        merged = _expanded(merged, path.split("."))
    merged["fid"] = _fid(merged.get("fid", False))
    if "search" in merged and (found := _search(merged.pop("search"))) != {"kind": "grid"}:
        merged["search"] = found
    experiments = merged.get("experiments")
    if isinstance(experiments, Mapping):
        merged["experiments"] = {name: _experiment(value, merged["tasks"]) for name, value in experiments.items()}
        merged.setdefault("base_train", _first_size(merged["experiments"]))
    return merged


def _fid(value: object) -> object:
    """`fid: off`, which YAML reads as false, and no fid at all are a mapping too: every reader asks one key."""
    return {"network": "off"} if value is False or value == "off" else value


def _search(value: object) -> object:
    """`search: racing` and `search: grid` are a mapping too. A whole grid is what no key says: no file is made again
    for saying it."""
    found = {"kind": value} if isinstance(value, str) else value
    is_race = isinstance(found, Mapping) and found.get("kind") == "racing"
    return {"kind": "racing", "short": SHORT, "keep": KEEP, **found} if is_race else found


def _merged(default: Mapping, config: Mapping, at: str) -> dict:
    """Keys keep the config's order, which is that of the study's cells."""
    merged = {}
    for key, value in config.items():
        path = f"{at}.{key}" if at else str(key)
        under = default.get(key)
        both = isinstance(value, Mapping) and isinstance(under, Mapping) and path not in WHOLE
        merged[key] = _merged(under, value, path) if both else value
    return merged | copy.deepcopy({key: value for key, value in default.items() if key not in config})


def _experiment(value: object, tasks: object) -> object:
    """An experiment without tasks is about the config's own; without methods or sizes, the question's two and all."""
    if not isinstance(value, Mapping):
        return value
    named = list(tasks) if isinstance(tasks, Mapping) else []
    filled = {"methods": ["full", "vpt", "linear"], "train": ["train"], **({"tasks": named} if named else {})}
    return {**value, **{key: default for key, default in filled.items() if key not in value}}


def _first_size(experiments: Mapping) -> object:
    """The first size that an experiment names. Any value where there is none: the schema names the mistake."""
    for experiment in experiments.values():
        sizes = experiment.get("train") if isinstance(experiment, Mapping) else None
        if isinstance(sizes, list) and sizes:
            return sizes[0]
    return "train"


def _expanded(value: object, path: list[str]) -> object:
    """The config with the paths at `path` spelt out."""
    if not path:
        return os.path.expanduser(value) if isinstance(value, str) else value
    if not isinstance(value, Mapping):
        return value
    first, *below = path
    return {name: _expanded(inside, below) if first in ("*", name) else inside for name, inside in value.items()}


def _numbers(value: object) -> object:
    if isinstance(value, Mapping):
        return {key: _numbers(inside) for key, inside in value.items()}
    if isinstance(value, list | tuple):
        return [_numbers(inside) for inside in value]
    return float(value) if isinstance(value, str) and _NUMBER.fullmatch(value) else value
