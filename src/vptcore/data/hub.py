"""Fetching the VTAB tasks from the Hugging Face Hub, and a list of what is there already.

In: tasks and the folder that holds the data, one folder per task. Out: the task's shards in `<root>/<task>`, or one row
per task that says where it comes from, whether it is found, and under which licence.

    vptcore data list
    vptcore data fetch eurosat
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from vptcore.data.item import read_text
from vptcore.data.readers import archives, hf, parquet_files, shapes, wds
from vptcore.data.sources import IMAGE_SUFFIXES, LAYOUTS, VTAB1K_LISTS, Request, locate
from vptcore.data.tasks import SHIPPED, Task
from vptcore.downloads import LOCK, revision
from vptcore.records import RowsError, file_sha256, read_provenance

if TYPE_CHECKING:
    from huggingface_hub.hf_api import RepoSibling

PATTERNS = {
    "wds": ["*.txt", "train/nshards.txt", "train/*.tar", "test/nshards.txt", "test/*.tar"],
    "hf": ["*.parquet", "**/*.parquet", "README.md"],
}


def fetch(task: Task, root: Path | str, endpoint: str | None = None) -> Path:
    """Download a task's shards to `<root>/<task.id>` and return that folder; what is there is not fetched again.

    Raises ValueError (one line) for a task without a repository, without network or without huggingface_hub; it says
    what to put where instead.
    """
    folder = Path(root) / task.id
    if task.source in SHIPPED:
        raise ValueError(f"{task.id}: nothing to fetch, its images come with {SHIPPED[task.source]}")
    instead = f"put into {folder} {LAYOUTS[task.source][1]}"
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
            task.repo, repo_type="dataset", revision=commit, local_dir=folder, allow_patterns=PATTERNS[task.source],
            endpoint=endpoint,
        )  # fmt: skip
        listed = HfApi(endpoint=endpoint).dataset_info(task.repo, revision=commit, files_metadata=True).siblings
        _hold_to_hashes(folder, filter_repo_objects(listed, allow_patterns=PATTERNS[task.source], key=_name))
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
    row = {"task": task.id, "title": task.title, "group": task.group, "source": source, "classes": task.classes,
           "licence": task.licence, "fetched": task.fetched and source == task.source, "unknown": ""}  # fmt: skip
    if source in SHIPPED:
        return row | {"found": True, "where": SHIPPED[source], "rows": _shipped_rows(task, source), "bytes": 0}
    given = Path(setting.get("path") or root / task.id)
    try:
        where = locate(source, Request(task.id, task.classes, given))
    except ValueError as error:
        instead = _or_original(task, source, setting, root)
        return row | {"found": False, "where": f"{error}{instead}", "rows": None, "bytes": 0}
    files = [where] if where.is_file() else [path for path in where.rglob("*") if path.is_file()]
    size = sum(path.stat().st_size for path in files)
    rows, unknown = _counted(source, where, files)
    if rows is None and prepared is not None:
        rows, unknown = _indexed(Path(prepared) / f"index/task={task.id}/rows.parquet", source, given, unknown)
    return row | {"found": True, "where": str(where), "rows": rows, "unknown": unknown, "bytes": size}


def _or_original(task: Task, source: str, setting: Mapping, root: Path) -> str:
    """For a task whose images are missing: which original archives would do as well."""
    if source == "original" or task.id not in archives.TASKS:
        return ""
    where = Path(setting.get("path") or root / task.id)
    return f"; or set tasks.{task.id}.source to original and {archives.wanted(Request(task.id, task.classes, where))}"


def _shipped_rows(task: Task, source: str) -> int:
    return shapes.TRAIN + shapes.TEST if source == "shapes" else task.pool + task.test


def _counted(source: str, where: Path, files: list[Path]) -> tuple[int | None, str]:
    """(number of images, "") where it can be had without decoding them; else (None, why not)."""
    try:
        rows = _rows(source, where, files)
    except (ValueError, OSError) as error:  # pyarrow's errors are ValueErrors
        return None, str(error).splitlines()[0]
    return rows, "" if rows is not None else "counted when they are prepared"


def _rows(source: str, where: Path, files: list[Path]) -> int | None:
    if source == "parquet":
        return _parquet_rows(where)
    if source == "hf":
        return sum(_parquet_rows(path) for _, path in hf.shards(where))
    if source == "wds":
        return sum(wds.count(where / split) for split in ("train", "test"))
    if source in ("folder", "fgvc"):
        return sum(path.suffix.lower() in IMAGE_SUFFIXES for path in files)
    if source == "vtab1k":
        return sum(len(read_text(where / name).splitlines()) for name in VTAB1K_LISTS.values())
    return None


def _parquet_rows(path: Path) -> int:
    with parquet_files.opened(path) as file:
        return file.metadata.num_rows


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
