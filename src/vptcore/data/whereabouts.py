"""Where the images lie that a job decodes: one answer for the graph, the slices, the records and the audit.

In: a job's slice, or a source and its path. Out: the folder or file, and the images elsewhere that a file there names.

    python -m pytest tests/vptcore/data/test_whereabouts.py
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

from vptcore.data.item import Request
from vptcore.data.signature import content
from vptcore.data.sources import READERS
from vptcore.jobs.meaning import SIGNATURE

Place = tuple[str, tuple[str, ...]]


def place_of(source: str, request: Request) -> Place:
    """The folder or file that a source is read from, and what is named there; ("", ()) where nothing is."""
    place = next((path for path in READERS[source].places(request) if path.exists()), None)
    return ("", ()) if place is None else (str(place), _named(source, str(place), os.stat(place).st_mtime_ns))


def images_of(job: Mapping) -> Place:
    """The images of a task that a job prepares, or of the Fréchet reference; ("", ()) for other jobs."""
    if "source" not in job:
        return str(job.get("reference") or ""), ()
    path = Path(job["path"]) if job["path"] else None
    return place_of(job["source"], Request(job["task"], job["classes"], path))


def seen(job: Mapping) -> dict | None:
    """What a record says of the images that a job decodes; None where the slice has no signature of them."""
    found = content_of(job) if job.get(SIGNATURE) else None
    return {"content": found} if found else None


def content_of(job: Mapping) -> str | None:
    """A hash of their names and bytes, whatever their times are."""
    return content(*images_of(job))


@lru_cache(maxsize=256)
def _named(source: str, place: str, changed: int) -> tuple[str, ...]:
    return tuple(READERS[source].names(Path(place)))
