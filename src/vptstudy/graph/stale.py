"""Jobs whose files are there and are not what today's config asks for: they run again though nothing is missing.

In: a study's `Graph`. Out: the first file of each such job, and why. Each file's own metadata is compared with today's
slice and inputs, so that a change is seen without Snakemake's records, in a new clone or a copy. Only metadata is read:
a second for the paper's two thousand files.

    python -m pytest tests/vptstudy/graph/test_stale.py
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import cache
from importlib import metadata

from vptcore.choices import ConfigError
from vptcore.data.whereabouts import content_of
from vptcore.jobs.meaning import SIGNATURE, changed, meaning
from vptcore.jobs.notes import note_of, other_input
from vptstudy.graph.jobs import Graph, Job


def force(workflow, graph: Graph) -> None:
    """Let a Snakemake run make again what is stale behind its targets.

    Called from an input function: by then Snakemake has its graph, and has not yet decided which jobs run. Only of a
    run's own process: the jobs that it starts are told what to make. Snakemake promises no such set to anyone: raises
    ConfigError (one line) where it has none.
    """
    if not getattr(workflow, "is_main_process", True):
        return
    forced = getattr(getattr(workflow, "dag", None), "forcefiles", None)
    if not isinstance(forced, set):
        raise ConfigError(
            f"snakemake {metadata.version('snakemake')} has no dag.forcefiles, by which changed jobs are made again; "
            "install the version in requirements.lock"
        )
    forced.update(stale(graph))


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
    if "job" in note and meaning(note["job"]) != meaning(job.slice):
        if list(changed(note["job"], job.slice)) != [SIGNATURE]:
            return "made from another config"
        if have_changed(job.slice, note):
            return "made from other images"
    other = other_input(note, job.reads)
    return f"made from another {other}" if other else ""


def have_changed(job: Mapping, record: Mapping) -> bool:
    """Whether images of another signature than a record's are others: in a byte or a name, not in their times alone.

    They are read whole, which is less work than decoding them again. Images that are gone are needed no more.
    """
    then = (record.get("source") or {}).get("content")
    return bool(job.get(SIGNATURE)) and (not then or content_of(job) != then)


_note = cache(note_of)
