"""What a check sees: today's study, its files, and how deep to look.

python -m pytest tests/workflow/test_audit.py
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

import numpy as np

from vptstudy.audit.findings import Finding
from vptstudy.audit.store import Store
from vptstudy.audit.synthetic import is_synthetic
from vptstudy.graph.jobs import Job
from vptstudy.study import Study

Found = tuple[str, Finding]


class View:
    """A study of today's config and the store of its files. Shared by all checks and threads."""

    def __init__(self, study: Study, store: Store):
        self.study, self.store = study, store

    @cached_property
    def synthetic(self) -> bool:
        """Whether it is the study of a rehearsal, whose rows no job made."""
        return is_synthetic(self.study)

    @property
    def deep(self) -> bool:
        return self.store.deep

    def exists(self, name: str) -> bool:
        return self.store.exists(name)

    def path(self, name: str) -> Path:
        return self.store.path(name)

    def rows(self, name: str, kind: str) -> dict[str, np.ndarray]:
        return self.store.rows(name, kind)

    def rows_if(self, name: str, kind: str) -> dict[str, np.ndarray] | None:
        return self.store.rows_if(name, kind)

    def note(self, name: str, kind: str) -> dict:
        return self.store.note(name, kind)


def only(job: Job, output: str) -> str:
    """The one file of an output."""
    (name,) = job.outputs[output]
    return name
