"""The rows files of a rehearsal: every cell of a study, on a few processes, each file labelled as synthetic.

In: a study whose root the files go to. Out: rows of every kind that a table or a figure may read.

    python -m pytest tests/vptstudy/rehearsal
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pandas as pd

from vptcore.analysis.examples import EXAMPLES
from vptcore.jobs.provenance import provenance
from vptcore.records import KINDS, digest, write_rows
from vptstudy import slices
from vptstudy.graph.flow import ROWS
from vptstudy.rehearsal import levels, rows
from vptstudy.study import Cell, Study

NOTICE = "Synthetic rows drawn around the paper's printed means: a rehearsal of the report, and no result."


def write_study(study: Study, workers: int = 1, say: Callable[[str], None] = print) -> int:
    """Write all rows of the study below its root; how many files there are.

    Explanations are picked from predictions and so come after them.
    """
    pairs = sorted({(cell.task, cell.train) for cell in study.cells})
    level, distance = levels.accuracies(study), levels.distances(study)
    searched = {study.searched_by(cell): [] for cell in study.cells}
    for cell in study.cells:
        searched[study.searched_by(cell)].append(cell)
    jobs: list[tuple] = [(_write_search, study, cell, level, finals) for cell, finals in searched.items()]
    jobs += [
        (_write_task, study, task, [n for t, n in pairs if t == task], distance[task]) for task in study.used("task")
    ]
    # Forked before any thread of a numerics library is started.
    context = get_context("fork") if workers > 1 else None
    with ProcessPoolExecutor(workers, mp_context=context) as pool:
        files = 0
        for place, count in enumerate(pool.map(_call, jobs, chunksize=8), start=1):
            files += count
            if place % 100 == 0:
                say(f"rehearsal: {place} of {len(jobs)} searches and tasks written")
        files += sum(pool.map(_call, [(_write_explain, study, *pair) for pair in study.explained]))
    return files


def _call(job: tuple) -> int:
    function, *arguments = job
    return function(*arguments)


def _write_search(study: Study, cell: Cell, level: Mapping[Cell, float], finals: Iterable[Cell]) -> int:
    """A search and the finals that take their recipe from it."""
    searched = rows.search(study, cell, level.get(cell, 0.5))
    _write(study.path("search", cell), "search", searched, slices.search(study, cell))
    written = 1
    for final in finals:
        for kind, columns in rows.finals(study, final, level[final], searched).items():
            _write(study.path(kind, final), kind, columns, slices.final(study, final))
            written += 1
    return written


def _write_task(study: Study, task: str, trains: list[str], distance: float) -> int:
    def path(kind: str, *more: str) -> str:
        return "/".join([study.root, kind, f"task={task}", *more, ROWS])

    _write(path("index"), "index", rows.index(study, task), slices.prepare(study, task, study.input_size(task)))
    if task in study.fid_tasks:
        _write(path("fid"), "fid", rows.fid(task, distance), slices.fid(study, task))
    shown = {"images": EXAMPLES, "version": slices.VERSIONS["examples"]}
    _write(path("examples"), "examples", rows.examples(study, task, EXAMPLES), shown)
    for train in trains:
        _write(
            path("splits", f"train={train}"),
            "splits",
            rows.splits(study, task, train),
            slices.split(study, task, train),
        )
    return 2 + (task in study.fid_tasks) + len(trains)


def _write_explain(study: Study, backbone: str, task: str, train: str) -> int:
    from vptcore.records import read_rows

    predictions: dict[str, pd.DataFrame] = {}
    for method in ("full", "vpt"):
        found = read_rows(study.path("predictions", Cell(backbone, method, task, train)), "predictions")
        predictions[method] = found.loc[found["seed"] == study.seeds[0], ["row", "label", "prediction", "confidence"]]
    path = f"{study.root}/explain/backbone={backbone}/task={task}/train={train}/{ROWS}"
    _write(path, "explain", rows.explain(study, task, predictions), slices.explain(study, backbone, task, train))
    return 1


_NOTE: dict = {}


def _write(path: Path | str, kind: str, columns: Mapping[str, list], job: Mapping) -> None:
    """Write rows of a kind; a column that nothing is drawn for is null. The file says that it is synthetic."""
    # Looking up the versions of packages takes longer than writing a small file: once a process.
    note = _NOTE or _NOTE.setdefault("note", provenance({}, {}))
    note = _NOTE["note"] | {"job": dict(job), "job_hash": digest(dict(job)), "synthetic": NOTICE}
    names = KINDS[kind].names
    count = len(next(iter(columns.values()))) if columns else 0
    write_rows(path, kind, {name: columns.get(name, [None] * count) for name in names}, note)
