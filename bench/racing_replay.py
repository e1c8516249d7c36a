"""What `search: racing` would have chosen of recorded grids, and what that costs: nothing is trained.

In: the files of `bench.racing_grids` and `bench.advise_grids`. Their rows take the place of training; what is tried and
what is chosen is decided by the functions that a search calls (`vptcore.training.trials`, `choose`). Out: a table by
how many configurations go on, and the sentence that `vptcore plan` says of the risk.

    python -m bench.racing_replay
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from vptcore.training.choose import choose
from vptcore.training.racing import KEEP, how_many
from vptcore.training.trials import trials_of

FILE, ADVICE = (Path(__file__).with_name(f"{name}_grids.parquet") for name in ("racing", "advise"))
LIKE_THE_STUDY = {
    ("study", "vpt"): "VPT: 40 configurations, 100 epochs, 200 val images",
    ("study", "full"): "full fine-tuning: 16 configurations, 100 epochs, 200 val images",
}
SMALLER = {
    ("small", ""): "12 configurations, 24 epochs, 40 val images",
    ("advice", ""): "5 or 6 rates, 8 epochs, 10 to 26 val images",
}
NAMES = LIKE_THE_STUDY | SMALLER  # by the kind of grid and, where it matters, the method
SHARES = (0.0, KEEP, 0.5)
SCORES = ["config", "optimizer", "lr", "weight_decay", "epochs", "val_accuracy", "diverged"]
KEPT = [*SCORES, "outside", "gflop"]


@dataclass(frozen=True, eq=False)
class Recorded:
    """One method's grid on one set of images: rows of both schedules, each with its accuracy outside and its cost."""

    name: str
    rows: pd.DataFrame

    @property
    def configurations(self) -> int:
        return self.rows["config"].nunique()

    @cached_property
    def full(self) -> pd.DataFrame:
        return self.rows[self.rows["epochs"] == self.rows["epochs"].max()]

    @cached_property
    def whole(self) -> pd.Series:
        """What the whole grid chooses."""
        return choose(self.full)

    def job(self, keep: int) -> dict:
        """What of a search's slice decides which trials come next."""
        full, short = self.rows["epochs"].max(), self.rows["epochs"].min()
        grid = {name: sorted(self.rows[name].unique()) for name in ("lr", "weight_decay")}
        recipe = {"optimizer": "sgd", "lr": 0.0, "weight_decay": 0.0, "batch": 1, "epochs": int(full), "warmup": 0}
        return {"recipe": recipe, "grid": grid, "racing": {"epochs": int(short), "warmup": 0, "keep": keep}}


def _accuracy(bits: bytes, count: float) -> float:
    return float(np.unpackbits(np.frombuffer(bits, np.uint8), count=int(count)).mean()) if bits else np.nan


def of_advice(file: Path = ADVICE) -> pd.DataFrame:
    """The grids of a recording for `vptcore advise`, with the rates that have both schedules."""
    rows = pd.read_parquet(file).rename(columns={"arm": "method", "rate": "lr", "decay": "weight_decay"})
    rows = rows[rows["stage"].isin(["short", "full"]) & (rows["method"] != "linear")]
    rows["set"] = [f"{name}/{folder}/{split}" for name, folder, split in rows[["set", "folder", "split"]].to_numpy()]
    rows = rows[rows.groupby(["set", "method", "lr", "weight_decay"])["stage"].transform("nunique") == 2]
    return rows.assign(kind="advice", config=rows.groupby(["set", "method"])["lr"].rank("dense").astype(int) - 1)


def grids(*recordings: pd.DataFrame) -> dict[str, list[Recorded]]:
    """Every method's whole grid of some recordings, by the kind of grid; of the two that are here, where none is
    given."""
    rows = pd.concat(recordings or [pd.read_parquet(FILE), of_advice()], ignore_index=True).assign(optimizer="sgd")
    for part, column in (("val", "val_accuracy"), ("truth", "outside")):
        rows[column] = [_accuracy(*pair) for pair in zip(rows[f"{part}_right"], rows[part].fillna(0), strict=True)]
    found: dict[str, list[Recorded]] = {name: [] for name in NAMES.values()}
    for (kind, name, method), mine in rows.groupby(["kind", "set", "method"]):
        found[NAMES.get((kind, method)) or NAMES[kind, ""]].append(Recorded(f"{name}/{method}", mine[KEPT]))
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
    rows, whole = recorded.rows, recorded.whole
    trials = {trial.key for trial in trials_of(recorded.job(keep), rows[SCORES])}
    tried = rows[[key in trials for key in zip(rows["config"], rows["epochs"], strict=True)]]
    found = choose(tried)
    return Raced(
        recorded.name, bool(found["config"] == whole["config"]),
        100 * float(whole["val_accuracy"] - found["val_accuracy"]), 100 * float(whole["outside"] - found["outside"]),
        1 - float(tried["gflop"].sum() / recorded.full["gflop"].sum()),
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


def _lost(raced: Sequence[Raced]) -> tuple[str, float, float]:
    """How often another configuration was chosen, and the mean points lost on val and outside."""
    val, outside = (float(np.mean([getattr(one, name) for one in raced])) for name in ("val", "outside"))
    return f"{np.mean([not one.same for one in raced]):.0%}", val, outside


def risk(study: Sequence[Raced], smaller: Sequence[Raced]) -> str:
    """The sentence of `vptstudy.plan.race`, by races of grids like the study's and of smaller ones."""
    (other, val, outside), (others, less, least) = _lost(study), _lost(smaller)
    return (
        f"on {len(study)} recorded grids like the study's it chose another configuration in {other}, for {val:.1f} "
        f"points less on val and {outside:.1f} on images outside, on average; on {len(smaller)} smaller ones in "
        f"{others}, for {less:.1f} and {least:.1f}"
    )


def risk_of(found: Mapping[str, Sequence[Recorded]]) -> str:
    """The sentence, of all that is recorded."""
    study, smaller = (
        [raced for name in kinds.values() for raced in races(found[name], KEEP)] for kinds in (LIKE_THE_STUDY, SMALLER)
    )
    return risk(study, smaller)


def table(found: Mapping[str, Sequence[Recorded]]) -> list[str]:
    head = "| grids | go on | of | the grid's own choice | val lost | outside lost | training saved |"
    lines = [line(name, share, races(kind, share)) for name, kind in found.items() for share in SHARES]
    return [head, "|---|---|---|---|---|---|---|", *lines]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.parse_args()
    found = grids()
    print("\n".join(table(found)))
    print(f"\nrisk of racing: {risk_of(found)}")


if __name__ == "__main__":
    main()
