"""What `search: racing` would have chosen of recorded grids, and what that costs: nothing is trained.

In: the file of `bench.racing_grids`. Its rows take the place of training; what is tried and what is chosen is decided
by the functions that a search calls (`vptcore.training.trials`, `choose`). Out: a table by how many configurations go
on, and the sentence that `vptcore plan` says of the risk.

    python -m bench.racing_replay
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from vptcore.training.choose import choose
from vptcore.training.racing import KEEP, how_many
from vptcore.training.trials import trials_of

FILE = Path(__file__).with_name("racing_grids.parquet")
NAMES = {24: "12 configurations, 24 epochs, 40 val images", 8: "5 or 6 rates, 8 epochs, 10 to 26 val images"}
SHARES = (0.0, KEEP, 0.5)
SCORES = ["config", "optimizer", "lr", "weight_decay", "epochs", "val_accuracy", "diverged"]


@dataclass(frozen=True, eq=False)
class Recorded:
    """One method's grid on one set of images: rows of both schedules, each with its accuracy outside and its cost."""

    name: str
    rows: pd.DataFrame

    @property
    def configurations(self) -> int:
        return self.rows["config"].nunique()

    def job(self, keep: int) -> dict:
        """What of a search's slice decides which trials come next."""
        full, short = self.rows["epochs"].max(), self.rows["epochs"].min()
        grid = {name: sorted(self.rows[name].unique()) for name in ("lr", "weight_decay")}
        recipe = {"optimizer": "sgd", "lr": 0.0, "weight_decay": 0.0, "batch": 1, "epochs": int(full), "warmup": 0}
        return {"recipe": recipe, "grid": grid, "racing": {"epochs": int(short), "warmup": 0, "keep": keep}}


def _accuracy(bits: bytes, count: float) -> float:
    return float(np.unpackbits(np.frombuffer(bits, np.uint8), count=int(count)).mean()) if bits else np.nan


def grids(file: Path = FILE) -> dict[str, list[Recorded]]:
    """Every method's whole grid of a recording, by the kind of grid."""
    rows = pd.read_parquet(file).assign(optimizer="sgd")
    for part, column in (("val", "val_accuracy"), ("truth", "outside")):
        rows[column] = [_accuracy(*pair) for pair in zip(rows[f"{part}_right"], rows[part].fillna(0), strict=True)]
    found: dict[str, list[Recorded]] = {name: [] for name in NAMES.values()}
    for name, mine in rows.groupby(["set", "method"]):
        found[NAMES[int(mine["epochs"].max())]].append(Recorded("/".join(name), mine))
    return {name: kind for name, kind in found.items() if kind}


@dataclass(frozen=True)
class Raced:
    """One race against its whole grid; losses in points, `saved` as a share of the grid's training."""

    name: str
    same: bool
    val: float
    outside: float
    saved: float


def replay(recorded: Recorded, keep: int) -> Raced:
    rows = recorded.rows
    full = rows[rows["epochs"] == rows["epochs"].max()]
    trials = {trial.key for trial in trials_of(recorded.job(keep), rows[SCORES])}
    tried = rows[[key in trials for key in zip(rows["config"], rows["epochs"], strict=True)]]
    found, whole = choose(tried), choose(full)
    return Raced(
        recorded.name, bool(found["config"] == whole["config"]),
        100 * float(whole["val_accuracy"] - found["val_accuracy"]), 100 * float(whole["outside"] - found["outside"]),
        1 - float(tried["gflop"].sum() / full["gflop"].sum()),
    )  # fmt: skip


def races(found: Sequence[Recorded], share: float) -> list[Raced]:
    """Each grid raced by a share that goes on; 0 is one configuration alone, as `vptcore advise` has it."""
    return [replay(one, how_many(one.configurations, share) if share else 1) for one in found]


def line(what: str, share: float, raced: Sequence[Raced]) -> str:
    same = np.mean([one.same for one in raced])
    val, outside = (np.array([getattr(one, name) for one in raced]) for name in ("val", "outside"))
    saved = np.mean([one.saved for one in raced])
    goes = f"{share:g} of them" if share else "the best"
    return (
        f"| {what} | {goes} | {len(raced)} | {same:.0%} | {np.median(val):.1f}, {val.mean():.1f}, {val.max():.1f} | "
        f"{np.median(outside):.1f}, {outside.mean():.1f}, {outside.max():.1f} | {saved:.0%} |"
    )


def risk(raced: Sequence[Raced]) -> str:
    """The sentence of `vptstudy.plan.race`."""
    other = np.mean([not one.same for one in raced])
    val, outside = (np.mean([getattr(one, name) for one in raced]) for name in ("val", "outside"))
    return (
        f"on {len(raced)} recorded grids it chose another configuration in {other:.0%}, for {val:.1f} points less on "
        f"val and {outside:.1f} on images outside, on average"
    )


def table(found: Mapping[str, Sequence[Recorded]]) -> list[str]:
    head = "| grids | go on | of | the grid's own choice | val lost | outside lost | training saved |"
    lines = [line(name, share, races(kind, share)) for name, kind in found.items() for share in SHARES]
    return [head, "|---|---|---|---|---|---|---|", *lines]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path, nargs="?", default=FILE)
    found = grids(parser.parse_args().file)
    print("\n".join(table(found)))
    print(f"\nrisk of racing: {risk([one for kind in found.values() for one in races(kind, KEEP)])}")


if __name__ == "__main__":
    main()
