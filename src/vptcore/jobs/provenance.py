"""The note in a file's metadata: which slice of the config, which inputs, versions and machine made it.

In: a job's slice and the files it reads. Out: a dict of plain values for `records.write_rows`. It names an
input by what it holds (`manifest.identity`), so that the same rows written again are the same input.

    python -m pytest tests/vptcore/jobs/test_manifest.py
"""

from __future__ import annotations

import json
import os
import platform
import sys
import time
from collections.abc import Iterable, Mapping
from importlib import metadata
from pathlib import Path

import pyarrow.parquet as pq

from vptcore.jobs.manifest import identity
from vptcore.records import METADATA_KEY, digest

# Where a job ran, in the words of what placed it: Slurm, or the locks of one machine's GPUs.
PLACE = {"slurm_job": "SLURM_JOB_ID", "node": "SLURMD_NODENAME", "gpu": "CUDA_VISIBLE_DEVICES"}
PACKAGES = ("vptcore", "torch", "timm", "numpy", "pandas", "pyarrow", "snakemake")


def provenance(
    job: Mapping, inputs: Mapping[str, Path | str] | None = None, *, started: float | None = None, **more
) -> dict:
    """The note that goes into a file's metadata.

    `job` is the resolved slice of the config that the stage was called with; `inputs` by their identity; `started` is a
    `time.time()`. Further keywords (device, seed, ...) are kept as they are. `substitutes`, where images or splits are
    not the benchmark's own, is what the inputs say of themselves, so that it reaches every row made of them.
    """
    note = {
        "job": dict(job),
        "job_hash": digest(dict(job)),
        "inputs": {name: {"path": str(p), "sha256": identity(p)} for name, p in (inputs or {}).items()},
        "substitutes": _inherited((inputs or {}).values()),
        "packages": {name: _version(name) for name in PACKAGES},
        "python": platform.python_version(),
        "host": platform.node(),
        "command": Path(sys.argv[0]).name,
        **{key: os.environ[name] for key, name in PLACE.items() if os.environ.get(name)},
        **more,
    }
    if started is not None:
        note["started"] = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(started))
        note["seconds"] = round(time.time() - started, 3)
    return note


def _inherited(inputs: Iterable[Path | str]) -> list[str]:
    found: dict[str, None] = {}
    for path in inputs:
        stored = (pq.read_metadata(path).metadata or {}) if str(path).endswith("rows.parquet") else {}
        found.update(dict.fromkeys(json.loads(stored.get(METADATA_KEY, b"{}")).get("substitutes", ())))
    return list(found)


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
