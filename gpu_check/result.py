"""One line of the check, the table of all, and the two files that a run leaves.

In: `Line`s. Out: text for the terminal, `gpu.json` with every line, and `bench.parquet` with the timings.

    python -m pytest tests/gpu_check
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from vptcore.records import replacing, write_text

LOCK = Path(__file__).resolve().parents[1] / "requirements.lock"
FACT, HOLDS, FAILED, SKIPPED = "fact", "holds", "FAILED", "skipped"
TIMINGS = ("images_per_second", "ms_per_step", "share_of_peak", "peak_gib", "compile_seconds")


@dataclass(frozen=True)
class Line:
    """`found` in words beside what it is compared with. `timing`, of the part speed: the numbers of `TIMINGS`."""

    part: str
    name: str
    state: str
    found: str
    expected: str = ""
    pretended: bool = False
    timing: dict[str, float] = field(default_factory=dict)

    @property
    def shown_state(self) -> str:
        return f"{self.state} (pretended)" if self.pretended else self.state


def judge(part: str, name: str, holds: bool, found: str, expected: str, **more) -> Line:
    return Line(part, name, HOLDS if holds else FAILED, found, expected, **more)


def failures(lines: Sequence[Line]) -> int:
    return sum(line.state == FAILED for line in lines)


def table(lines: Sequence[Line]) -> str:
    """Columns padded to their widest entry; the last one as it is."""
    rows = [("part", "check", "state", "expected", "found")]
    rows += [(line.part, line.name, line.shown_state, line.expected, line.found) for line in lines]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    padded = (zip(row, widths, strict=True) for row in rows)
    return "\n".join("  ".join(text.ljust(width) for text, width in row).rstrip() for row in padded)


def pinned(version: str) -> str:
    """Whether a torch is the one that requirements.lock names; what is checked is the project on the torch at hand."""
    lines = LOCK.read_text(encoding="utf-8").splitlines()
    named = next((line[7:] for line in lines if line.startswith("torch==")), "none")
    return "the pinned one" if version.split("+")[0] == named.split("+")[0] else f"{named} is pinned, and not checked"


def write(lines: Sequence[Line], about: dict, folder: Path) -> None:
    """`gpu.json`, and `bench.parquet` where something was timed."""
    folder.mkdir(parents=True, exist_ok=True)
    note = {**about, "failures": failures(lines), "lines": [asdict(line) for line in lines]}
    write_text(folder / "gpu.json", json.dumps(note, indent=1) + "\n")
    timed = [line for line in lines if line.timing]
    if not timed:
        return
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = [{"case": line.name, "state": line.state} | {t: line.timing.get(t) for t in TIMINGS} for line in timed]
    schema = pa.schema([("case", pa.string()), ("state", pa.string()), *((name, pa.float64()) for name in TIMINGS)])
    made = pa.Table.from_pylist(rows, schema=schema).replace_schema_metadata({"gpu_check": json.dumps(about)})
    with replacing(folder / "bench.parquet") as beside:
        pq.write_table(made, beside)
