"""From a config to a study: names looked up in the tables, experiments spelt out into cells.

In: the config as a mapping (config.yaml, or another). Out: a frozen `study.Study`; a mistake ends in a `ConfigError` of
one line that names the key, the value and the choices.

    vptcore check config.yaml
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict

from vptcore.choices import ConfigError, choose_one
from vptcore.data.readers.own import sizes
from vptcore.data.sources import LISTED, look
from vptcore.data.tasks import EMBEDDED, FGVC, OWN, TASKS, VTAB, Task, needed
from vptcore.models.backbones import BACKBONES, Backbone
from vptcore.models.methods_table import METHODS, Method
from vptcore.training.protocol import resolve_protocol
from vptstudy.config.checks import check_dependencies, check_grids, check_settings, check_shards
from vptstudy.config.defaults import with_defaults
from vptstudy.config.fair import check_tries
from vptstudy.config.schema import check_mapping, check_names, check_schema
from vptstudy.study import Cell, Study

TASK_SETS = {"vtab": VTAB, "fgvc": FGVC, "embedded": EMBEDDED}


def load_study(config: Mapping) -> Study:
    """Fill in a config's defaults, check it and resolve it. Raises ConfigError."""
    check_mapping(config)
    check_names("methods", config.get("methods"), [*METHODS, *_of_peft(config.get("methods"))])
    config = with_defaults(config)
    check_schema(config)
    for name, setting in config["methods"].items():
        _check_method(f"methods.{name}", METHODS[name], setting)
    tasks = _tasks(config["tasks"], config["data_root"])
    backbones = _backbones(config["backbones"])
    protocol = resolve_protocol(config["protocol"], config["switches"])
    prompts = config["prompts"]
    choose_one("prompts.lengths", prompts["lengths"], prompts["sets"])
    for name, lengths in prompts["sets"].items():
        _check_lengths(f"prompts.sets.{name}", lengths, backbones, tasks)
    cells, left_out = _cells(config, backbones, tasks)
    for task in config["explain"]["tasks"]:
        choose_one("explain.tasks", task, tasks)
    for task in config["explain"].get("figure_18", []):
        choose_one("explain.figure_18", task, config["explain"]["tasks"])
    seeds = tuple(config["seeds"])
    # Counted once: who reads this config later, such as a job that draws a table, needs no images.
    counted = {name: {key: getattr(tasks[name], key) for key in COUNTED} for name in tasks if _is_counted(config, name)}
    config["tasks"] = {name: {**setting, **counted.get(name, {})} for name, setting in config["tasks"].items()}
    config["backbones"] = _said(config["backbones"], backbones)
    study = Study(config["study"], config, protocol, backbones, tasks, seeds, cells, left_out)
    check_dependencies(study)
    check_settings(study)
    check_grids(study)
    check_shards(study)
    check_tries(study)
    return study


def _tasks(extra: Mapping, data_root: str) -> dict[str, Task]:
    tasks = dict(TASKS)
    for name, setting in extra.items():
        row = {k: v for k, v in setting.items() if k not in ("path", "on_bad_image", "splits", "grids")}
        if name in tasks:
            tasks[name] = Task(**{**asdict(tasks[name]), **row})
            continue
        if "source" not in row:
            raise ConfigError(f"tasks.{name}: a task of your own needs source as well (known tasks: vptcore data list)")
        if "classes" not in row:
            row = _counted(name, row["source"], setting.get("path") or f"{data_root}/{name}") | row
        tasks[name] = Task(**{"id": name, "title": name, "group": OWN, "pool": 10**9, "test": 0, **row})
    return tasks


COUNTED = ("classes", "pool", "test")


def _is_counted(config: Mapping, name: str) -> bool:
    """Whether a task's classes and images are counted, not said."""
    return name in config["tasks"] and name not in TASKS and "classes" not in config["tasks"][name]


def _counted(name: str, source: str, path: str) -> dict:
    """The classes and images of a person's own, where the config does not say. ConfigError where they are not there."""
    if source not in LISTED:
        raise ConfigError(f"tasks.{name}: {source} needs classes as well; they are counted for {', '.join(LISTED)}")
    found = look(source, path)
    if len(found.classes) < 2:
        why = found.problems[0] if found.problems else f"{len(found.classes)} classes found, expected at least 2"
        raise ConfigError(f"tasks.{name}.path: {why if path in why else f'{path}: {why}'}")
    return dict(zip(COUNTED, (len(found.classes), *sizes(found)), strict=True))


def _backbones(extra: Mapping) -> dict[str, Backbone]:
    backbones = dict(BACKBONES)
    for name, setting in extra.items():
        row = {k: tuple(v) if isinstance(v, list) else v for k, v in setting.items()}
        if name in backbones:
            backbones[name] = Backbone(**{**asdict(backbones[name]), **row})
        elif "timm" not in row:
            raise ConfigError(
                f"backbones.{name}: a backbone of your own needs timm, the name of a plain ViT or Swin (known "
                f"backbones: {', '.join(BACKBONES)})"
            )
        else:
            row = _from_timm(name, row) | row
            backbones[name] = Backbone(**{"id": name, "title": name, **row})
    return backbones


def _of_peft(methods: object) -> list[str]:
    """Methods of the config's own: those that say which adapter of peft they are."""
    named = methods.items() if isinstance(methods, Mapping) else ()
    return [name for name, setting in named if isinstance(setting, Mapping) and "peft" in setting]


TIMMS = ("size", "width", "depth", "pool", "mean", "std")


def _from_timm(name: str, row: Mapping) -> dict:
    """What timm knows of a backbone of a person's own, where the config leaves some of it out. ConfigError."""
    if all(key in row for key in TIMMS):
        return {}
    from vptcore.models.pretrained import facts_of  # brings torch

    try:
        return facts_of(row["timm"], row.get("options"))
    except ValueError as error:
        raise ConfigError(f"backbones.{name}.timm: {error}") from None


def _said(extra: Mapping, backbones: Mapping[str, Backbone]) -> dict:
    """The config's backbones with what was taken from timm, so that later readers need no timm."""
    found = {}
    for name, setting in extra.items():
        own = {} if name in BACKBONES else {key: getattr(backbones[name], key) for key in (*TIMMS, "licence")}
        own = {key: list(value) if isinstance(value, tuple) else value for key, value in own.items()}
        found[name] = {**setting, **own}
    return found


def _check_method(key: str, row: Method, setting: Mapping) -> None:
    """A method takes its own settings alone, and those must be right."""
    for own in setting:
        choose_one(f"{key}.{own}", own, ["batch", "grid", *row.settings])
    row.check(key, {**row.settings, **setting})


def _check_lengths(key: str, lengths: Mapping, backbones, tasks) -> None:
    if "default" not in lengths:
        raise ConfigError(f"{key}: the key 'default' is missing: the length where no task is named")
    for backbone, by_task in lengths.items():
        if backbone == "default":
            continue
        choose_one(f"{key}", backbone, backbones)
        for task in by_task:
            choose_one(f"{key}.{backbone}", task, tasks)


def _cells(config: Mapping, backbones, tasks) -> tuple[tuple[Cell, ...], tuple]:
    """Every combination that the experiments name, once; sizes that a task cannot give are left out by count."""
    cells: dict[Cell, None] = {}
    left_out: dict[tuple[str, str], None] = {}
    for name, experiment in config["experiments"].items():
        key = f"experiments.{name}"
        for backbone in experiment["backbones"]:
            choose_one(f"{key}.backbones", backbone, backbones)
        for method in experiment["methods"]:
            choose_one(f"{key}.methods", method, sorted(config["methods"], key=_place))
        for backbone in experiment["backbones"]:
            for task in _expand_tasks(f"{key}.tasks", experiment["tasks"], tasks):
                for train in map(str, experiment["train"]):
                    if train.isdigit() and needed(int(train)) > tasks[task].reach:
                        left_out[task, train] = None
                        continue
                    cells.update({Cell(backbone, method, task, train): None for method in experiment["methods"]})
    if not cells:
        raise ConfigError(f"experiments: no cell is left; {_too_few(*next(iter(left_out)), tasks)}")
    return tuple(cells), tuple(left_out)


def _place(method: str) -> int:
    """Shipped methods in their order, then those of the config's own."""
    return list(METHODS).index(method) if method in list(METHODS) else len(METHODS)


def _too_few(task: str, train: str, tasks: Mapping[str, Task]) -> str:
    reach, wanted = tasks[task].reach, needed(int(train))
    return (
        f"{task} has {reach:,} images to train and validate on, and train {train} needs {wanted:,}; choose fewer, or "
        "train: [train] for all of them"
    )


def _expand_tasks(key: str, names: Iterable[str], tasks: Mapping[str, Task]) -> list[str]:
    """Task ids, with the sets vtab, fgvc and embedded spelt out."""
    ids: dict[str, None] = {}
    for name in names:
        choose_one(key, name, [*TASK_SETS, *tasks])
        ids.update({task.id: None for task in TASK_SETS.get(name, ())} or {name: None})
    return list(ids)
