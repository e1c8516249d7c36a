"""An audit in the terminal and as JSON: one line a file, then a table by kind of file.

In: an `Audit`. Out: text, or plain values.

    vptcore audit results/demo --verbose
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from rich.console import Console
from rich.table import Table

from vptcore.wording import are_verb, plural
from vptstudy.audit.findings import CHECKS, Audit, Report
from vptstudy.audit.synthetic import LINE

STATES = ("right", "wrong", "not yet made", "not asked for")
MOST_REMARKS = 8
NAMED = 3  # files with one and the same fault that have a line each


def lines(audit: Audit, *, verbose: bool = False) -> list[str]:
    """What is wrong, a line a cause, and what is worth a remark; with `verbose` every file, at least one line each."""
    shown = [] if verbose else [*_causes(audit), *_grouped_remarks(audit)]
    for report in audit.reports if verbose else ():
        shown += [f"wrong    {report.file}: {f.check}: {f.text}" for f in report.wrong]
        shown += [f"remark   {report.file}: {f.check}: {f.text}" for f in report.remarks]
        shown += [] if report.findings else [f"{_word(report):8} {report.file}"]
    return [LINE, *shown] if audit.synthetic else shown


def _causes(audit: Audit) -> Iterator[str]:
    """A line for all files that have the same fault, in the order of the flow; and how many files depend on them."""
    causes: dict[tuple[str, str], list[Report]] = {}
    for report in audit.reports:
        for finding in report.wrong:
            causes.setdefault((finding.check, finding.text), []).append(report)
    for (check, text), reports in causes.items():
        many = [reports] if len(reports) > NAMED else [[report] for report in reports]
        yield from (f"wrong    {named(group)}: {check}: {text}{_behind(audit, group)}" for group in many)


def named(reports: Sequence[Report]) -> str:
    """'final/…/rows.parquet', or '12 files of search, final (first search/…/rows.parquet)'."""
    if len(reports) == 1:
        return reports[0].file
    stages = ", ".join(dict.fromkeys(report.stage for report in reports))
    return f"{len(reports)} files of {stages} (first {reports[0].file})"


def _behind(audit: Audit, reports: Sequence[Report]) -> str:
    count = len(audit.depending(report.file for report in reports))
    which = "it" if len(reports) == 1 else "them"
    return f" [{count} {'file depends' if count == 1 else 'files depend'} on {which}]" if count else ""


def _word(report: Report) -> str:
    return {"right": "right", "not yet made": "not yet"}.get(report.state, report.state)


def _grouped_remarks(audit: Audit) -> list[str]:
    """One line for all files of a stage that share a remark."""
    groups: dict[tuple[str, str, str], list[str]] = {}
    for report in audit.reports:
        for finding in report.remarks:
            groups.setdefault((report.stage, finding.check, finding.text), []).append(report.file)
    shown = []
    for (stage, check, text), files in groups.items():
        where = files[0] if len(files) == 1 else f"{len(files)} files of {stage}"
        shown.append(f"remark   {where}: {check}: {text}")
    more = [f"remark   … and {len(shown) - MOST_REMARKS} more (--verbose)"] if len(shown) > MOST_REMARKS else []
    return shown[:MOST_REMARKS] + more


def summary(audit: Audit) -> Table:
    """Stage by state, what each check found, and the whole."""
    counts = audit.counts()
    states = [state for state in STATES if state != "not asked for" or any(state in c for c in counts.values())]
    table = Table("", *states, box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for column in table.columns[1:]:
        column.justify = "right"
    for stage, count in counts.items():
        table.add_row(stage, *(f"{count[state]:,}" if count[state] else "" for state in states))
    total = sum(counts.values(), Counter())
    table.add_row("all", *(f"{total[state]:,}" for state in states), style="bold")
    return table


def verdict(audit: Audit, seconds: float) -> str:
    there = sum(report.there and report.asked for report in audit.reports)
    missing = f", {len(audit.missing)} not yet made" if audit.missing else ""
    root = f"{audit.root} (synthetic, no result)" if audit.synthetic else audit.root
    how = f"({seconds:.1f} s, config {audit.config})"
    if audit.holds:
        return f"{root}: {'all ' * (there != 1)}{plural(there, 'file')} {are_verb(there)} right{missing} {how}"
    failed = Counter(f.check for report in audit.reports for f in {f.check: f for f in report.wrong}.values())
    checks = ", ".join(f"{check} {failed[check]}" for check in CHECKS if failed[check])
    wrong = sum(report.state == "wrong" for report in audit.reports)
    return f"{root}: {wrong} of {plural(there, 'file')} {are_verb(wrong)} wrong: {checks}{missing} {how}"


def print_audit(audit: Audit, seconds: float, *, verbose: bool, console: Console) -> None:
    for line in lines(audit, verbose=verbose):
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    for finding in audit.remarks:
        console.print(f"remark   {finding.check}: {finding.text}", markup=False, highlight=False, soft_wrap=True)
    console.print(summary(audit))
    console.print(verdict(audit, seconds), markup=False, highlight=False, soft_wrap=True)


def as_json(audit: Audit, seconds: float) -> dict:
    return {
        "study": audit.study,
        "root": audit.root,
        "config": audit.config,
        "synthetic": audit.synthetic,
        "holds": audit.holds,
        "seconds": round(seconds, 3),
        "files": [
            {
                "file": report.file, "stage": report.stage, "state": report.state,
                "findings": [{"check": f.check, "text": f.text, "wrong": f.wrong} for f in report.findings],
            }
            for report in audit.reports
        ],
        "remarks": [{"check": f.check, "text": f.text} for f in audit.remarks],
        "counts": {stage: dict(count) for stage, count in audit.counts().items()},
    }  # fmt: skip
