"""A grid raced (`search: racing`): every configuration on a short schedule, the best of them on the full one. Pure,
torch-free: the audit repeats it.

In: a search's slice, whose key `racing` has the epochs and the warm-up of a short schedule and how many go on, and the
rows of what it has tried. Out: recipes and configurations. A short schedule is complete: it has a warm-up and a cosine
of its own. The first epochs of a full one do not tell the rates apart. Where weight decay changes nothing, as at small
rates of AdamW, all decays of one rate score alike: they would take every place, and the other rates none.

    python -m pytest tests/vptcore/training/test_racing.py
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

import pandas as pd

from vptcore.training.choose import longest, ranked
from vptcore.training.recipe import Recipe

SHORT, KEEP = 0.25, 0.25  # of the epochs, and of the configurations
LEAST = 2  # that go on


def short_epochs(epochs: int, share: float = SHORT) -> int:
    """Epochs of a short schedule; at least one."""
    return max(1, round(epochs * share))


def how_many(configurations: int, share: float = KEEP) -> int:
    """Configurations of a grid that go on to the full schedule."""
    return max(LEAST, math.ceil(round(configurations * share, 9)))


def shortened(job: Mapping, recipe: Recipe) -> Recipe:
    """The recipe on the short schedule of a race; as it is, where there is none."""
    race = job.get("racing")
    return replace(recipe, epochs=race["epochs"], warmup=race["warmup"]) if race else recipe


def in_order(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows as `ranked` has them; of the decays of a rate that score alike, all but the smallest come last."""
    order = ranked(rows)
    again = order.duplicated(["optimizer", "lr", "val_accuracy"])
    return pd.concat([order[~again], order[again]])


def survivors(job: Mapping, rows: pd.DataFrame) -> list[int]:
    """Configurations whose full schedule comes next: the best on short ones that have none yet, in order.

    Where all that went on diverged, the next best go on. Nothing where the race is over, or all diverged.
    """
    full = rows["epochs"] == job["recipe"]["epochs"]
    done = set(rows.loc[full, "config"])
    order, many = in_order(rows[~full])["config"].tolist(), job["racing"]["keep"]
    left = [config for config in order[:many] if config not in done]
    if not left and done and longest(rows)["diverged"].all():
        left = [config for config in order if config not in done][:many]
    return sorted(left)
