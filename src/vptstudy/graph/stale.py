"""Jobs whose files are there and are not what today's config asks for: they run again though nothing is missing.

In: a study's `Graph`. Out: the first file of each such job, and why. Each file's own metadata is compared with today's
slice and inputs, so that a change is seen without Snakemake's records, in a new clone or a copy. Only metadata is read:
a second for the paper's two thousand files.

    python -m pytest tests/vptstudy/graph/test_stale.py
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from functools import cache

import pyarrow as pa
import pyarrow.parquet as pq

from vptcore.jobs import manifest
from vptcore.records import METADATA_KEY, digest
from vptstudy.graph.jobs import Graph, Job


def force(workflow, graph: Graph) -> None:
    """Let a Snakemake run make again what is stale behind its targets.

    Called from an input function: by then Snakemake has its graph, and has not yet decided which jobs run. Only of a
    run's own process: the jobs that it starts are told what to make.
    """
    if workflow.is_main_process:
        workflow.dag.forcefiles.update(stale(graph))


def stale(graph: Graph) -> dict[str, str]:
    """The first file of every job that must run again, and why."""
    found = {}
    for job in graph.values():
        if any(map(os.path.exists, job.rule_files)) and (why := why_stale(job)):
            found[job.files[0]] = why
    return found


def why_stale(job: Job) -> str:
    """Why a job whose files are there must run again; '' for one that need not, as far as metadata shows."""
    if missing := [path for path in job.files if not os.path.exists(path)]:
        return f"{missing[0]} is not there"
    note = _note(job.files[0])
    if note.get("job_hash") and note["job_hash"] != digest(job.slice):
        return "made from another config"
    return next((f"made from another {path}" for path in job.reads if _is_other(path, note)), "")


def _is_other(path: str, note: Mapping) -> bool:
    """Whether an input is rows, and other rows than the file was made from."""
    found = manifest.split_path(path)
    then = _inputs(note).get(found[1] if found else path)
    now = manifest.rows_identity(path) if then and os.path.exists(path) else None
    return now is not None and now != then


def _inputs(note: Mapping) -> dict[str, str]:
    """Input -> identity, by names inside the study, as a file's metadata or its record in the manifest has them."""
    names = {}
    for name, entry in note.get("inputs", {}).items():
        path, identity = (entry["path"], entry["sha256"]) if isinstance(entry, Mapping) else (name, entry)
        found = manifest.split_path(path)
        names[found[1] if found else path] = identity
    return names


@cache
def _note(path: str) -> dict:
    """What a file says of the job that made it: rows in their metadata, others in the manifest; {} where none does."""
    try:
        if path.endswith(".parquet"):
            return json.loads((pq.read_metadata(path).metadata or {})[METADATA_KEY])
        root, name = manifest.split_path(path)
        first = f"{manifest.REPORT}/index.html" if name == manifest.REPORT else name
        return manifest.read_record(manifest.record_path(root, first))
    except (OSError, ValueError, KeyError, TypeError, pa.ArrowException):
        return {}
