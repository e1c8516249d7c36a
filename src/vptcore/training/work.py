"""The work folder of a job: finished configurations and seeds, kept until the job's rows are written.

It is no output of the rule, so that Snakemake leaves it alone when a job was killed; what another job, other inputs or
an older version left there is thrown away.

    python -m pytest tests/training/test_search_final.py
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

from vptcore.records import write_text
from vptcore.training.recipe import digest


def open_work(folder: str | Path, note: Mapping) -> Path:
    """The folder, emptied unless this very job (same slice, same input bytes) left it."""
    folder = Path(folder)
    made_by = digest({"job": note["job_hash"], "inputs": {k: v["sha256"] for k, v in note["inputs"].items()}})
    mark = folder / "made_by"
    if folder.exists() and (not mark.is_file() or mark.read_text() != made_by):
        shutil.rmtree(folder)
    folder.mkdir(parents=True, exist_ok=True)
    write_text(mark, made_by)
    return folder
