"""The protocol `fair`: every method searched alike (the switch `tries: equal`).

In: a config. Out: the defaults that change under it: a grid of the same number of tries for every method, full
fine-tuning with layer decay, and grids that are extended beyond their edges.

    python -m pytest tests/vptstudy/config/test_fair.py
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

from vptcore.choices import ConfigError
from vptcore.models.methods_table import METHODS, Method, everything
from vptcore.training.protocol import PROTOCOLS, Protocol
from vptstudy.study import Study

# Ten learning rates a method, as many as the paper gives prompts, by what is trained and how. Two decays for all.
OF_BACKBONE = [0.01, 0.004, 0.002, 0.001, 0.0004, 0.0001, 0.00004, 0.00001, 0.000004, 0.000001]
OF_ADDED = [0.1, 0.04, 0.02, 0.01, 0.004, 0.002, 0.001, 0.0004, 0.0002, 0.0001]
BY_SGD = [50, 25, 10, 5, 2.5, 1, 0.5, 0.25, 0.1, 0.05]
DECAYS = [0.01, 0.0001]
LAYER_DECAY = 0.75  # as BEiT and MAE fine-tune ViT-B


def is_fair(config: Mapping) -> bool:
    """Whether a config, which may be no valid one, asks for equal tries."""
    switches = config.get("switches")
    said = switches.get("tries") if isinstance(switches, Mapping) else None
    return (said or ("equal" if config.get("protocol") == "fair" else "own")) == "equal"


def fair_defaults(methods: Mapping[str, Mapping]) -> dict:
    """What stands over the other defaults: `methods` with their grids, and `edges`."""
    return {"edges": "extend", "methods": {id: _searched(METHODS[id], setting) for id, setting in methods.items()}}


def _searched(row: Method, setting: Mapping) -> dict:
    changed = {**setting, "grid": fair_grid(row, PROTOCOLS["fair"])}
    return changed | ({"layer_decay": LAYER_DECAY} if row.id == "full" else {})


def fair_grid(row: Method, protocol: Protocol) -> dict[str, list[float]]:
    """The grid of a method: the prompts' rates under SGD, else AdamW's for the backbone or for what is added to it."""
    if row.optimizer_under(protocol) == "sgd":
        rates = BY_SGD
    else:
        rates = OF_BACKBONE if row.as_full or row.trains is everything else OF_ADDED
    return {"lr": list(rates), "weight_decay": list(DECAYS)}


def check_tries(study: Study) -> None:
    """Under equal tries every method of the study tries as many configurations. ConfigError."""
    if study.protocol.tries != "equal":
        return
    counts = defaultdict(set)
    for cell in study.searches:
        grid = study.grid(cell)
        counts[len(set(grid["lr"])) * len(set(grid["weight_decay"]))].add(cell.method)
    if len(counts) > 1:
        said = "; ".join(f"{tries} for {', '.join(sorted(methods))}" for tries, methods in sorted(counts.items()))
        raise ConfigError(
            f"protocol: the switch tries is equal, but the grids have {said}; give all methods as many, or take their "
            "grid out of methods: fair's own have 20"
        )
