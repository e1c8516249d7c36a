"""What an audit finds: one `Report` a file, one `Audit` a study.

A finding is either wrong (the audit fails) or a remark. `check` is one of `CHECKS`, the words of the summary and of
docs/audit.md.

    python -m pytest tests/workflow/test_audit.py
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

CHECKS = {
    "readable": "the file can be read to its end",
    "schema": "it is what its name says: its kind's columns, shape and keys",
    "complete": "all configurations, seeds, epochs and images that the config asks for, none twice",
    "config": "made from the config of today",
    "inputs": "made from the inputs that are there today",
    "code": "made by a known version of this package",
    "plausible": "its numbers can be so, and agree with the files beside it",
    "manifest": "of the size and hash that its job wrote down",
}


class Unusable(Exception):
    """A file that a check cannot go on with. `check` is 'readable' or 'schema'."""

    def __init__(self, check: str, text: str):
        super().__init__(text)
        self.check = check


@dataclass(frozen=True)
class Finding:
    check: str
    text: str
    wrong: bool = True


def remark(check: str, text: str) -> Finding:
    return Finding(check, text, wrong=False)


@dataclass
class Report:
    """One file. `there` is false for what is not yet made; `asked` is false for what the config does not ask for.

    `reads` are the files that its job reads.
    """

    file: str
    stage: str
    about: str = ""
    there: bool = True
    asked: bool = True
    reads: tuple[str, ...] = ()
    findings: list[Finding] = field(default_factory=list)

    @property
    def wrong(self) -> list[Finding]:
        return [f for f in self.findings if f.wrong]

    @property
    def remarks(self) -> list[Finding]:
        return [f for f in self.findings if not f.wrong]

    @property
    def state(self) -> str:
        if self.wrong:
            return "wrong"
        return ("right" if self.there else "not yet made") if self.asked else "not asked for"


@dataclass(frozen=True)
class Audit:
    """All files of a study, in the order of the flow, remarks on it as a whole, and whether it is a rehearsal's."""

    study: str
    root: str
    config: str
    reports: tuple[Report, ...]
    remarks: tuple[Finding, ...] = ()
    synthetic: bool = False

    @property
    def holds(self) -> bool:
        return not any(report.wrong for report in self.reports)

    def depending(self, files: Iterable[str]) -> set[str]:
        """The files that are there and were made from these, from those, and so on."""
        files, readers = set(files), defaultdict(set)
        for report in self.reports:
            for name in report.reads if report.there else ():
                readers[name].add(report.file)
        found, stack = set(files), list(files)
        while stack:
            new = readers[stack.pop()] - found
            found |= new
            stack += new
        return found - files

    @property
    def missing(self) -> list[Report]:
        return [report for report in self.reports if report.asked and not report.there]

    def counts(self) -> dict[str, Counter]:
        """Stage -> how many files are in which state."""
        counts: dict[str, Counter] = {}
        for report in self.reports:
            counts.setdefault(report.stage, Counter())[report.state] += 1
        return counts
