"""What a study's config asks for, as the audit looks at it: the graph's jobs, with files named inside the study.

In: a `Study`. Out: the `Job`s whose files are results, each after those whose files it reads; files are named inside
the study ('final/…/rows.parquet'), inputs from outside by their path. Downloads and parts of a cell are no results.

    python -m pytest tests/workflow/test_audit.py
"""

from __future__ import annotations

from dataclasses import replace

from vptcore.jobs.manifest import split_path
from vptstudy.graph import targets
from vptstudy.graph.jobs import TABLE_FORMS, Files, Job, flat, jobs
from vptstudy.report.page import sources
from vptstudy.study import Study


def asked(study: Study) -> list[Job]:
    return [_inside(study, job) for job in jobs(study) if job.stage != "fetch" and "shard" not in job.of]


def inside(path: str) -> str:
    found = split_path(path)
    return found[1] if found else path


def _inside(study: Study, job: Job) -> Job:
    outputs = _report_files(study) if job.stage == "report" else job.outputs
    inputs = {name: paths for name, paths in job.inputs.items() if name != "shards"}
    return replace(job, stage=job.kind, inputs=_named(inputs), outputs=_named(outputs))


def _named(files: Files) -> dict[str, tuple[str, ...]]:
    return {name: tuple(map(inside, flat([paths]))) for name, paths in files.items()}


def _report_files(study: Study) -> Files:
    """The report's folder, file by file: two pages, and copies of every table and figure."""
    folder = f"{study.root}/report"
    tables = [f"{folder}/tables/table_{targets.padded(number)}" for number in targets.tables_of(study)]
    figures = [f"{folder}/figures/figure_{targets.padded(name)}" for name in targets.figures_of(study)]
    copies = [f"{path}.{form}" for path in tables for form in TABLE_FORMS if form != "html"]
    return {
        "pages": [f"{folder}/index.html", f"{folder}/{sources.PAGE}"],
        "copies": [*copies, *(f"{path}.{form}" for path in figures for form in ("png", "pdf", "csv"))],
    }
