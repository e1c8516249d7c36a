"""How numbers are put into the lines that people read.

In: a count and the noun that it counts. Out: the two as words, without a "1 images".

    python -m pytest tests/vptcore/test_wording.py
"""

from __future__ import annotations

from numbers import Integral


def plural(count: float, one: str, many: str = "") -> str:
    """'1 image', '1,000 images', '0.5 points'; `many`: a plural that is not made by an s, as in 'searches'."""
    shown = f"{count:,}" if isinstance(count, Integral) else f"{count:g}"
    return f"{shown} {one if count == 1 else many or one + 's'}"


def are_verb(count: int) -> str:
    return "is" if count == 1 else "are"


def have_verb(count: int) -> str:
    return "has" if count == 1 else "have"
