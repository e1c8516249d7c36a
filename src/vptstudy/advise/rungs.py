"""The rungs of an advice as configs: each an ordinary study of a dozen lines that a person can read, change and run.

In: what was looked at, a backbone, and a `Budget`. Out: one config a rung, as plain mappings, and the files of it that
are wanted. Rates are tried on short, complete schedules, methods compared on full ones: a schedule that is cut off, or
a short one, does not measure the gap between methods (docs/advise.md).

    python -m pytest tests/vptstudy/advise
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from vptcore.models.methods_table import METHODS
from vptcore.training import racing
from vptstudy.advise.look import Look
from vptstudy.config.schema import read_config

SEEDS = (42, 44, 82, 100, 800)
FOLD_SEEDS = SEEDS[:3]  # five folds are five training sets already
TRIED = 4  # rates of an arm, before those beyond an end
SHORT = round(1 / racing.SHORT)  # short schedules take as long as a full one
LENGTHS = (5, 20)  # prompts a layer
LEAST = 2  # epochs of a short schedule
ROUNDED = 0.01  # a config's rate has three digits
REFERENCE_BATCH = 256  # a config's rate is for so many images (docs/protocol.md, scale_lr)
# Rates as the optimizer sees them, small to large; a best one at an end buys two beyond it.
RATES: dict[str, tuple[float, ...]] = {
    "vpt": (0.0075, 0.03, 0.125, 0.5, 2.0),
    "lora": (1e-4, 3e-4, 1e-3, 3e-3, 1e-2),
    "full": (3e-5, 1e-4, 3e-4, 1e-3, 3e-3),
    "linear": (0.001, 0.004, 0.015, 0.06, 0.25, 1.0, 4.0),
}
# Full fine-tuning as the makers of today's backbones do it: earlier blocks learn more slowly, weights decay more.
LAYERS = METHODS["full_decayed"]
SETTINGS = {"full": {"layer_decay": LAYERS.settings["layer_decay"]}}
DECAY = {"vpt": [1e-4], "lora": [1e-4], "full": LAYERS.grid["weight_decay"][:1], "linear": [0.0, 1e-4, 1e-2]}


@dataclass(frozen=True, order=True)
class Arm:
    """A method, and its number of prompts a layer where it has them."""

    method: str
    length: int = 0

    @property
    def id(self) -> str:
        return f"{self.method}_{self.length}" if self.length else self.method


ARMS = (*(Arm("vpt", length) for length in LENGTHS), Arm("lora"), Arm("full"))


@dataclass(frozen=True)
class Budget:
    """What is spent: `epochs` of a full schedule, `batch`, `train` as a config's size, and seeds of the finals."""

    epochs: int
    batch: int
    train: int | str
    seeds: tuple[int, ...] = SEEDS

    @property
    def short(self) -> int:
        return racing.short_epochs(self.epochs)


@dataclass(frozen=True)
class Setting:
    """What all rungs share. `backbone` is an id; `backbones` the config's own rows; `results` its folder.

    `splits` are the files that tell the images' splits, one a fold; without one they are the source's.
    """

    look: Look
    results: str
    backbone: str
    backbones: Mapping = field(default_factory=dict)
    device: str = "auto"
    splits: tuple[str, ...] = ()

    @property
    def tasks(self) -> dict[str, dict]:
        """The config's tasks: the images, or one task a fold."""
        look = self.look
        images = {"source": look.source, "path": look.path, "classes": look.classes, "on_bad_image": "skip"}
        if self.has_folds:
            return {f"{look.name}_{k}": {**images, "splits": file} for k, file in enumerate(self.splits, start=1)}
        return {look.name: images | ({"splits": self.splits[0]} if self.splits else {})}

    @property
    def has_folds(self) -> bool:
        return len(self.splits) > 1

    @property
    def root(self) -> str:
        return f"{self.results}/{self.look.name}"

    @property
    def rungs(self) -> str:
        return f"{self.root}/rungs"


def check_owner(setting: Setting) -> None:
    """Raises ValueError (one line) where the name's folder holds the advice for other images that are still there."""
    file = Path(setting.rungs) / "images" / "config.yaml"
    if not file.is_file():
        return
    before = Path(read_config(file)["tasks"].get(setting.look.name, {}).get("path", ""))
    if before.exists() and before.resolve() != Path(setting.look.path).resolve():
        raise ValueError(f"{setting.root}: holds the advice for {before}; give this one another name with --name")


def seeds_for(folds: int) -> tuple[int, ...]:
    return SEEDS if folds == 1 else FOLD_SEEDS


def batch_for(train: int) -> int:
    """At least some twenty steps an epoch, from 8 images to 32."""
    return max(8, min(32, 2 ** ((max(1, train) // 20).bit_length() - 1)))


def config_of(
    setting: Setting, budget: Budget, study: str, grids: Mapping[str, tuple[float, ...]],
    own: Mapping[str, tuple[float, ...]] | None = None, **more,
) -> dict:  # fmt: skip
    """One rung's study: `grids` are {method: rates as the optimizer sees them}; `more` replaces single keys.

    `own` is {method: the one rate of each fold}, for methods whose folds differ.
    """
    methods = {
        method: {"batch": budget.batch, "grid": {"lr": [as_config(rate, budget) for rate in rates],
                                                 "weight_decay": DECAY[method]}} | SETTINGS.get(method, {})
        for method, rates in grids.items()
    }  # fmt: skip
    tasks = setting.tasks
    for fold, task in enumerate(tasks.values() if own else ()):
        task["grids"] = {method: {"lr": [as_config(rates[fold], budget)]} for method, rates in own.items()}
    return {
        "study": study, "results": setting.rungs, "epochs": budget.epochs, "seeds": list(budget.seeds),
        "resize": "antialias", "device": setting.device, "methods": methods,
        "fid": "off",
        **({"backbones": dict(setting.backbones)} if setting.backbones else {}),
        "tasks": tasks,
        "experiments": {"advice": {"backbones": [setting.backbone], "methods": list(grids), "tasks": list(tasks),
                                   "train": [budget.train]}},
    } | more  # fmt: skip


def as_config(rate: float, budget: Budget) -> float:
    """An optimizer's rate as a config has it, for a batch of 256, with three digits: what a person reads there."""
    return float(f"{rate * REFERENCE_BATCH / budget.batch:.3g}")


def images(setting: Setting) -> dict:
    """A study whose images are decoded, and no more."""
    return config_of(setting, Budget(SHORT, 8, "train"), "images", {"linear": RATES["linear"]}, seeds=list(SEEDS[:1]))


def probe(setting: Setting, budget: Budget) -> dict:
    return config_of(setting, budget, "probe", {"linear": RATES["linear"]}, seeds=list(SEEDS[:1]))


def prompted(length: int) -> dict:
    return {"prompts": {"placement": "deep", "lengths": "advice", "sets": {"advice": {"default": length}}}}


def rates(setting: Setting, budget: Budget, arms: Mapping[Arm, tuple[float, ...]], suffix: str = "") -> list[dict]:
    """Short schedules of every arm's rates: a study for each length of prompts, and the others in the first."""
    configs = []
    for length in sorted({arm.length for arm in arms if arm.length}) or [0]:
        first = not configs
        chosen = {a.method: r for a, r in arms.items() if a.length == length or (first and not a.length)}
        more = {"epochs": budget.short, "seeds": list(SEEDS[:1]), **(prompted(length) if length else {})}
        name = f"rates_{length}{suffix}" if length else f"rates{suffix}"
        configs.append(config_of(setting, budget, name, chosen, **more))
    return configs


def schedules(setting: Setting, budget: Budget, best: Mapping[Arm, tuple[float, ...]]) -> dict:
    """Full schedules of each method at each fold's best rate, and of a linear probe, which costs nothing, at all."""
    return _at(setting, budget, "schedules", best, {"linear": RATES["linear"]}, seeds=list(SEEDS[:1]))


def study(setting: Setting, budget: Budget, best: Mapping[Arm, tuple[float, ...]], sharing: bool = False) -> dict:
    """The study that is reported: the finalists and a linear probe under every seed, their models kept. `best` are each
    fold's rate.

    Without folds to keep the cores busy, each seed of a finalist is a job of its own where `sharing`.
    """
    jobs = len(budget.seeds) if sharing and not setting.has_folds else 1
    tuned = [arm.method for arm in best if arm.method != "linear"]
    shards = {"shards": {"final": jobs, "methods": tuned}} if jobs > 1 and tuned else {}
    return _at(setting, budget, setting.look.name, best, {}, results=setting.results, keep="best", **shards)


def as_text(config: Mapping) -> str:
    """A config as a person reads it: a line a key."""
    return "".join(
        f"{key}:\n" + "".join(f"  {name}: {_flow(inside)}\n" for name, inside in value.items())
        if key in ("methods", "tasks")
        else f"{key}: {_flow(value)}\n"
        for key, value in config.items()
    )


def _flow(value: object) -> str:
    text = yaml.safe_dump(value, default_flow_style=True, sort_keys=False, allow_unicode=True, width=10**6)
    return text.removesuffix("\n").removesuffix("\n...")


def _at(setting: Setting, budget: Budget, name: str, best: Mapping[Arm, tuple[float, ...]],
        whole: Mapping[str, tuple[float, ...]], **more) -> dict:  # fmt: skip
    """A study of methods at each fold's best rate, and of the `whole` grids of others."""
    length = max((arm.length for arm in best), default=0)
    prompts = prompted(length) if length else {}
    grids = {arm.method: tuple(sorted(set(rates))) for arm, rates in best.items()} | dict(whole)
    own = {arm.method: rates for arm, rates in best.items() if len(set(rates)) > 1}
    return config_of(setting, budget, name, grids, own, **prompts, **more)


def beyond(grid: tuple[float, ...], best: float) -> tuple[float, ...]:
    """Two more rates beyond the end of the grid that the best one is at, in its own steps; none inside.

    `best` may differ from the grid's in the fourth digit, as a config rounds it.
    """
    if len(grid) < 2:
        return ()
    ordered = sorted(grid)
    for end, inner in (ordered[:2], ordered[:-3:-1]):
        if abs(math.log(best / end)) < ROUNDED:
            return tuple(sorted(end * (end / inner) ** k for k in (1, 2)))
    return ()


@dataclass(frozen=True)
class Runs:
    """How often a finalist is trained: `seeds` in each of `folds`."""

    seeds: int
    folds: int = 1


def epoch_seconds(per_image: float, train: int, val: int, workers: float, runs: Runs) -> float:
    """What one epoch more of the full schedule costs in all rungs together.

    `per_image` are seconds of full fine-tuning, the dearest method; `train` and `val` images of a fold. Counted in
    trainings of a whole schedule: `TRIED` rates of every arm for a quarter, two rates of half the arms beyond an end,
    one of each method, and two methods under every seed on train and val.
    """
    tried = TRIED * len(ARMS) / SHORT
    edges, methods = len(ARMS) / SHORT, len({arm.method for arm in ARMS})
    on_train, on_all = tried + edges + methods, 2 * runs.seeds
    return runs.folds * per_image * (train * on_train + (train + val) * on_all) / workers


def epochs_within(seconds: float, epoch: float) -> int:
    """The longest full schedule that fits into so many seconds at `epoch` seconds an epoch; a multiple of four."""
    return SHORT * max(LEAST, min(25, int(seconds / epoch / SHORT)))
