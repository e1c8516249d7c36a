"""`--fix`: remove what is broken, so that the next run makes it again. What would go is shown before anything goes.

In: an `Audit` and the jobs of its study. Out: the files to remove, each with its reason, and what is left and why. A
broken file goes with the others that its job made, and with what was made from them: Snakemake makes a missing file
again only where something that is missing asks for it. What is only stale (made from another config, or by a newer
version) is left, since a wrong --configfile must not cost a study.

    vptcore audit results/demo --fix
"""

from __future__ import annotations

import shutil
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path

from vptcore.jobs import manifest
from vptstudy.audit.findings import Audit, Report
from vptstudy.audit.printing import named
from vptstudy.graph.jobs import Job

LEFT = {"config", "code"}
AGAIN, STAYS = "the next run makes it again by itself", "no run of this version makes it again; remove it by hand"


def is_broken(report: Report) -> bool:
    """Wrong in another way than being of another config or version."""
    checks = {finding.check for finding in report.wrong}
    return bool(checks - (LEFT | {"inputs"} if checks & LEFT else LEFT))


def removals(audit: Audit, jobs: Sequence[Job], root: Path) -> dict[str, str]:
    """File that is there -> why it goes. Jobs come in the order of the flow."""
    broken = {r.file: r.wrong[0].text for r in audit.reports if is_broken(r)}
    gone: dict[str, str] = {name: why for name, why in broken.items() if not any(name in job.files for job in jobs)}
    for job in jobs:
        of_job = [name for name in job.files if name in broken]
        above = next((name for name in job.reads if name in gone), None)
        if not of_job and above is None:
            continue
        reason = f"made by the same job as {of_job[0]}" if of_job else f"made from {above}"
        gone |= {name: broken.get(name, reason) for name in job.files}
    if any(name.startswith(f"{manifest.REPORT}/") for name in gone):
        # Snakemake makes the folder as a whole, and only where it is not there.
        files = (path for path in sorted((root / manifest.REPORT).rglob("*")) if path.name != manifest.MARK)
        whole = (path.relative_to(root).as_posix() for path in files if path.is_file())
        gone = dict.fromkeys(whole, "the report is made as a whole") | gone
    return {name: why for name, why in gone.items() if (root / name).is_file()}


def left(audit: Audit, gone: Collection[str], stale: Collection[str]) -> Iterator[str]:
    """A line for all wrong files that stay for one reason. `stale` are those that the next run makes again."""
    groups: dict[tuple[str, str], list[Report]] = {}
    for report in audit.reports:
        if report.wrong and report.file not in gone:
            what = AGAIN if report.file in stale else STAYS
            groups.setdefault((report.wrong[0].text, what), []).append(report)
    yield from (f"leave    {named(reports)}: {text}; {what}" for (text, what), reports in groups.items())


def remove(gone: Mapping[str, str], root: Path) -> None:
    """The files, and the records of the jobs that made them."""
    for name in gone:
        (root / name).unlink(missing_ok=True)
        manifest.record_path(root, name).unlink(missing_ok=True)
    if any(name.startswith(f"{manifest.REPORT}/") for name in gone):
        shutil.rmtree(root / manifest.REPORT, ignore_errors=True)
