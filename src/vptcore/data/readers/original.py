"""The VTAB tasks from their makers' archives: the row of `archives`, which reads them.

python -m pytest tests/vptcore/data -k archives
"""

from __future__ import annotations

from pathlib import Path

from vptcore.data.item import Request, Source
from vptcore.data.reader import Reader
from vptcore.data.readers import archives


def original(request: Request) -> Source:
    return archives.open_original(request)


def locate(request: Request) -> Path:
    return archives.locate(request)


READER = Reader(
    "original", "the archives as their makers publish them, or unpacked", original, locate=locate, is_quick=False
)
