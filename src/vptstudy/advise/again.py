"""What one rung's study has made, in another one too: nothing is decoded, split or searched twice.

In: two studies of the same images. Out: hard links, or copies where a disk has none, under the names that the second
study gives them, with the records that the audit reads. The five folds' tasks are the same images under five names:
they share one array.

    python -m pytest tests/vptstudy/advise/test_again.py
"""

from __future__ import annotations

import filecmp
import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from vptcore.jobs import manifest
from vptcore.records import KINDS, digest, read_provenance, read_rows, replacing, write_rows
from vptstudy import slices
from vptstudy.graph import flow
from vptstudy.study import Study


def share(source: Study, study: Study) -> None:
    """The images and splits of `source`'s tasks; where it has one task alone, its images are those of all tasks."""
    for task in study.used("task"):
        if task in source.used("task"):
            for kind in ("data", "index", "splits"):
                _folder(source, study, f"{kind}/task={task}")
        else:
            _under_another_name(source, source.used("task")[0], study, task)


def share_searches(source: Study, study: Study) -> None:
    """The searches that both studies ask for in the same words."""
    for cell in study.searches:
        if cell in source.searches and slices.search(study, cell) == slices.search(source, cell):
            _folder(source, study, str(Path(study.path("search", cell)).parent.relative_to(study.root)))


def _under_another_name(source: Study, name: str, study: Study, task: str) -> None:
    """The images of a task as the job that prepares them for `task` would leave them."""
    theirs, mine = (slices.prepare(s, t, s.input_size(t)) for s, t in ((source, name), (study, task)))
    if mine != theirs | {"task": task}:
        return
    there, here = flow.task_files(source, name, ""), flow.task_files(study, task, "")
    note = read_provenance(there["index"])
    seen = _record(there).get("source")
    job, makes = note["job"] | {"task": task}, [here["images"], here["index"]]
    if manifest.is_made(job, [], makes) and _record(here).get("source") == seen:
        return
    _link(Path(there["images"]), Path(here["images"]))
    rows = read_rows(there["index"], "index")[KINDS["index"].names]
    write_rows(here["index"], "index", rows, note | {"job": job, "job_hash": digest(job)})
    manifest.Record(job, [], makes).finish(seen)


def _record(files: Mapping[str, str]) -> dict:
    root, first = manifest.split_path(files["images"])
    return manifest.read_record(manifest.record_path(root, first))


def _folder(source: Study, study: Study, folder: str) -> None:
    """The files of a folder, and the records of the jobs that made them."""
    for part in (folder, f"{manifest.FOLDER}/{folder}"):
        for file in (Path(source.root) / part).rglob("*"):
            if file.is_file():
                _link(file, Path(study.root) / file.relative_to(source.root))


def _link(file: Path, beside: Path) -> None:
    """The file under a second name; one that is there and holds something else is replaced."""
    if beside.is_file() and (beside.samefile(file) or filecmp.cmp(file, beside, shallow=False)):
        return
    with replacing(beside) as path:
        try:
            os.link(file, path)
        except OSError:
            shutil.copy2(file, path)
