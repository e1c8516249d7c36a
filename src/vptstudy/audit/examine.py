"""An audit: every file that a study's config asks for, and every other file in the study's folder.

In: a `Study` of today's config and the folder of its results. Out: an `Audit`. Files of one job are looked at together,
two jobs at a time; tables last, and only where the rows under them are right.

    vptcore audit results/demo
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from vptcore.jobs import manifest
from vptcore.records import KINDS
from vptcore.wording import plural
from vptstudy.audit import data_checks, file_checks, training_checks
from vptstudy.audit.asked import asked as jobs_of
from vptstudy.audit.context import Found, View
from vptstudy.audit.findings import Audit, Finding, Report, Unusable, remark
from vptstudy.audit.origin import check_code, check_config, check_inputs, check_place, check_record, recorded_inputs
from vptstudy.audit.store import Store
from vptstudy.audit.synthetic import UNMADE, check_mark, is_drawn
from vptstudy.graph.jobs import Job
from vptstudy.study import Study

CHECKS: dict[str, tuple[Callable[[View, Job], Iterator[Found]], ...]] = {
    "prepare": (data_checks.check_prepare,),
    "split": (data_checks.check_split,),
    "reference": (file_checks.check_features,),
    "features": (file_checks.check_features,),
    "fid": (data_checks.check_fid,),
    "search": (training_checks.check_search, file_checks.check_models),
    "final": (training_checks.check_final, file_checks.check_models),
    "explain": (data_checks.check_explain,),
    "examples": (data_checks.check_examples,),
    "figure": (file_checks.check_figure,),
    "table": (file_checks.check_table,),
    "report": (file_checks.check_page,),
}
# Of no study: logs, what killed jobs left to go on with, records, the config, and what the system keeps.
ASIDE = ("logs", "work", "rungs", "model", manifest.FOLDER, manifest.SHARDS)
THREADS = 2


def audit(
    study: Study, root: Path, base: Path, config: str, *, deep: bool = False, only: Sequence[str] = (),
    say: Callable[[int, int], None] = lambda done, of: None,
) -> Audit:  # fmt: skip
    """Look at every file, or at those that `only` names. `say(done, of)` is called after every job."""
    view = View(study, Store(root, base, deep=deep))
    asked = jobs_of(study)
    chosen = [job for job in asked if not only or set(job.files) & set(only)]
    reports: dict[str, Report] = {}
    first = [job for job in chosen if job.stage != "table"]
    with ThreadPoolExecutor(THREADS) as pool:
        for done, found in enumerate(pool.map(lambda job: _look(view, job, CHECKS[job.stage]), first), start=1):
            reports.update(found)
            say(done, len(chosen))
        wrong = {name for name, report in reports.items() if report.wrong}
        tables = [job for job in chosen if job.stage == "table"]
        again = pool.map(lambda job: _look(view, job, () if wrong & set(job.reads) else CHECKS["table"]), tables)
        for done, found in enumerate(again, start=len(first) + 1):
            reports.update(found)
            say(done, len(chosen))
    listed = [reports[name] for job in chosen for name in job.files if name in reports]
    if not only:
        listed += list(_beside(root, {name for job in asked for name in job.files}))
    picked = [report for report in listed if not only or report.file in only]
    return Audit(study.name, str(root), config, tuple(picked), tuple(_remarks(view, picked)), view.synthetic)


def _look(view: View, job: Job, checks) -> dict[str, Report]:
    """The reports of one job's files. A check that meets an unusable file ends; its reading is reported once."""
    reports = {}
    for output, names in job.outputs.items():
        stage = folder_of(names[0]) if names else output
        reports.update({name: Report(name, stage, job.name, view.exists(name), reads=job.reads) for name in names})
    if view.synthetic:
        reports = {name: found for name, found in reports.items() if found.there or found.stage not in UNMADE}
    there = [name for name, report in reports.items() if report.there]
    for name in there:
        reports[name].findings += _origin(view, job, name)
    # Rows of another config are checked against their own when it is asked for again; here they are only stale.
    stale = any(finding.check == "config" for name in there for finding in reports[name].wrong)
    for check in checks if there and not stale else ():
        try:
            for name, finding in check(view, job):
                if name in reports and reports[name].there and finding not in reports[name].findings:
                    reports[name].findings.append(finding)
        except Unusable:
            continue
        except (IndexError, KeyError, TypeError, ValueError, OverflowError, ArithmeticError) as error:
            # Damage can give columns of values that no job writes: the check that stumbles over them has found it.
            worst = next((r for r in reports.values() if r.wrong), reports[there[0]])
            worst.findings.append(
                Finding("plausible", f"its values cannot be checked ({type(error).__name__}: {error})")
            )
    view.store.forget((*job.files, *job.reads))
    return reports


def folder_of(name: str) -> str:
    return name.split("/", 1)[0]


def _origin(view: View, job: Job, name: str) -> list[Finding]:
    """Readable, of its schema, and where it comes from."""
    store, kind = view.store, folder_of(name)
    record = store.records.get(name)
    note: dict = {}
    # No job made synthetic rows, so that none wrote a record of them.
    findings = [] if view.synthetic and kind in KINDS and record is None else list(check_record(store, job, name))
    if kind in KINDS:
        try:
            note = store.note(name, kind)
        except Unusable as error:
            return [*findings, Finding(error.check, str(error))]
        if note.get("kind") != kind:
            findings.append(Finding("schema", f"its metadata says it is of kind {note.get('kind')}"))
        findings += check_place(name, note.get("job"))
        findings += check_config(store, job, note.get("job"), note.get("job_hash"))
        findings += check_mark(view.synthetic, note)
        findings += [] if view.synthetic and is_drawn(note) else check_inputs(store, job, recorded_inputs(note))
        findings += check_code((note.get("packages") or {}).get("vptcore"))
    elif name.startswith("features/") and (note := file_checks.note_of(store.path(name))):
        findings += check_config(store, job, note.get("job"), note.get("job_hash"))
        findings += check_inputs(store, job, recorded_inputs(note))
    elif record is not None:
        findings += check_config(store, job, record["job"], record["job_hash"])
        findings += check_inputs(store, job, record["inputs"])
        findings += check_code(record["version"])
    return findings


def _beside(root: Path, asked: set[str]) -> Iterator[Report]:
    """Files that no job of today's config makes. Rows beside asked ones would be read with them."""
    folders = {name.rpartition("/")[0] for name in asked}
    for path in sorted(p for p in root.rglob("*") if p.is_file()):
        name = path.relative_to(root).as_posix()
        if name in asked or folder_of(name) in ASIDE or "/" not in name or path.name == manifest.MARK:
            continue
        report = Report(name, folder_of(name), asked=False)
        if re.fullmatch(r"\..*\.tmp", path.name):
            report.findings.append(
                remark("complete", "left half-written by a killed job; the next run does not read it")
            )
        elif path.suffix == ".parquet" and name.rpartition("/")[0] in folders:
            report.findings.append(
                Finding("complete", "rows beside those of its cell, which readers would count twice")
            )
        else:
            report.findings.append(remark("config", "not asked for by the config of today"))
        yield report


def _remarks(view: View, reports: list[Report]) -> Iterator[Finding]:
    store, there = view.store, [r for r in reports if r.there and r.asked]
    if there and not store.records and not store.broken_records:
        yield remark("manifest", "no manifest: made before there was one, so that sizes and hashes are not proven")
    codes = {record["code"] for record in store.records.values()} - {manifest.code_hash()}
    if codes:
        count = sum(record["code"] in codes for record in store.records.values())
        yield remark("code", f"{plural(count, 'file')} made by other code than today's ({', '.join(sorted(codes))}); "
                     "its stages have the same numbers")  # fmt: skip
