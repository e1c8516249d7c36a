"""What `vptcore advise` would have said of recorded folders, and whether it was right: nothing is trained.

In: the file of `bench.advise_grids`. Its rows take the place of training; every decision is made by the functions that
`vptcore advise` calls (`vptstudy.advise.ladder`, `decide`). Out: one line a bar, with what was found; status 1 where
one is not met. Each split of a folder is replayed by itself, and where all are recorded the folder by folds.

    make advise-replay
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.special import stdtrit

from vptcore.analysis.paired import Contrast, chance_of_best, paired_difference
from vptstudy.advise import ladder
from vptstudy.advise.decide import Choice, decide
from vptstudy.advise.folds import FOLDS
from vptstudy.advise.ladder import Tried
from vptstudy.advise.rungs import RATES, SEEDS, Arm

FILE = Path(__file__).with_name("advise_grids.parquet")
LINEAR = Arm("linear")
DRAWS = 20  # folders drawn anew from the images outside, a recorded one
VAL_SIZES = (50, 200)  # and what a folder's own val has
SURE = 0.95
REGRET, COST, COVERAGE, RIGHT = 0.5, 0.40, 0.93, 0.93


def read(file: Path) -> pd.DataFrame:
    """The recorded rows, with the bits of right answers as arrays of 0 and 1."""
    rows = pd.read_parquet(file)
    for part in ("val", "test", "truth"):
        rows[f"{part}_right"] = [
            np.unpackbits(np.frombuffer(bits, np.uint8), count=int(count)).astype(float) if bits else None
            for bits, count in zip(rows[f"{part}_right"], rows[part].fillna(0), strict=True)
        ]
    return rows


@dataclass(frozen=True, eq=False)
class Recorded:
    """One folder: the rows of each of the splits that are looked at, a fold each."""

    name: str
    folds: tuple[pd.DataFrame, ...]
    spent: dict[tuple, float] = field(default_factory=dict)

    @cached_property
    def arms(self) -> dict[str, Arm]:
        found = sorted(set(self.folds[0]["arm"]))
        return {arm: Arm(method, int(length or 0)) for arm in found for method, _, length in [arm.partition("_")]}

    def tried(self, stage: str, arms: Mapping[Arm, Sequence[float]]) -> dict[Arm, Tried]:
        """As `matrices.tried`, of the rows of a stage at these rates in every fold; those that were not recorded, as
        they lie beyond an end that the whole grid does not stand at, are left out."""
        found = {}
        for arm, rates in arms.items():
            rates = [rate for rate in rates if all(len(self._at(fold, stage, arm, [rate])) for fold in self.folds)]
            if rates:
                found |= self.at(stage, {arm: [rates] * len(self.folds)})
        return found

    def at(self, stage: str, arms: Mapping[Arm, Sequence[Sequence[float]]]) -> dict[Arm, Tried]:
        """The same at the rates of each fold; what it cost is added to `spent`."""
        found = {}
        for arm, rates in arms.items():
            picked = [self._at(fold, stage, arm, own) for fold, own in zip(self.folds, rates, strict=True)]
            best = [_best(rows) for rows in picked]
            for number, rows in enumerate(picked):
                keys = zip([number] * len(rows), rows["stage"], rows["arm"], rows["rate"], rows["decay"], strict=True)
                self.spent.update(zip(keys, rows["gflop"], strict=True))
            found[arm] = Tried(
                tuple(sorted({float(rate) for rows in picked for rate in rows["rate"]})),
                tuple(float(row["rate"]) for row in best), tuple(row["val_right"] for row in best),
                int(best[0]["tuned"]),
            )  # fmt: skip
        return found

    def _at(self, fold: pd.DataFrame, stage: str, arm: Arm, rates: Sequence[float]) -> pd.DataFrame:
        of_arm = fold[(fold["stage"] == stage) & (fold["arm"] == arm.id)]
        return of_arm[[bool(np.isclose(rate, rates, rtol=1e-6).any()) for rate in of_arm["rate"]]]

    def truth_of(self, arm: str, rates: Sequence[float]) -> float:
        """Accuracy outside the folder of one method's best on val, in the mean of the folds."""
        rows = [_best(self._at(fold, "full", self.arms[arm], [rate]))
                for fold, rate in zip(self.folds, rates, strict=True)]  # fmt: skip
        return float(np.mean([row["truth_right"].mean() for row in rows]))

    def finals(self, part: str) -> dict[str, np.ndarray]:
        """Arm -> right answers (seeds, images) of its finals; the images of all folds beside each other."""
        found = {}
        for arm in self.arms:
            folds = [self._seeds(fold, arm, part) for fold in self.folds]
            if all(len(side) for side in folds):
                found[arm] = np.concatenate(folds, axis=1)
        return found

    def _seeds(self, fold: pd.DataFrame, arm: str, part: str) -> np.ndarray:
        rows = fold[(fold["stage"] == "final") & (fold["arm"] == arm)]
        if arm == LINEAR.id and len(rows):
            whole = _best(fold[(fold["stage"] == "full") & (fold["arm"] == arm)])
            rows = rows[(rows["rate"] == whole["rate"]) & (rows["decay"] == whole["decay"])]
        return np.stack(rows.sort_values("seed")[f"{part}_right"].tolist()) if len(rows) else np.empty((0, 0))

    @property
    def whole_cost(self) -> float:
        """Every arm at every rate on the full schedule."""
        of_grid = [fold[(fold["stage"] == "full") & _on_grid(fold)] for fold in self.folds]
        return float(sum(rows["gflop"].sum() for rows in of_grid))

    @property
    def whole_truth(self) -> float:
        """Accuracy outside the folder of what is best on val in the whole grid."""
        return float(np.mean([_best(fold[fold["stage"] == "full"])["truth_right"].mean() for fold in self.folds]))


def _on_grid(rows: pd.DataFrame) -> np.ndarray:
    return np.array([
        bool(np.isclose(rate, RATES[arm.partition("_")[0]], rtol=1e-6).any())
        for arm, rate in zip(rows["arm"], rows["rate"], strict=True)
    ])  # fmt: skip


def _best(rows: pd.DataFrame) -> pd.Series:
    """As `vptcore.training.choose`; among arms of equal accuracy the one that tunes fewer numbers."""
    usable = rows[~rows["diverged"]].assign(accuracy=lambda frame: [right.mean() for right in frame["val_right"]])
    order = usable.sort_values(
        ["accuracy", "tuned", "rate", "decay"], ascending=[False, True, True, True], kind="stable"
    )
    return order.iloc[0]


@dataclass(frozen=True)
class Advice:
    """What was said of one folder, and what is true of it, in points. `always` are {method: its regret if it is taken
    unseen}, at the rates that the search found."""

    name: str
    take: str
    choice: Choice
    surest_is_best: bool | None
    regret: float
    search_regret: float
    cost: float
    cost_with_finals: float
    contrast: Contrast | None
    covered: dict[tuple[str, str], bool]
    always: dict[str, float]


def replay(recorded: Recorded) -> Advice:
    """One folder, decision by decision."""
    found = ladder.better_length(ladder.search(lambda arms, _: recorded.tried("short", arms)))
    best = {arm: [(rate,) for rate in one.best] for arm, one in found.items()}
    full = recorded.at("full", best) | recorded.tried("full", {LINEAR: RATES["linear"]})
    choice = ladder.finalists(full)
    tests, truths = recorded.finals("test"), recorded.finals("truth")
    finals = {arm: tests[arm] for arm in choice.finalists if arm in tests}
    verdict = decide(finals, ladder.cost_of(full), ladder.FREE)
    truth = {arm.id: recorded.truth_of(arm.id, one.best) for arm, one in full.items()}
    surest = max(choice.chances, key=choice.chances.get)
    sure = choice.chances[surest] >= SURE
    searched, whole = sum(recorded.spent.values()), recorded.whole_cost
    on_finals = {arm: _final_cost(recorded, arm) for arm in tests}
    return Advice(
        recorded.name, verdict.take, choice, truth[surest] >= max(truth.values()) if sure else None,
        100 * (recorded.whole_truth - truth[verdict.take]),
        100 * (recorded.whole_truth - truth[choice.finalists[0]]), searched / whole,
        (searched + sum(on_finals[arm] for arm in finals)) / (whole + sum(on_finals.values())),
        verdict.contrast, {pair: _covers(tests, truths, pair) for pair in _pairs(tests)},
        {arm.method: 100 * (recorded.whole_truth - truth[arm.id]) for arm in full},
    )  # fmt: skip


def _final_cost(recorded: Recorded, arm: str) -> float:
    """Of all seeds that `advise` runs, by those that are recorded."""
    of_arm = [fold[(fold["stage"] == "final") & (fold["arm"] == arm)]["gflop"] for fold in recorded.folds]
    return float(sum(costs.mean() for costs in of_arm)) * len(SEEDS)


def _pairs(tests: Mapping[str, np.ndarray]) -> list[tuple[str, str]]:
    arms = sorted(tests)
    return [(a, b) for place, a in enumerate(arms) for b in arms[place + 1 :]]


def _covers(tests: Mapping, truths: Mapping, pair: tuple[str, str]) -> bool:
    """Whether the difference outside the folder lies within the interval, widened by what is not known of it either:
    it is the mean of some hundred images."""
    a, b = pair
    said = paired_difference(tests[a], tests[b])
    gap_N = truths[a].mean(0) - truths[b].mean(0)
    error = math.sqrt(said.variance + gap_N.var(ddof=1) / len(gap_N))
    freedom = said.freedom if said.freedom > 0 else len(gap_N) - 1
    return abs(said.difference - gap_N.mean()) <= stdtrit(freedom, 0.975) * error + 1e-9


def drawn_coverage(recorded: Recorded, rng: np.random.Generator) -> list[bool]:
    """Of intervals from test sets drawn from the images outside, seeds drawn too, whose true difference is known."""
    tests, truths = recorded.finals("test"), recorded.finals("truth")
    found = []
    for a, b in _pairs(truths):
        truth, images = truths[a].mean() - truths[b].mean(), tests[a].shape[1]
        for _ in range(DRAWS):
            columns = rng.integers(truths[a].shape[1], size=images)
            drawn = [side[rng.integers(len(side), size=len(SEEDS))][:, columns] for side in (truths[a], truths[b])]
            said = paired_difference(*drawn)
            found.append(bool(said.low - 1e-9 <= truth <= said.high + 1e-9))
    return found


def drawn_sureness(recorded: Recorded, rng: np.random.Generator) -> list[bool]:
    """Of P(best) >= .95 on val images drawn from those outside: whether that arm is the best there."""
    found = []
    for fold in recorded.folds:
        rows = [_best(fold[(fold["stage"] == "full") & (fold["arm"] == arm)]) for arm in recorded.arms]
        truth = {row["arm"]: row["truth_right"] for row in rows}
        for images in (len(rows[0]["val_right"]), *VAL_SIZES) * DRAWS:
            columns = rng.integers(len(next(iter(truth.values()))), size=images)
            chances = chance_of_best({arm: right[columns] for arm, right in truth.items()}, repeats=500)
            surest = max(chances, key=chances.get)
            if chances[surest] >= SURE:
                found.append(truth[surest].mean() >= max(right.mean() for right in truth.values()))
    return found


def folders(rows: pd.DataFrame) -> Iterator[tuple[Recorded, bool]]:
    """Each split by itself, and the splits of a folder together where there are all of them (True)."""
    for (name, folder), of_folder in rows.groupby(["set", "folder"], sort=True):
        folds = tuple(fold for _, fold in of_folder.groupby("split"))
        for number, fold in enumerate(folds):
            yield Recorded(f"{name}/{folder}/{number}", (fold,)), False
        if len(folds) == FOLDS:
            yield Recorded(f"{name}/{folder}", folds), True


@dataclass(frozen=True)
class Bar:
    """One line of the outcome: what was found, what is asked, and of how many."""

    what: str
    found: float
    asked: float
    of: int
    at_most: bool = False

    @property
    def met(self) -> bool:
        return not self.of or (self.found <= self.asked if self.at_most else self.found >= self.asked)

    def line(self) -> str:
        sign, unit = ("≤", " points") if self.at_most and self.asked == REGRET else ("≤" if self.at_most else "≥", " %")
        scale = 1 if unit == " points" else 100
        told = f"{scale * self.found:.1f}{unit}" if self.of else "none"
        asked, met = f"{sign} {scale * self.asked:g}{unit}", "yes" if self.met else "NO"
        met = met if self.of else "not seen"
        return f"| {self.what} | {told} | {asked} | {self.of:,} | {met} |"


def bars(advices: Sequence[Advice], covered: Sequence[bool], sure: Sequence[bool], how: str) -> list[Bar]:
    def mean(values: Sequence[bool]) -> float:
        return float(np.mean(values)) if len(values) else math.nan

    said = [one.surest_is_best for one in advices if one.surest_is_best is not None]
    pairs = [inside for one in advices for inside in one.covered.values()]

    def middle(values: Sequence[float]) -> float:
        return float(np.median(values))

    number = len(advices)
    return [
        Bar(f"median regret, {how}", middle([one.regret for one in advices]), REGRET, number, True),
        Bar(f"the search alone, {how}", middle([one.search_regret for one in advices]), REGRET, number, True),
        Bar(f"training in the whole grid's, {how}", mean([one.cost for one in advices]), COST, number, True),
        Bar(f"interval holds the difference on the images outside, {how}", mean(pairs), COVERAGE, len(pairs)),
        Bar(f"interval holds it, test sets drawn from them, {how}", mean(covered), COVERAGE, len(covered)),
        Bar(f"P ≥ .95 is right, {how}", mean(said), RIGHT, len(said)),
        Bar(f"P ≥ .95 is right, val sets drawn from them, {how}", mean(sure), RIGHT, len(sure)),
    ]  # fmt: skip


def outcome(rows: pd.DataFrame) -> tuple[list[Bar], list[Advice]]:
    rng = np.random.default_rng(0)
    by_kind: dict[bool, list[Recorded]] = {False: [], True: []}
    for recorded, is_folds in folders(rows):
        by_kind[is_folds].append(recorded)
    found, all_advices = [], []
    for is_folds, group in by_kind.items():
        if group:
            advices = [replay(recorded) for recorded in group]
            covered = [inside for recorded in group for inside in drawn_coverage(recorded, rng)]
            sure = [] if is_folds else [right for recorded in group for right in drawn_sureness(recorded, rng)]
            told = bars(advices, covered, sure, "by folds" if is_folds else "one split")
            found += told[:-1] if is_folds else told  # val sets are drawn for each split by itself
            all_advices += advices
    return found, all_advices


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path, nargs="?", default=FILE)
    parser.add_argument("--each", action="store_true", help="also a line a folder")
    options = parser.parse_args()
    found, advices = outcome(read(options.file))
    if options.each:
        for one in advices:
            regrets = f"regret {one.regret:+.1f} (of the search {one.search_regret:+.1f})"
            print(f"{one.name}: {one.take} of {one.choice.finalists}, {regrets}, cost {one.cost:.0%}")
    print("| what | found | asked | of | met |\n|---|---|---|---|---|")
    print("\n".join(bar.line() for bar in found))
    regrets = np.array([one.regret for one in advices])
    print(f"\nRegret: mean {regrets.mean():.1f}, nine in ten below {np.quantile(regrets, 0.9):.1f} points")
    always = pd.DataFrame([one.always for one in advices]).mean().sort_values()
    print("Mean regret of one method taken unseen:", ", ".join(f"{name} {value:.1f}" for name, value in always.items()))
    with_finals = np.mean([one.cost_with_finals for one in advices])
    print(f"Training with the finals, of the chosen two and of all methods beside the grid: {with_finals:.0%}")
    return 0 if all(bar.met for bar in found) else 1


if __name__ == "__main__":
    raise SystemExit(main())
