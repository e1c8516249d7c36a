"""A rehearsal's study: rows that no job made, and what can be held of them all the same.

In: a study, a rows file's metadata. Out: whether it is synthetic, and findings where study and file disagree about it.
A study is synthetic only where its config carries the rehearsal's notice, which every table and figure of it then
prints, and a file only where its metadata does.

    vptcore audit results/rehearsal
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from vptstudy.audit.findings import Finding
from vptstudy.rehearsal.write import NOTICE
from vptstudy.study import Study

LINE = (
    "synthetic: rows of a rehearsal, drawn and made by no job. Their inputs, images and splits are not held, "
    "for there are none; everything else is"
)
# What only jobs make: of no synthetic study.
UNMADE = ("data", "features", "models")


def is_synthetic(study: Study) -> bool:
    """Whether a study's config says that it is a rehearsal."""
    return study.config["report"].get("notice") == NOTICE


def is_drawn(note: Mapping) -> bool:
    """Whether a rows file's metadata says that no job made it."""
    return "synthetic" in note


def check_mark(synthetic: bool, note: Mapping) -> Iterator[Finding]:
    """A file and its study must say the same."""
    if is_drawn(note) and not synthetic:
        yield Finding("schema", "synthetic rows, made by no job, in a study that is no rehearsal")
    elif synthetic and not is_drawn(note):
        yield Finding("schema", "rows without the mark of synthetic ones, in the study of a rehearsal")
