"""The one model of a printed table: columns, and blocks of lines of entries, which every renderer walks.

In: nothing. `paper_grid` makes the grid of a table of the paper, `listing` that of any frame; `renderers` and `latex`
print it.

    python -m pytest tests/vptstudy/report/test_render.py
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

# FGVC is an abbreviation; the other groups are words.
GROUP_TITLES = {
    "natural": "Natural",
    "specialized": "Specialized",
    "structured": "Structured",
    "fgvc": "FGVC",
    "own": "Own tasks",
}

__all__ = ["GROUP_TITLES", "Block", "Entry", "Grid", "GridColumn", "GridLine", "Tabular"]


@dataclass(frozen=True)
class Entry:
    """One printed cell: `main` is set bold or underlined, `spread` small, `wins` in brackets, `mark` raised.

    `sort` is the value by which a browser sorts, '' where there is none; `verdict` and `why` explain a difference from
    the paper; `link` leads to the rows it was made from.
    """

    main: str = ""
    spread: str = ""
    wins: str = ""
    mark: str = ""
    bold: bool = False
    underlined: bool = False
    sort: str = ""
    verdict: str = ""
    why: str = ""
    link: str = ""


@dataclass(frozen=True)
class GridColumn:
    """`is_stub`: it names its line. `group` heads the columns that share it; `full` is the title without it."""

    title: str
    is_text: bool = False
    is_stub: bool = False
    is_mean: bool = False
    group: str = ""
    full: str = ""

    @property
    def alone(self) -> str:
        """The title where there is no group above."""
        return self.full or self.title


@dataclass(frozen=True)
class GridLine:
    """`ruled`: with a rule above. `kind`: what its numbers are (accuracy, fid, ...), '' where all are alike."""

    entries: tuple[Entry, ...]
    ruled: bool = False
    kind: str = ""


@dataclass(frozen=True)
class Block:
    """Lines under a heading; '' for a table that has one block only."""

    title: str
    lines: tuple[GridLine, ...]


@dataclass(frozen=True)
class Grid:
    """A table as it is printed. `heading` is its number and title in a line; `csv` its values, unrounded.

    `apart`: its blocks are tables of their own on paper, each with lines and columns that may change places.
    """

    name: str
    heading: str
    title: str
    caption: str
    columns: tuple[GridColumn, ...]
    blocks: tuple[Block, ...]
    csv: str
    apart: bool = False

    @property
    def spans(self) -> list[tuple[str, int]]:
        """The groups above the columns: (title, number of columns); [] where no column has one."""
        found: list[tuple[str, int]] = []
        for column in self.columns:
            if found and found[-1][0] == column.group:
                found[-1] = (column.group, found[-1][1] + 1)
            else:
                found.append((column.group, 1))
        return found if any(title for title, _ in found) else []

    @property
    def stubs(self) -> int:
        return sum(column.is_stub for column in self.columns)


class Tabular(Protocol):
    """Anything that can be printed as a table."""

    @property
    def grid(self) -> Grid: ...
