"""What a caption says of searches that were raced (`search: racing`).

In: rows of kind `search`, a frame a cell. Out: one sentence; '' where every grid was trained whole.

    python -m pytest tests/vptstudy/report/test_raced.py
"""

from __future__ import annotations

from collections.abc import Iterable

import pandas as pd

from vptcore.training.choose import longest
from vptcore.wording import plural


def is_raced(rows: pd.DataFrame) -> bool:
    """Whether some of a search's rows are of a shorter schedule than others."""
    return rows["epochs"].nunique() > 1


def race_line(searches: Iterable[pd.DataFrame]) -> str:
    found = [rows for rows in searches if is_raced(rows)]
    if not found:
        return ""
    tried, full = sum(rows["config"].nunique() for rows in found), sum(len(longest(rows)) for rows in found)
    short = " or ".join(str(epochs) for epochs in sorted({int(rows["epochs"].min()) for rows in found}))
    return (
        f"{plural(len(found), 'search', 'searches')} raced: all {tried} configurations on schedules of {short} "
        f"epoch{'s' * (short != '1')}, the best {full} in full, and the choice is among those."
    )
