"""What a trial came to, and the table of all trials.

In: outcomes, one for every fault tried. Out: one line a kind of fault (tried, survived, lost) on the terminal, and
everything as JSON. A part that runs again replaces its own outcomes in the file and leaves those of other parts.

    python -m pytest tests/faults
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from vptcore.records import write_text

SURVIVED, LOST, SKIPPED = "survived", "lost", "skipped"


@dataclass(frozen=True)
class Outcome:
    """One fault: the part of the harness, its kind, what exactly was done, and what came of it.

    `state` is survived, lost or skipped; `why` says what was lost, or why the fault could not be tried here.
    """

    part: str
    kind: str
    what: str
    state: str
    why: str = ""

    @property
    def line(self) -> str:
        return f"{self.part} · {self.kind} · {self.what}: {self.state}" + (f" ({self.why})" if self.why else "")


def judged(part: str, kind: str, what: str, problems: Iterable[str]) -> Outcome:
    """Survived where there are no problems; else lost, with the first three of them."""
    problems = list(problems)
    more = f" and {len(problems) - 3} more" if len(problems) > 3 else ""
    return Outcome(part, kind, what, LOST if problems else SURVIVED, "; ".join(problems[:3]) + more)


def counted(outcomes: Iterable[Outcome]) -> Iterator[tuple[str, str, int, int, int, int]]:
    """(part, kind, tried, survived, lost, skipped) in the order in which they were first tried."""
    groups: dict[tuple[str, str], list[str]] = defaultdict(list)
    for outcome in outcomes:
        groups[outcome.part, outcome.kind].append(outcome.state)
    for (part, kind), states in groups.items():
        survived, lost, skipped = (states.count(state) for state in (SURVIVED, LOST, SKIPPED))
        yield part, kind, survived + lost, survived, lost, skipped


def table_of(outcomes: list[Outcome]) -> Table:
    table = Table(box=None, pad_edge=False, title="Faults", title_justify="left")
    for name, justify in (("part", "left"), ("fault", "left"), ("tried", "right"), ("survived", "right")):
        table.add_column(name, justify=justify)
    table.add_column("lost", justify="right")
    table.add_column("")
    totals = [0, 0, 0]
    for part, kind, tried, survived, lost, skipped in counted(outcomes):
        totals = [total + n for total, n in zip(totals, (tried, survived, lost), strict=True)]
        note = f"{skipped} could not be tried here" if skipped else ""
        table.add_row(part, Text(kind), str(tried), str(survived), Text(str(lost), "bold red" if lost else ""), note)
    table.add_section()
    table.add_row("", "all", *map(str, totals), "")
    return table


def show(outcomes: list[Outcome], console: Console) -> None:
    console.print(table_of(outcomes))
    for outcome in outcomes:
        if outcome.state != SURVIVED:
            console.print(outcome.line, markup=False, highlight=False, soft_wrap=True)


def write(outcomes: list[Outcome], path: Path, seed: int) -> list[Outcome]:
    """Write the outcomes as JSON, with those of other parts that the file has already; all of them are returned."""
    parts = {outcome.part for outcome in outcomes}
    everything = [outcome for outcome in read(path) if outcome.part not in parts] + outcomes
    rows = [asdict(outcome) for outcome in everything]
    note = {"seed": seed, "lost": sum(outcome.state == LOST for outcome in everything), "outcomes": rows}
    write_text(path, json.dumps(note, indent=1, ensure_ascii=False) + "\n")
    return everything


def read(path: Path) -> list[Outcome]:
    if not path.is_file():
        return []
    return [Outcome(**row) for row in json.loads(path.read_text(encoding="utf-8"))["outcomes"]]
