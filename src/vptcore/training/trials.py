"""What a search tries, in its order: the grid, rates beyond its edge (`edges: extend`), and full schedules after the
short ones of a race (`search: racing`). Pure, torch-free: the audit repeats it.

In: a search's slice, and rows of what it has tried. Out: the trials that come next. One training is one trial; a
configuration keeps its number from the short schedule to the full one.

    python -m pytest tests/vptcore/training/test_racing.py
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import pandas as pd

from vptcore.training.edges import further_recipes
from vptcore.training.racing import shortened, survivors
from vptcore.training.recipe import Recipe, recipes_of


@dataclass(frozen=True)
class Trial:
    """One training of a search."""

    config: int
    recipe: Recipe

    @property
    def key(self) -> tuple[int, int]:
        """What tells it from the others of its search, as its row says it."""
        return self.config, self.recipe.epochs


def next_trials(job: Mapping, rows: pd.DataFrame | None = None) -> list[Trial]:
    """What a search tries after these rows, or first; nothing where it is over."""
    number, count = job.get("shard", (1, 1))
    if rows is None or rows.empty:
        return _numbered(job, recipes_of(job), 0)[number - 1 :: count]
    if further := further_recipes(job, rows) if count == 1 else []:
        return _numbered(job, further, int(rows["config"].max()) + 1)
    return _in_full(job, rows) if "racing" in job else []


def _numbered(job: Mapping, recipes: list[Recipe], first: int) -> list[Trial]:
    return [Trial(config, shortened(job, recipe)) for config, recipe in enumerate(recipes, first)]


def _in_full(job: Mapping, rows: pd.DataFrame) -> list[Trial]:
    """The full schedules that come next."""
    tried, whole = rows.drop_duplicates("config").set_index("config"), Recipe(**job["recipe"])
    return [
        Trial(config, replace(whole, optimizer=str(row["optimizer"]), lr=float(row["lr"]),
                              weight_decay=float(row["weight_decay"])))
        for config in survivors(job, rows) for row in [tried.loc[config]]
    ]  # fmt: skip


def trials_of(job: Mapping, rows: pd.DataFrame) -> list[Trial]:
    """Every trial of a search with these scores, up to the first that the rows lack and those tried beside it."""
    keys = list(zip(rows["config"], rows["epochs"], strict=True))
    found: dict[tuple[int, int], Trial] = {}
    while more := next_trials(job, rows[[key in found for key in keys]]):
        found |= {trial.key: trial for trial in more}
        if not {trial.key for trial in more} <= set(keys):
            break
    return list(found.values())
