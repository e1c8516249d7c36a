"""What a study consists of: every job that its config asks for, with its slice, its inputs and its files.

In: a `Study`. Out: `Job`s in the order of the flow; files are named inside the study ('final/…/rows.parquet'), inputs
from outside by their path. It is Snakemake's graph by the same functions that the rules call (`flow`, `report.inputs`),
without Snakemake.

    python -m pytest tests/workflow/test_audit.py
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

from vptcore.analysis.examples import EXAMPLES
from vptcore.jobs.manifest import split_path
from vptcore.records import hive_parts
from vptstudy.graph import flow
from vptstudy.graph import targets as report_inputs
from vptstudy.report.page import sources
from vptstudy.study import VERSIONS, Cell, Study

Files = Mapping[str, str | list[str]]
TABLE_FORMS = ("csv", "md", "tex", "html")


@dataclass(frozen=True)
class Job:
    """One job. `about` names what it is for: its cell, or its task and train size, or a table's number."""

    stage: str
    name: str
    slice: dict = field(repr=False)
    inputs: dict[str, tuple[str, ...]]
    outputs: dict[str, tuple[str, ...]]
    about: dict = field(default_factory=dict)

    @cached_property
    def files(self) -> tuple[str, ...]:
        return tuple(name for names in self.outputs.values() for name in names)

    @cached_property
    def reads(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(name for names in self.inputs.values() for name in names))


def jobs(study: Study) -> list[Job]:
    """Every job of the study, each after those whose files it reads."""
    stages = (_data_jobs, _search_jobs, _final_jobs, _explain_jobs, _report_jobs)
    return [job for stage in stages for job in stage(study)]


def _job(stage: str, name: str, slice_: dict, inputs: Files, outputs: Files, **about) -> Job:
    return Job(stage, name, slice_, _named(inputs), _named(outputs), about)


def _named(files: Files) -> dict[str, tuple[str, ...]]:
    """Paths as Snakemake has them, by their names inside the study."""
    lists = {key: [value] if isinstance(value, str) else value for key, value in files.items()}
    return {key: tuple(inside(path) for path in paths) for key, paths in lists.items()}


def inside(path: str) -> str:
    found = split_path(path)
    return found[1] if found else path


def _cell_name(cell: Cell) -> str:
    return f"{cell.backbone} · {cell.method} · {cell.task} · {cell.train}"


def _is_kept(cell: Cell, kept: frozenset[Cell]) -> bool:
    """Whether a cell's tuned models are outputs: by method, train size and backbone, as the rules' wildcards say it."""
    return all(getattr(cell, key) in {getattr(c, key) for c in kept} for key in ("method", "train", "backbone"))


def _data_jobs(study: Study):
    rows, where = flow.ROWS, study.config["fid"]["reference"]
    if not flow.is_statistics(where):
        yield _job("reference", where, study.reference_slice(), {}, {"statistics": flow.reference_file(study)})
    sizes = {(c.task, c.train): None for c in (*study.cells, *study.searches)}
    for task in study.used("task"):
        files = flow.task_files(study, task, "")
        made = {"images": files["images"], "index": files["index"]}
        slice_ = study.prepare_slice(task, study.input_size(task))
        source = {"source": flow.fetched_files(study, task)}
        yield _job("prepare", task, slice_, source, made, task=task)
        for train in [train for name, train in sizes if name == task]:
            reads, made = flow.split_files(study, task, train), {"rows": flow.task_files(study, task, train)["splits"]}
            slice_ = study.split_slice(task, train)
            yield _job("split", f"{task} · {train}", slice_, reads, made, task=task, train=train)
        features, fid = flow.fid_files(study, task)["features"], {"rows": f"{study.root}/fid/task={task}/{rows}"}
        reads, made = flow.features_files(study, task), {"features": features}
        yield _job("features", task, study.features_slice(task), reads, made, task=task)
        yield _job("fid", task, study.fid_slice(task), flow.fid_files(study, task), fid, task=task)


def _search_jobs(study: Study):
    kept = flow.searched_models(study)
    for cell in study.searches:
        made = {"rows": study.path("search", cell)}
        if _is_kept(cell, kept):
            made["best"] = flow.best_of_search(study, cell)
        yield _job(
            "search",
            _cell_name(cell),
            study.search_slice(cell),
            flow.search_files(study, cell),
            made,
            cell=cell,
        )


def _final_jobs(study: Study):
    kept = flow.final_models(study)
    for cell in study.cells:
        made: dict = {kind: study.path(kind, cell) for kind in ("curves", "predictions")}
        made = {"rows": study.path("final", cell)} | made
        if _is_kept(cell, kept):
            made["models"] = [flow.model_file(study, cell, seed) for seed in flow.kept_seeds(study)]
        yield _job("final", _cell_name(cell), study.final_slice(cell), flow.final_files(study, cell), made, cell=cell)


def _explain_jobs(study: Study):
    for backbone, task, train in study.explained:
        rows = f"{study.root}/explain/backbone={backbone}/task={task}/train={train}/{flow.ROWS}"
        yield _job(
            "explain", f"{backbone} · {task} · {train}", study.explain_slice(backbone, task, train),
            flow.explain_files(study, backbone, task, train), {"rows": rows}, backbone=backbone, task=task, train=train,
        )  # fmt: skip


def _report_jobs(study: Study):
    numbers = report_inputs.tables_of(study)
    written = {number: f"{study.root}/tables/table_{report_inputs.padded(number)}" for number in numbers}
    for number, path in written.items():
        made = {form: f"{path}.{form}" for form in TABLE_FORMS} | {"note": f"{path}.rst"}
        slice_ = {"config": study.config, "number": number, "version": VERSIONS["tables"]}
        yield _job("table", str(number), slice_, report_inputs.table_files(study, number), made, number=number)
    names = report_inputs.figures_of(study)
    shown = [path for name in names for path in report_inputs.figure_files(study, name).get("examples", ())]
    for path in dict.fromkeys(shown):
        task = hive_parts(path)["task"]
        files = {key: flow.task_files(study, task, "")[key] for key in ("images", "index")}
        slice_ = {"images": EXAMPLES, "version": VERSIONS["examples"]}
        yield _job("examples", task, slice_, files, {"rows": path}, task=task)
    drawn = {name: f"{study.root}/figures/figure_{report_inputs.padded(name)}" for name in names}
    for name, path in drawn.items():
        made = {"pdf": f"{path}.pdf", "png": f"{path}.png", "caption": f"{path}.txt", "note": f"{path}.rst"}
        slice_ = {"config": study.config, "number": name, "version": VERSIONS["figures"]}
        yield _job("figure", name, slice_, report_inputs.figure_files(study, name), made, number=name)
    yield _report_job(study, written, drawn)


def _report_job(study: Study, written: Mapping, drawn: Mapping) -> Job:
    """The report: two pages, and copies of every table and figure."""
    explained = [task for _, task, _ in study.explained]
    files = {
        "final": [study.path("final", cell) for cell in study.cells],
        "search": [study.path("search", cell) for cell in study.searches],
        "fid": report_inputs.rows_files(study, "fid", study.used("task")),
        "explain": report_inputs.rows_files(study, "explain", explained),
        "tables": [f"{path}.html" for path in written.values()],
        "captions": [f"{path}.txt" for path in drawn.values()],
        "pictures": [f"{path}.png" for path in drawn.values()],
    }
    slice_ = report_inputs.page_slice(study) | {"version": VERSIONS["report"]}
    folder = f"{study.root}/report"
    copies = [f"{path}.{form}" for path in written.values() for form in TABLE_FORMS if form != "html"]
    copies += [f"{path}.{form}" for path in drawn.values() for form in ("png", "pdf")]
    made = {
        "pages": [f"{folder}/index.html", f"{folder}/{sources.PAGE}"],
        "copies": [path.replace(study.root, folder, 1) for path in copies],
    }
    return _job("report", "", slice_, files, made)
