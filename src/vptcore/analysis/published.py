"""The paper's printed numbers, its known slips, and where ours stand beside them.

In: published/published.csv and published/slips.csv. Out: frames with this project's ids, and a verdict for one number
beside ours.

    python -m pytest tests/vptcore/analysis/test_published.py
"""

from __future__ import annotations

import math
from functools import cache
from pathlib import Path

import pandas as pd

from vptcore.analysis.statistics import Estimate

FOLDER = Path(__file__).resolve().parents[3] / "published"
WHERE = ["table", "backbone", "method", "train", "group", "task", "metric"]
# `style` is how the paper sets the number: bold, underlined, or neither.
PUBLISHED_COLUMNS = [*WHERE, "value", "printed", "wins", "style"]
SLIPS_COLUMNS = [*WHERE, "printed", "should_be", "why"]
# What a verdict can be. Where a number has no spread (tuned / total, prompt length) it is equal or different.
WITHIN, OUTSIDE, SLIP, NOT_RUN, NO_INTERVAL = "within", "outside", "slip", "not run", "no interval"
EQUAL, DIFFERENT = "equal", "different"
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
    """The cells whose printed number is wrong or doubtful, and why; `should_be` is NaN where nobody can say."""
    frame = _read(folder / "slips.csv")
    frame["should_be"] = pd.to_numeric(frame["should_be"])
    return frame[SLIPS_COLUMNS]


def printed_table(number: int, backbone: str) -> pd.DataFrame:
    """The printed cells of one table: WHERE, value, printed, wins, style; should_be and why where it is a known slip.

    A slip in a number of wins stands in `wins_why`, beside the mean that the wins are printed with.
    """
    cells = read_published().query("table == @number and backbone == @backbone")
    slips = read_slips().drop(columns="printed")
    wins = slips[slips.metric == "wins"].assign(metric="accuracy").drop(columns="should_be")
    return cells.merge(slips, on=WHERE, how="left").merge(
        wins.rename(columns={"why": "wins_why"}), on=WHERE, how="left"
    )


def half_a_unit(printed: str) -> float:
    """Half a unit of the last digit that is printed: 0.05 for '64.5', 0.5 for '100'."""
    return 0.5 * 10.0 ** -len(_digits(printed).partition(".")[2])


def _digits(printed: str) -> str:
    """'79.53' of '79.53(6)', which has the wins in brackets, and '44.5' of '44.5%'."""
    return printed.partition("(")[0].strip().rstrip("%")


def verdict(printed: str, ours: Estimate, *, slip: bool = False, spread: bool = True) -> str:
    """Where a number, as the paper prints it ('64.5', '87.9%'), stands beside ours, in the same unit.

    `within`: the printed number, give or take half a unit of its last printed digit, lies in our 95 % interval over
    seeds. A known slip is a slip whatever ours is.
    """
    value, half_unit = float(_digits(printed)), half_a_unit(printed) + 1e-9
    if slip:
        return SLIP
    if ours.n == 0:
        return NOT_RUN
    if not spread:
        return EQUAL if abs(value - ours.mean) <= half_unit else DIFFERENT
    if math.isnan(ours.low):
        return NO_INTERVAL
    return WITHIN if ours.low - half_unit <= value <= ours.high + half_unit else OUTSIDE


def _read(path: Path) -> pd.DataFrame:
    try:
        frame = pd.read_csv(path, dtype=str, keep_default_na=False)
    except FileNotFoundError:
        raise FileNotFoundError(
            f"{path}: no such file; the paper's numbers come with the repository, in published/"
        ) from None
    return frame.assign(table=frame["table"].astype(int))
