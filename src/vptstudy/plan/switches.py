"""What each switch of a config would save or cost, each on its own against the plan as it stands.

In: a config and a way to count GPU seconds of one. Out: `Switch` rows with the difference.

    python -m pytest tests/vptstudy/plan/test_estimate.py
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from vptcore.choices import ConfigError
from vptstudy.plan.race import RISK

MAX_TEST = 100_000  # more test images than any task that ships has


@dataclass(frozen=True)
class Switch:
    """`keys` is what to write into the config; `loses` says in a few words what is given up, or gained."""

    keys: str
    loses: str
    gpu_seconds: float


def switches(config: Mapping, gpu_seconds: Callable[[Mapping], float]) -> list[Switch]:
    """Every switch that applies, largest saving first; differences are negative where a switch saves."""
    now, found = gpu_seconds(config), []
    for keys, loses, changed in _changes(config):
        try:
            found.append(Switch(keys, loses, gpu_seconds(changed) - now))
        except ConfigError:  # what this switch leaves out is needed by something else in this config
            continue
    return sorted((s for s in found if abs(s.gpu_seconds) > 1e-6), key=lambda s: s.gpu_seconds)


def _changes(config: Mapping) -> Iterator[tuple[str, str, dict]]:
    seeds, curves = config["seeds"], config["curves"]
    if curves["seeds"]:
        without = _with(config, "curves", {**curves, "seeds": 0})
        yield "curves: {seeds: 0}", "no test loss in Figures 5, 6, 9-13", without
        every = _with(config, "curves", {"seeds": "all", "images": MAX_TEST})
        yield f"curves: {{seeds: all, images: {MAX_TEST}}}", "curves on every test image, as the authors' code", every
    if curves["seeds"] not in ("all", len(seeds)):
        every = _with(config, "curves", {**curves, "seeds": "all"})
        yield "curves: {seeds: all}", "test curves of every seed", every
    if len(seeds) > 3:
        told = f"wider intervals: 3 runs in place of {len(seeds)}"
        yield f"seeds: {seeds[:3]}", told, _with(config, "seeds", seeds[:3])
    regrid = not config["regrid"]
    told = "each size searched anew" if regrid else f"other sizes reuse the recipe of {config['base_train']}"
    yield f"regrid: {str(regrid).lower()}", told, _with(config, "regrid", regrid)
    if config.get("search", {}).get("kind") == "racing":
        yield "search: grid", "every configuration trained in full", _with(config, "search", {"kind": "grid"})
    else:
        raced = _with(config, "search", {"kind": "racing"})
        yield "search: racing", f"short schedules first, full ones for the best: {RISK}", raced
    yield from _grids(config)
    if config["protocol"] == "paper":
        fixed = _with(config, "switches", {**config["switches"], "full_decay": "fixed"})
        yield "switches: {full_decay: fixed}", "FT's distinct settings under the authors' AdamW: 8 of 16", fixed
        watch = _with(config, "switches", {**config["switches"], "val_every_epoch": True})
        yield "switches: {val_every_epoch: true}", "val after every epoch, which no number is read from", watch
    for name in config["prompts"]["sets"]:
        if name != config["prompts"]["lengths"]:
            prompts = _with(config["prompts"], "lengths", name)
            yield f"prompts: {{lengths: {name}}}", "other prompt lengths", _with(config, "prompts", prompts)
    yield from _left_out(config)


def _grids(config: Mapping) -> Iterator[tuple[str, str, dict]]:
    """Every other learning rate of the study's long grids, and one weight decay."""
    methods = copy.deepcopy(dict(config["methods"]))
    used = {method for experiment in config["experiments"].values() for method in experiment["methods"]}
    thinned = [m for m, setting in methods.items() if m in used and len(setting["grid"]["lr"]) >= 8]
    for method in thinned:
        methods[method]["grid"]["lr"] = sorted(methods[method]["grid"]["lr"], reverse=True)[::2]
    if thinned:
        told = f"a coarser search: every other learning rate of {', '.join(thinned)}"
        yield "methods: half the learning rates", told, _with(config, "methods", methods)
    decayed = copy.deepcopy(dict(config["methods"]))
    if any(len(setting["grid"]["weight_decay"]) > 1 for setting in decayed.values()):
        for setting in decayed.values():
            setting["grid"]["weight_decay"] = sorted(setting["grid"]["weight_decay"])[:1]
        told = "weight decay not searched: the smallest value alone"
        yield "methods: one weight decay", told, _with(config, "methods", decayed)


def _left_out(config: Mapping) -> Iterator[tuple[str, str, dict]]:
    """The largest train size, and each experiment but the first, left out."""
    experiments = copy.deepcopy(dict(config["experiments"]))
    sizes = {int(t) for e in experiments.values() for t in e["train"] if str(t).isdigit()} - {config["base_train"]}
    if sizes:
        largest = max(sizes)
        for experiment in experiments.values():
            experiment["train"] = [t for t in experiment["train"] if str(t) != str(largest)]
        kept = {name: e for name, e in experiments.items() if e["train"]}
        yield (
            f"no train size {largest:,}",
            "its rows in the tables and figures by size",
            _with(config, "experiments", kept),
        )
    for name in list(config["experiments"])[1:]:
        kept = {n: e for n, e in config["experiments"].items() if n != name}
        yield f"no experiment {name}", "its tables and figures", _with(config, "experiments", kept)


def _with(config: Mapping, key: str, value: object) -> dict:
    return {**config, key: value}
