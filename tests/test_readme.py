"""Examples of README and docs/running.md that read rows, executed: one number a cell, not one over several sizes."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd
import pytest

from vptcore.records import KINDS, write_rows

ROOT = Path(__file__).resolve().parents[1]
CELLS = {("vpt", "40"): (0.5, 0.6), ("vpt", "160"): (0.8, 0.9), ("full", "160"): (0.7, 0.75)}


def blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", (ROOT / page).read_text(encoding="utf-8"), re.DOTALL)


@pytest.fixture
def results(tmp_path, monkeypatch):
    """results/demo/final with three cells of two seeds."""
    for (method, train), accuracies in CELLS.items():
        folder = tmp_path / f"results/demo/final/backbone=mini/method={method}/task=digits/train={train}"
        blank = dict.fromkeys(KINDS["final"].names, 0) | {"optimizer": "sgd", "device": "cpu", "diverged": False}
        rows = [blank | {"seed": seed, "test_accuracy": accuracy} for seed, accuracy in enumerate(accuracies)]
        write_rows(folder / "rows.parquet", "final", rows, {})
    monkeypatch.chdir(tmp_path)


def by_hand() -> dict[tuple[str, str], tuple[float, float]]:
    return {cell: (pd.Series(values).mean(), pd.Series(values).std()) for cell, values in CELLS.items()}


@pytest.mark.parametrize("page", ["README.md", "docs/running.md"])
def test_the_pandas_example(page, results):
    (code,) = [block for block in blocks(page, "python") if "read_parquet" in block]
    *lines, last = code.strip().splitlines()
    scope: dict = {}
    exec("\n".join(lines), scope)
    found = eval(last, scope).reset_index()
    rows = {(row.method, str(row.train)): (row.mean, row.std) for row in found.itertuples(index=False)}
    assert set(rows) == set(CELLS)
    for cell, numbers in by_hand().items():
        assert rows[cell] == pytest.approx(numbers)


def test_the_sql_example(results):
    duckdb = pytest.importorskip("duckdb")
    (query,) = blocks("docs/running.md", "sql")
    found = duckdb.sql(query).df()
    rows = {(row["method"], str(row["train"])): tuple(row.iloc[-2:]) for _, row in found.iterrows()}
    assert set(rows) == set(CELLS)
    for cell, numbers in by_hand().items():
        assert rows[cell] == pytest.approx(numbers)
