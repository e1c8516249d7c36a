"""Fetching the VTAB tasks from the Hugging Face Hub, and a list of what is there already.

In: tasks and the folder that holds the data, one folder per task. Out: the task's shards in `<root>/<task>`, or one row
per task that says where it comes from, whether it is found, and under which licence. Imports no torch.

    vptcore data list
    vptcore data fetch eurosat
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import pyarrow.parquet as pq

from vptcore.data import archives, hf, shapes
from vptcore.data.sources import IMAGE_SUFFIXES, LAYOUTS, VTAB1K_LISTS, Request, locate
from vptcore.data.tasks import SHIPPED, Task
from vptcore.downloads import LOCK, revision

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
    except Exception as error:  # whatever the HTTP library under huggingface_hub raises: it changes between versions
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        url = f"https://huggingface.co/datasets/{task.repo}"
        raise ValueError(f"{task.id}: could not fetch {url} ({reason}); try again, it resumes, or {instead}") from None
    return locate(task.source, Request(task.id, task.classes, folder))


def run(job: Mapping) -> str:
    """The workflow's download job: {row, root}, a task's row as a mapping. One line: where the shards are now."""
    return f"{job['row']['id']} is in {fetch(Task(**job['row']), job['root'])}"


def listing(tasks: Iterable[Task], settings: Mapping[str, Mapping], root: Path | str) -> list[dict]:
    """One row per task: task, title, group, source, found, where, rows (None if unknown), classes, licence, bytes.

    `settings` is the config's `tasks`: {task: {"path": ..., "source": ...}}, both optional. `where` of a missing task
    says what to put where.
    """
    return [_listed(task, settings.get(task.id, {}), Path(root)) for task in tasks]


def _listed(task: Task, setting: Mapping, root: Path) -> dict:
    source = setting.get("source", task.source)
    row = {"task": task.id, "title": task.title, "group": task.group, "source": source, "classes": task.classes,
           "licence": task.licence}  # fmt: skip
    if source in SHIPPED:
        return row | {"found": True, "where": SHIPPED[source], "rows": _shipped_rows(task, source), "bytes": 0}
    try:
        where = locate(source, Request(task.id, task.classes, Path(setting.get("path") or root / task.id)))
    except ValueError as error:
        return row | {
            "found": False,
            "where": f"{error}{_or_original(task, source, setting, root)}",
            "rows": None,
            "bytes": 0,
        }
    files = [where] if where.is_file() else [path for path in where.rglob("*") if path.is_file()]
    size = sum(path.stat().st_size for path in files)
    return row | {"found": True, "where": str(where), "rows": _rows(source, where, files), "bytes": size}


def _or_original(task: Task, source: str, setting: Mapping, root: Path) -> str:
    """For a task whose images are missing: which original archives would do as well."""
    if source == "original" or task.id not in archives.TASKS:
        return ""
    where = Path(setting.get("path") or root / task.id)
    return f"; or set tasks.{task.id}.source to original and {archives.wanted(Request(task.id, task.classes, where))}"


def _shipped_rows(task: Task, source: str) -> int:
    return shapes.TRAIN + shapes.TEST if source == "shapes" else task.pool + task.test


def _rows(source: str, where: Path, files: list[Path]) -> int | None:
    """The number of images where it can be had without opening them; shards do not tell."""
    if source == "parquet":
        return pq.read_metadata(where).num_rows
    if source == "hf":
        return sum(pq.read_metadata(path).num_rows for _, path in hf.shards(where))
    if source in ("folder", "fgvc"):
        return sum(path.suffix.lower() in IMAGE_SUFFIXES for path in files)
    if source == "vtab1k":
        return sum(len((where / name).read_text(encoding="utf-8").splitlines()) for name in VTAB1K_LISTS.values())
    return None
