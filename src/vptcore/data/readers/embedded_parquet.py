"""A parquet that ships with the package, `assets/<task>.parquet`.

python -m pytest tests/vptcore/data/test_fashion.py
"""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from vptcore.data.item import Request, Source
from vptcore.data.reader import Reader
from vptcore.data.readers import columns, parquet_files


def embedded_parquet(request: Request) -> Source:
    path = _asset(request)
    return columns.open_columns(path, columns.one_table(path), request)


def _asset(request: Request) -> Path:
    return Path(str(resources.files("vptcore") / "assets" / f"{request.task}.parquet"))


READER = Reader(
    "embedded_parquet", "nothing: the package brings it", embedded_parquet,
    count=lambda request: parquet_files.count(_asset(request)), ships="vptcore/assets",
)  # fmt: skip
