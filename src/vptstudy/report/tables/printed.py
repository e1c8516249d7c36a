"""The paper's numbers beside ours: a table's frame with what is printed, the difference, and a verdict per cell.

In: the tidy frame of a table and the printed cells. Out: the frame with columns printed, printed_wins, printed_style,
wins_kind, wins_why, difference, verdict and why; empty where the paper prints nothing for a cell.

    python -m pytest tests/vptstudy/report/test_tables.py
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from pathlib import Path

import pandas as pd

from vptcore.analysis import published
from vptcore.analysis.statistics import LEVEL, Estimate

MEAN = "mean"
# What is measured once a seed; other numbers are equal or different.
_SPREADS = ("accuracy", "gap")
_LINE = ["method", "train", "group", "metric"]
_NOTHING = {
    "printed": math.nan,
    "printed_wins": math.nan,
    "wins_kind": "",
    "wins_why": "",
    "difference": math.nan,
    "verdict": "",
    "why": "",
    "printed_style": "",
}


def verdicts(files: Iterable[Path | str]) -> dict[str, int]:
    """Verdict -> number of cells, over the CSVs of the paper's tables."""
    found = [pd.read_csv(file)["verdict"] for file in files]
    return pd.concat(found).value_counts().to_dict() if found else {}


def agreement(counts: Mapping[str, int]) -> str:
    """'402 of 418 printed accuracies lie in our 95 % intervals (397 expected)', '' where none is compared."""
    within, outside = (counts.get(verdict, 0) for verdict in (published.WITHIN, published.OUTSIDE))
    if not within + outside:
        return ""
    expected = LEVEL * (within + outside)
    return f"{within} of {within + outside} printed accuracies lie in our 95 % intervals ({expected:.0f} expected)"


def comparable(printed: pd.DataFrame, fid: pd.DataFrame | None) -> pd.DataFrame:
    """Without the paper's Fréchet distances, unless ours are taken in Inception features as well."""
    inception = fid is not None and len(fid) > 0 and fid["network"].str.contains("inception", case=False).all()
    return printed if inception else printed[printed.metric != "fid"]


def with_published(frame: pd.DataFrame, printed: pd.DataFrame) -> pd.DataFrame:
    """`frame` beside the paper's cells. A mean over other tasks than ours is shown, and not compared."""
    theirs, ours = _tasks(printed), _tasks(frame[frame.state != "none"])
    cells = {(*_key(row), row.task): row for row in printed.itertuples()}
    rows = []
    for row in frame.itertuples():
        match = cells.get((*_key(row), row.task))
        unlike = row.task == MEAN and theirs.get(_key(row)) != ours.get(_key(row))
        beside = _NOTHING if match is None else _beside(row, match)
        rows.append(_not_compared(beside) if unlike and match is not None else beside)
    return frame.join(pd.DataFrame(rows, index=frame.index))


def _not_compared(beside: dict) -> dict:
    """A printed mean beside one of ours over other tasks: it is shown, without a difference, and says why."""
    why = "; ".join(filter(None, (beside["why"], "the paper's mean is over other tasks than ours")))
    verdict = beside["verdict"] if beside["verdict"] in published.KNOWN else published.OTHER_TASKS
    return {**beside, "difference": math.nan, "verdict": verdict, "why": why}


def _key(row) -> tuple:
    return tuple(getattr(row, name) for name in _LINE)


def _tasks(rows: pd.DataFrame) -> dict[tuple, set[str]]:
    """Line and group -> its tasks."""
    return {key: set(line["task"]) - {MEAN} for key, line in rows.groupby(_LINE, sort=False)}


def _beside(row, match) -> dict:
    """`row` of ours beside `match` of the paper's. A partial mean is no answer to the paper's mean."""
    known = match.kind if isinstance(match.kind, str) else ""
    ours = Estimate() if row.state == "partial" else Estimate(row.mean, row.std, row.low, row.high, row.n)
    return {
        "printed": match.value,
        "printed_wins": match.wins,
        "wins_kind": match.wins_kind if isinstance(match.wins_kind, str) else "",
        "wins_why": match.wins_why if isinstance(match.wins_why, str) else "",
        "difference": ours.mean - match.value,
        "verdict": published.verdict(match.printed, ours, known=known, spread=row.metric in _SPREADS),
        "why": _why(match) if known else "",
        "printed_style": match.style,
    }


def _why(match) -> str:
    """Why a number is in slips.csv, and what it should be, or would be by our definition."""
    word = "would be" if match.kind == published.DEFINITION else "should be"
    return match.why if math.isnan(match.should_be) else f"{match.why} ({word} {match.should_be:g})"
