"""`--fix`: remove what is broken, so that the next run makes it again.

In: an `Audit` and the jobs of its study. Out: the files to remove, each with its reason. A broken file goes with the
others that its job made, and with what was made from them: Snakemake makes a missing file again only where something
that is missing asks for it. What is only stale (made from another config, or by a newer version) is left: the next run
makes it again by itself, and a wrong --configfile must not cost a study.

    vptcore audit results/demo --fix
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from vptcore.jobs import manifest
from vptstudy.audit.findings import Audit, Report
from vptstudy.graph.jobs import Job

LEFT = {"config", "code"}


def is_broken(report: Report) -> bool:
    """Wrong in another way than being of another config or version."""
    checks = {finding.check for finding in report.wrong}
    return bool(checks - (LEFT | {"inputs"} if checks & LEFT else LEFT))


def removals(audit: Audit, jobs: Sequence[Job]) -> dict[str, str]:
    """File -> why it goes. Jobs come in the order of the flow."""
    broken = {r.file: r.wrong[0].text for r in audit.reports if is_broken(r)}
    gone: dict[str, str] = {name: why for name, why in broken.items() if not any(name in job.files for job in jobs)}
    for job in jobs:
        of_job = [name for name in job.files if name in broken]
        above = next((name for name in job.reads if name in gone), None)
        if not of_job and above is None:
            continue
        reason = f"made by the same job as {of_job[0]}" if of_job else f"made from {above}"
        gone |= {name: broken.get(name, reason) for name in job.files}
    return gone


def fix(audit: Audit, jobs: Sequence[Job], root: Path) -> Iterator[str]:
    """Remove them, saying each before it goes; and the records of jobs whose files went."""
    gone = removals(audit, jobs)
    for name, why in gone.items():
        if (root / name).is_file():
            yield f"remove   {name}: {why}"
            (root / name).unlink()
        manifest.record_path(root, name).unlink(missing_ok=True)
    if any(name.startswith(f"{manifest.REPORT}/") for name in gone):
        # Snakemake makes the folder as a whole, and only where it is not there.
        for path in sorted((root / manifest.REPORT).rglob("*")):
            if path.is_file() and path.name != ".snakemake_timestamp":
                yield f"remove   {path.relative_to(root)}: the report is made as a whole"
        shutil.rmtree(root / manifest.REPORT, ignore_errors=True)
    for report in audit.reports:
        if report.wrong and report.file not in gone:
            yield f"leave    {report.file}: {report.wrong[0].text}; the next run makes it again by itself"
