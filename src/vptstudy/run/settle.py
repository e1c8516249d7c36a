"""Times that copies lose: scp, rsync without -t and object stores give every file the time of its copying.

In: a study's `Graph`. Out: how many jobs' files were made as new as what they were made from, so that Snakemake, which
goes by times, finds nothing to do. Only where hashes show that the files are what today's jobs would make.

    python -m pytest tests/vptstudy/graph/test_stale.py
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from vptcore.jobs import manifest
from vptstudy.graph.jobs import Graph, Job, flat
from vptstudy.graph.stale import why_stale


def settle(graph: Graph) -> int:
    """Set the times of files that are older than their inputs and right; returns of how many jobs."""
    return sum(_settle(graph, job) for job in graph.values() if all(map(os.path.exists, job.files)))


def _settle(graph: Graph, job: Job) -> bool:
    newest = max(map(_time, _there(flat(graph.watched(job).values()))), default=0)
    late = [path for path in job.rule_files if _time(path) < newest]
    if not late or not _is_right(job):
        return False
    for path in late:
        os.utime(_clock(path), ns=(newest, newest))
    return True


def _is_right(job: Job) -> bool:
    """By its record; a shard, which has none, by its own metadata."""
    if why_stale(job):
        return False
    reads = [path for path in job.reads if "/shards/" not in path]
    return "shard" in job.of or manifest.is_made(job.slice, reads, job.files)


def _there(paths: Iterable[str]) -> list[str]:
    return [path for path in paths if os.path.exists(path)]


def _clock(path: str) -> Path:
    """The file whose time Snakemake takes for a path's: of a folder, a mark in it."""
    mark = Path(path) / manifest.MARK
    return mark if mark.exists() else Path(path)


def _time(path: str) -> int:
    return os.stat(_clock(path)).st_mtime_ns
