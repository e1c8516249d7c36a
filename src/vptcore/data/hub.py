"""Fetching the VTAB tasks from the Hugging Face Hub, and a list of what is there already.

In: tasks and the folder that holds the data, one folder per task. Out: the task's shards in `<root>/<task>`, or one row
per task that says where it comes from, whether it is found, and under which licence.

    vptcore data list
    vptcore data fetch eurosat
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from vptcore.data.item import Request
from vptcore.data.reader import Reader
from vptcore.data.readers import archives
from vptcore.data.sources import READERS, locate, open_source
from vptcore.data.tasks import Task
from vptcore.data.walk import tree
from vptcore.downloads import LOCK, revision
from vptcore.records import RowsError, file_sha256, read_provenance

if TYPE_CHECKING:
    from huggingface_hub.hf_api import RepoSibling


def fetch(task: Task, root: Path | str, endpoint: str | None = None) -> Path:
    """Download a task's shards to `<root>/<task.id>` and return that folder; what is there is not fetched again.

    Raises ValueError (one line) for a task without a repository, without network or without huggingface_hub; it says
    what to put where instead.
    """
    folder = Path(root) / task.id
    if task.shipped:
        raise ValueError(f"{task.id}: nothing to fetch, its images come with {task.reader.ships}")
    instead, patterns = f"put into {folder} {task.reader.layout}", list(task.reader.fetched)
    if not task.fetched:
        why = f"source {task.source} is not fetched" if task.repo else "no repository to fetch from"
        raise ValueError(f"{task.id}: {why}; {instead}")
    try:
        from huggingface_hub import HfApi, snapshot_download
        from huggingface_hub.utils import filter_repo_objects
    except ImportError:
        raise ValueError(f"{task.id}: fetching needs the package huggingface_hub; install it, or {instead}") from None
    try:
        # The commit of the first time, however often the data set moves on: a commit's name is a hash of its files.
        newest = HfApi(endpoint=endpoint).dataset_info(task.repo).sha
        commit = revision(f"dataset:{task.repo}", newest, lock=Path(root) / LOCK)
        snapshot_download(
            task.repo, repo_type="dataset", revision=commit, local_dir=folder, allow_patterns=patterns,
            endpoint=endpoint,
        )  # fmt: skip
        listed = HfApi(endpoint=endpoint).dataset_info(task.repo, revision=commit, files_metadata=True).siblings
        _hold_to_hashes(folder, filter_repo_objects(listed, allow_patterns=patterns, key=_name))
    except Exception as error:  # whatever the HTTP library under huggingface_hub raises: it changes between versions
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        url = f"https://huggingface.co/datasets/{task.repo}"
        again = "try again, whole files are kept"
        raise ValueError(f"{task.id}: could not fetch {url} ({reason}); {again}, or {instead}") from None
    return locate(task.source, Request(task.id, task.classes, folder))


def _name(listed: RepoSibling) -> str:
    return listed.rfilename


def _hold_to_hashes(folder: Path, listed: Iterable[RepoSibling]) -> None:
    """Take away a file that is not what the Hub lists, and raise ValueError: huggingface_hub compares sizes only."""
    for entry in listed:
        path = folder / entry.rfilename
        # Git's own name for a small file; a large one is listed with the SHA-256 of its bytes.
        found, known = (file_sha256(path), entry.lfs.sha256) if entry.lfs else (_git_blob(path), entry.blob_id)
        if found != known:
            path.unlink()
            raise ValueError(
                f"{entry.rfilename} came as {found[:16]}… where the Hub lists {known[:16]}…; it was removed"
            )


def _git_blob(path: Path) -> str:
    data = path.read_bytes()
    return hashlib.sha1(b"blob %d\0%b" % (len(data), data)).hexdigest()


def run(job: Mapping) -> str:
    """The workflow's download job: {row, root}, a task's row as a mapping. One line: where the shards are now."""
    return f"{job['row']['id']} is in {fetch(Task(**job['row']), job['root'])}"


def listing(
    tasks: Iterable[Task], settings: Mapping[str, Mapping], root: Path | str, prepared: Path | str | None = None
) -> list[dict]:
    """One row per task: task, title, group, source, fetched, found, where, rows, unknown, classes, licence, bytes.

    `settings` is the config's `tasks`: {task: {"path": ..., "source": ...}}, both optional. `where` of a missing task
    says what to put where. `rows` is None where the images cannot be counted without unpacking them and no index below
    `prepared`, the folder of a study's results, tells; `unknown` then says why.
    """
    return [_listed(task, settings.get(task.id, {}), Path(root), prepared) for task in tasks]


def _listed(task: Task, setting: Mapping, root: Path, prepared: Path | str | None) -> dict:
    source = setting.get("source", task.source)
    reader = READERS[source]
    row = {"task": task.id, "title": task.title, "group": task.group, "source": source, "classes": task.classes,
           "licence": task.licence, "fetched": task.fetched and source == task.source, "unknown": ""}  # fmt: skip
    if reader.ships:
        rows = reader.count(Request(task.id, task.classes))
        return row | {"found": True, "where": reader.ships, "rows": rows, "bytes": 0}
    given = Path(setting.get("path") or root / task.id)
    try:
        where = locate(source, Request(task.id, task.classes, given))
        request = Request(task.id, task.classes, where)
        if reader.is_quick:  # what the reader would stop for is found now
            open_source(source, request)
    except (OSError, ValueError) as error:
        instead = _or_original(task, source, setting, root)
        return row | {"found": False, "where": f"{error}{instead}", "rows": None, "bytes": 0}
    rows, unknown = _counted(reader, request)
    if rows is None and prepared is not None:
        rows, unknown = _indexed(Path(prepared) / f"index/task={task.id}/rows.parquet", source, given, unknown)
    return row | {"found": True, "where": str(where), "rows": rows, "unknown": unknown, "bytes": _size(where)}


def _size(where: Path) -> int:
    """The bytes of a file, or of all files below a folder; a link to nothing has none."""
    files = [str(where)] if where.is_file() else [f"{where}/{name}" for name in tree(where).files]
    return sum(os.path.getsize(path) for path in files if os.path.isfile(path))


def _or_original(task: Task, source: str, setting: Mapping, root: Path) -> str:
    """For a task whose images are missing: which original archives would do as well."""
    if source == "original" or task.id not in archives.TASKS:
        return ""
    where = Path(setting.get("path") or root / task.id)
    return f"; or set tasks.{task.id}.source to original and {archives.wanted(Request(task.id, task.classes, where))}"


def _counted(reader: Reader, request: Request) -> tuple[int | None, str]:
    """(number of images, "") where it can be had without decoding them; else (None, why not)."""
    try:
        rows = reader.count(request)
    except (ValueError, OSError) as error:  # pyarrow's errors are ValueErrors
        return None, str(error).splitlines()[0]
    return rows, "" if rows is not None else "counted when they are prepared"


def _indexed(index: Path, source: str, given: Path, unknown: str) -> tuple[int | None, str]:
    """The images that a study's index counts, if it was made of this source and holds all of it."""
    try:
        note = read_provenance(index)
    except (RowsError, OSError):
        return None, unknown
    if (note["job"]["source"], note["job"]["path"]) != (source, str(given)):
        return None, unknown
    count = sum(note["counts"].values())
    if note["capped"]:
        return None, f"at least {count:,}: preparation kept no more train images"
    return count, ""
