"""The paper's printed numbers, what is known of them, and how ours compare.

In: published/published.csv and published/slips.csv. Out: frames with this project's ids, and a verdict for one number
beside ours.

    python -m pytest tests/vptcore/analysis/test_published.py
"""

from __future__ import annotations

import math
from functools import cache
from pathlib import Path

import pandas as pd
from scipy.special import bdtrc

from vptcore.analysis.statistics import LEVEL, Estimate

FOLDER = Path(__file__).resolve().parents[3] / "published"
WHERE = ["table", "backbone", "method", "train", "group", "task", "metric"]
# `style` is how the paper sets the number: bold, underlined, or neither.
PUBLISHED_COLUMNS = [*WHERE, "value", "printed", "wins", "style"]
SLIPS_COLUMNS = [*WHERE, "kind", "printed", "should_be", "why"]
# What a verdict can be. Where a number has no spread (tuned / total, prompt length) it is equal or different.
WITHIN, OUTSIDE, NOT_RUN, NO_INTERVAL = "within", "outside", "not run", "no interval"
EQUAL, DIFFERENT, NOISY = "equal", "different", "too noisy"
RUNS = 5  # a printed accuracy is a mean of so many runs (paper §4.1)
# Half the width of an interval, in points, from which on nearly any printed number would lie in it: seeds that end at
# chance now and then.
TOO_WIDE = 10.0
# What is known of a printed number before ours is looked at. No rounding of the cells it comes from gives a slip; a
# doubt is possible, but unlikely, or printed otherwise elsewhere; of another definition is what was measured otherwise.
SLIP, DOUBT, DEFINITION = "slip", "doubt", "another definition"
KNOWN = (SLIP, DOUBT, DEFINITION)
# A mean of the paper over other tasks than ours: shown, and not compared.
OTHER_TASKS = "other tasks"


@cache
def read_published(folder: Path = FOLDER) -> pd.DataFrame:
    """The printed numbers: `value` in percent, tokens or FID, `train` an id of a study. Not to be changed in place."""
    frame = _read(folder / "published.csv")
    frame["train"] = frame["train_samples"].replace("one-shot", "one_shot")
    frame["value"] = pd.to_numeric(frame["value"])
    frame["wins"] = pd.to_numeric(frame["wins"])
    return frame[PUBLISHED_COLUMNS]


@cache
def read_slips(folder: Path = FOLDER) -> pd.DataFrame:
    """Cells whose printed number is no plain answer: `kind` is one of KNOWN; `should_be` is NaN if nobody can say."""
    frame = _read(folder / "slips.csv")
    frame["should_be"] = pd.to_numeric(frame["should_be"])
    return frame[SLIPS_COLUMNS]


def printed_table(number: int, backbone: str) -> pd.DataFrame:
    """The printed cells of one table: WHERE, value, printed, wins, style; of those in slips.csv kind, should_be, why.

    What is known of a number of wins is in `wins_kind` and `wins_why`, beside the mean that it is printed with.
    """
    cells = read_published().query("table == @number and backbone == @backbone")
    slips = read_slips().drop(columns="printed")
    wins = slips[slips.metric == "wins"].assign(metric="accuracy").drop(columns="should_be")
    return cells.merge(slips, on=WHERE, how="left").merge(
        wins.rename(columns={"kind": "wins_kind", "why": "wins_why"}), on=WHERE, how="left"
    )


def half_a_unit(printed: str) -> float:
    """Half a unit of the last digit that is printed: 0.05 for '64.5', 0.5 for '100'."""
    return 0.5 * 10.0 ** -len(_digits(printed).partition(".")[2])


def _digits(printed: str) -> str:
    """'79.53' of '79.53(6)', which has the wins in brackets, and '44.5' of '44.5%'."""
    return printed.partition("(")[0].strip().rstrip("%")


def verdict(printed: str, ours: Estimate, *, known: str = "", spread: bool = True) -> str:
    """Where a number, as the paper prints it ('64.5', '87.9%'), stands beside ours, in the same unit.

    `within`: the printed number, give or take half a unit of its last printed digit, lies in the 95 % interval for the
    mean of five further runs. Of an interval that is TOO_WIDE nothing follows. What is `known` of the number (one of
    KNOWN) is so whatever ours is.
    """
    value, half_unit = float(_digits(printed)), half_a_unit(printed) + 1e-9
    if known:
        return known
    if ours.n == 0:
        return NOT_RUN
    if not spread:
        return EQUAL if abs(value - ours.mean) <= half_unit else DIFFERENT
    if math.isnan(ours.low):
        return NO_INTERVAL
    low, high = of_further_runs(ours)
    if high - low > 2 * TOO_WIDE:
        return NOISY
    return WITHIN if low - half_unit <= value <= high + half_unit else OUTSIDE


def of_further_runs(ours: Estimate, runs: int = RUNS) -> tuple[float, float]:
    """The 95 % prediction interval for the mean of so many further runs like ours: their mean varies too.

    That is mean ± t(n − 1) std √(1/n + 1/runs): the interval of the mean, √(1 + n / runs) times as wide.
    """
    middle, half = (ours.low + ours.high) / 2, (ours.high - ours.low) / 2
    half *= math.sqrt(1 + ours.n / runs)
    return middle - half, middle + half


def chance_of_outside(outside: int, compared: int) -> float:
    """The probability that so many or more of `compared` numbers lie outside their 95 % intervals by chance alone."""
    return float(bdtrc(outside - 1, compared, 1 - LEVEL)) if outside else 1.0


def _read(path: Path) -> pd.DataFrame:
    try:
        frame = pd.read_csv(path, dtype=str, keep_default_na=False)
    except FileNotFoundError:
        raise FileNotFoundError(
            f"{path}: no such file; the paper's numbers come with the repository, in published/"
        ) from None
    return frame.assign(table=frame["table"].astype(int))
