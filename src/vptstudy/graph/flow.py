"""Which files each job of a study reads: the edges of the graph, as plain functions of a study and a cell.

In: a `Study` and what a job's wildcards name. Out: input files by name, as the stages' `run` functions take them.

    python -m pytest tests/vptstudy/graph/test_flow.py
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Mapping
from glob import glob
from pathlib import Path

from vptcore.data.item import Request
from vptcore.data.one_shot import LOOKS
from vptcore.data.sources import is_there
from vptcore.data.tasks import Task
from vptcore.jobs.notes import is_todays
from vptstudy import slices
from vptstudy.study import ONE_SHOT, Cell, Study

ROWS = "rows.parquet"
FETCHED = ".fetched"
STATISTICS = "reference/statistics.safetensors"
# The files of a final by the name of its output: the folder of each.
FINAL_ROWS = {"rows": "final", "curves": "curves", "predictions": "predictions"}

Files = Mapping[str, str | list[str]]


def task_files(study: Study, task: str, train: str) -> dict[str, str]:
    """The arrays, the index and the split that every cell of this task and size reads."""
    return {
        "images": f"{study.root}/data/task={task}/images.npy",
        "index": f"{study.root}/index/task={task}/{ROWS}",
        "splits": f"{study.root}/splits/task={task}/train={train}/{ROWS}",
    }


def fetched_files(study: Study, task: str) -> list[str]:
    """What a task's preparation waits for: the mark of a download that is still to come."""
    row, path = study.tasks[task], study.source_path(task)
    is_wanted = study.is_downloaded(task) and not is_there(row.source, _request(row, path))
    return [f"{path}/{FETCHED}"] if is_wanted else []


def split_files(study: Study, task: str, train: str) -> dict[str, str]:
    """The index; the images too for a one-shot rule that looks at them, and the file that tells the splits."""
    files = task_files(study, task, train)
    looks = train == ONE_SHOT and study.one_shot_selection in LOOKS
    told = {"told": told} if (told := study.told_splits(task)) else {}
    return {name: files[name] for name in (("index", "images") if looks else ("index",))} | told


def prepare_threads(study: Study, task: str) -> int:
    """Decoding goes on as many cores as a machine is likely to spare; what ships is small."""
    return 1 if study.tasks[task].shipped else 8


def _request(row: Task, path: str) -> Request:
    return Request(row.id, row.classes, Path(path))


def missing_data(study: Study) -> str:
    """One line that names the tasks whose images are not there and cannot be fetched; empty where there are none."""
    missing = []
    for task in study.used("task"):
        path, row = study.source_path(task), study.tasks[task]
        # Once decoded, a task's images are no longer needed where they came from.
        decoded = os.path.exists(f"{study.root}/index/task={task}/{ROWS}")
        if path and not row.fetched and not decoded and not is_there(row.source, _request(row, path)):
            missing.append(task)
    if not missing:
        return ""
    return (
        f"data: no images yet for {', '.join(missing)}; their jobs will stop with a line that says what to put where "
        "(vptcore data list)"
    )


def features_files(study: Study, task: str) -> dict[str, str]:
    return task_files(study, task, study.base_fid_train(task))


def fid_files(study: Study, task: str) -> dict[str, str]:
    """The task's features, and the reference's statistics where this study makes them from images.

    Statistics that exist are in the slice, by name and signature: where they are not there, the job's one line says how
    to make them, and the rest of a study can be planned and run without them.
    """
    files = {"features": f"{study.root}/features/task={task}/features.safetensors"}
    return files | ({"reference": f"{study.root}/{STATISTICS}"} if study.reference_images else {})


def search_files(study: Study, cell: Cell) -> dict[str, str]:
    """The task's files, and for ft_then_pt the tuned model that its search starts from.

    That is the best of full's own search, which has seen the train part alone; under the authors' protocol it is a
    final, which has seen val too.
    """
    files, base = task_files(study, cell.task, cell.train), study.tuned_from(cell)
    if base is None:
        return files
    leaks = study.protocol.ft_then_pt_base == "trainval"
    return files | {"base": model_file(study, base, study.seeds[0]) if leaks else best_of_search(study, base)}


def shards(study: Study, kind: str, cell: Cell, slice_: Callable[[], Mapping], files: Files) -> list[str]:
    """The shards behind a cell's rows: those that made today's rows, else those that the config asks for.

    A cell whose rows are today's stays as it was made: changing `shards` makes nothing again.
    """
    path, wanted = study.path(kind, cell), _numbered(study.shards(kind, cell))
    if not os.path.exists(path):
        return wanted
    made = _made_shards(study, kind, cell)
    reads = [path for path in files.values() if isinstance(path, str)]
    return made if made == wanted or is_todays(path, slice_(), reads) else wanted


def _numbered(count: int) -> list[str]:
    return [f"{number}of{count}" for number in range(1, count + 1)] if count > 1 else []


def _made_shards(study: Study, kind: str, cell: Cell) -> list[str]:
    """The complete set of shards on the disk, the config's count first."""
    found = defaultdict(list)
    for path in glob(shard_file(study, kind, cell, "*")):
        number, count = slices.shard_of(path.split("/shard=")[1].split("/")[0])
        found[count].append(number)
    sets = [count for count, numbers in found.items() if len(numbers) == count]
    wanted = study.shards(kind, cell)
    return _numbered(wanted if wanted in sets else min(sets, default=0))


def shard_file(study: Study, kind: str, cell: Cell, shard: str, name: str = ROWS) -> str:
    return f"{study.root}/shards/{kind}/{cell.folder}/shard={shard}/{name}"


def final_shard_files(files: Files, shard: str) -> dict[str, str | list[str]]:
    """Of what a whole cell's finals read, the part of one shard: of the tuned models to start from, its own seeds'."""
    number, count = slices.shard_of(shard)
    return {**files, "bases": files["bases"][number - 1 :: count]} if "bases" in files else dict(files)


def shard_models(study: Study, kind: str, cell: Cell, shard: str, kept: Files) -> dict[str, str | list[str]]:
    """Where one shard puts the tuned models that are kept of its cell: the best of its grid, or those of its seeds."""
    if kind == "search":
        return {name: shard_file(study, kind, cell, shard, "best.safetensors") for name in kept}
    mine = {f"seed={seed}.safetensors" for seed in slices.final_shard(study, cell, shard)["seeds"]}
    names = [os.path.basename(path) for path in kept.get("models", ())]
    models = [shard_file(study, kind, cell, shard, f"models/{name}") for name in names if name in mine]
    return {"models": models} if models else {}


def best_of_search(study: Study, cell: Cell) -> str:
    return study.path("models", cell, "search.safetensors")


def model_file(study: Study, cell: Cell, seed: int) -> str:
    return study.path("models", cell, f"seed={seed}.safetensors")


def final_files(study: Study, cell: Cell) -> dict[str, str | list[str]]:
    """The task's files, the search that found the recipe, and for ft_then_pt one tuned model a seed."""
    files: dict[str, str | list[str]] = dict(task_files(study, cell.task, cell.train))
    files["search"] = study.path("search", study.searched_by(cell))
    base = study.tuned_from(cell)
    return files if base is None else files | {"bases": [model_file(study, base, seed) for seed in study.seeds]}


def explain_files(study: Study, backbone: str, task: str, train: str) -> dict[str, str]:
    files = task_files(study, task, train)
    for method in ("full", "vpt"):
        cell = Cell(backbone, method, task, train)
        files[f"predictions_{method}"] = study.path("predictions", cell)
        files[f"model_{method}"] = model_file(study, cell, study.seeds[0])
    return files


def searched_models(study: Study) -> frozenset[Cell]:
    """Cells whose best searched model is kept: those that another method starts from."""
    return study.tuned_from_cells


def final_models(study: Study) -> dict[Cell, tuple[int, ...]]:
    """The seeds of each cell whose tuned models are kept, which are those that a later job reads.

    Another method's finals start from every seed; its search under the authors' protocol, and the maps, read the first.
    Under `keep: best` the first of every cell, so that any finished cell can be exported.
    """
    explained = [Cell(b, method, task, train) for b, task, train in study.explained for method in ("full", "vpt")]
    exported = study.cells if study.config["keep"] == "best" else ()
    started_from = dict.fromkeys(sorted(study.tuned_from_cells), study.seeds)
    return dict.fromkeys([*explained, *exported], study.seeds[:1]) | started_from


def one_of(names) -> str:
    """A wildcard constraint that matches just these names, and nothing where there are none."""
    return "|".join(sorted(set(names))) or "(?!)"
