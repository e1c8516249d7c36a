"""Whether two studies came out the same.

In: the result folders of two studies of one config. Out: a list of differences, empty where every row, model, array,
table, figure and page is the same but for timings. What holds no result (logs, Snakemake's own records) is not looked
at; a file that a killed writer left beside its place counts as a difference.

    python -m pytest tests/faults
"""

from __future__ import annotations

import io
from pathlib import Path

import pandas as pd
from safetensors import SafetensorError
from safetensors.numpy import load

from vptcore.records import KINDS, RowsError, read_provenance, read_rows

TIMINGS = ("seconds", "compile_seconds", "images_per_second", "final_seconds", "search_seconds")
# What this table says of speed is said again in its other forms; its CSV is compared without it.
TIMED_TABLE = "table_cost"
# Drawings of speed, and pages that print it beside hashes of files that hold it: that they are there is compared.
TIMED_FIGURE, PAGES = "figure_cost", "report"
# What of a file's note says how it was made, and not when, where or how fast. Hashes of inputs follow their timings.
SAME_NOTE = ("kind", "job", "job_hash", "packages", "python", "device")
# Words of the jobs, their records of sizes and times, and which config ran last.
NO_RESULT = ("logs", "manifest", "config.json")


def differences(ours: Path, undisturbed: Path) -> list[str]:
    """Every file that is not the same in both folders, and how it differs."""
    mine, wanted = files_of(ours), files_of(undisturbed)
    found = [f"{name}: missing" for name in sorted(wanted - mine)]
    found += [f"{name}: should not be there" for name in sorted(mine - wanted)]
    for name in sorted(mine & wanted):
        if difference := _difference(ours / name, undisturbed / name):
            found.append(f"{name}: {difference}")
    return found


def files_of(root: Path) -> set[str]:
    """Names of all files below a result folder that hold a result, or remain of one."""
    names = (path.relative_to(root) for path in root.rglob("*") if path.is_file())
    return {name.as_posix() for name in names if name.parts[0] not in NO_RESULT}


def _difference(ours: Path, undisturbed: Path) -> str:
    if ours.suffix == ".safetensors":
        return _of_tensors(ours.read_bytes(), undisturbed.read_bytes())
    if ours.stem == TIMED_FIGURE or PAGES in ours.parts:
        return ""
    if ours.suffix != ".parquet":
        return "" if _untimed(ours) == _untimed(undisturbed) else "other bytes"
    kind = next((part for part in ours.parts if part in KINDS), "")
    try:
        notes = [read_provenance(path) for path in (ours, undisturbed)]
        rows = [read_rows(path, kind).drop(columns=list(TIMINGS), errors="ignore") for path in (ours, undisturbed)]
    except (RowsError, KeyError, ValueError) as error:
        return f"cannot be read ({error})"
    for name in SAME_NOTE:
        if notes[0].get(name) != notes[1].get(name):
            return f"its note has another {name}"
    if set(notes[0].get("inputs", ())) != set(notes[1].get("inputs", ())):
        return "its note names other inputs"
    try:
        pd.testing.assert_frame_equal(*rows, check_exact=True)
    except AssertionError as error:
        return " ".join(str(error).split())[:120]
    return ""


def _untimed(path: Path) -> bytes:
    """A file's bytes without what it says of speed."""
    content = path.read_bytes()
    if path.stem != TIMED_TABLE:
        return content
    if path.suffix != ".csv":
        return b""
    return pd.read_csv(io.BytesIO(content)).drop(columns=list(TIMINGS), errors="ignore").to_csv().encode()


def _of_tensors(ours: bytes, undisturbed: bytes) -> str:
    """Bit for bit; what a file's header says besides, such as times, may differ."""
    if ours == undisturbed:
        return ""
    try:
        mine, wanted = load(ours), load(undisturbed)
    except SafetensorError as error:
        return f"cannot be read ({error})"
    if mine.keys() != wanted.keys():
        return "other tensors"
    differ = [name for name, value in wanted.items() if mine[name].tobytes() != value.tobytes()]
    return f"other numbers in {differ[0]}" if differ else ""
