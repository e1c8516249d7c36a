"""Examples of README and docs/running.md that read rows, executed: one number a cell, not one over several sizes. What
README shows of the demo: its jobs are the graph's, its means those of its numbers, its picture from the same run."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from vptcore.records import KINDS, write_rows
from vptstudy.config.resolve import load_study
from vptstudy.graph.jobs import Graph

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


@pytest.fixture
def demo_lines() -> list[str]:
    """The two blocks of the demo's output."""
    page = (ROOT / "README.md").read_text(encoding="utf-8")
    found = re.findall(r"^```\w*\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    shown = [block for block in found if re.search(r"^\d+ jobs: |^Table 1", block)]
    assert len(shown) == 2
    return "".join(shown).splitlines()


def test_the_demo_has_the_jobs_that_the_graph_has(demo_lines):
    study = load_study(yaml.safe_load((ROOT / "profiles/demo/study.yaml").read_text()))
    counts = Counter(job.stage for job in Graph(study).behind(["all"]))
    said = dict(reversed(pair) for pair in re.findall(r"(\d+) ([a-z]+)", demo_lines[0].partition(":")[2]))
    assert {stage: int(many) for stage, many in said.items()} == counts
    many = counts.total()  # and the target itself
    assert demo_lines[0].startswith(f"{many + 1} jobs: ")
    assert f"[{many}/{many + 1}] report" in "\n".join(demo_lines)


def numbers_of(lines: list[str]) -> dict[str, dict[str, list[float]]]:
    """Group -> line of its table -> the number of each method, without its spread; wins stand below the last four."""
    found: dict[str, dict[str, list[float]]] = {}
    for line in lines:
        if heading := re.fullmatch(r" (Natural|Specialized|Structured)", line):
            found[heading[1]] = {}
        elif found and len(entries := re.split(r"\s{2,}", line.strip())) > 4 and entries[1][0].isdigit():
            found[list(found)[-1]][entries[0]] = [float(entry.split()[0]) for entry in entries[1:]]
    return found


def test_the_demos_means_and_wins_are_those_of_its_numbers(demo_lines):
    groups = numbers_of(demo_lines)
    assert sum(len(group) - 2 for group in groups.values()) == 5
    for group in groups.values():
        *tasks, mean, wins = group.values()
        assert np.allclose(np.mean(tasks, 0), mean, atol=0.051)
        assert wins == [sum(line[k] > line[0] for line in tasks) for k in range(1, 5)]


def test_the_demos_picture_shows_the_numbers_that_its_tables_do(demo_lines):
    tasks = {task: line for group in numbers_of(demo_lines).values() for task, line in group.items()}
    shown = pd.read_csv(ROOT / "docs/images/demo_forest.csv").dropna(subset="task")
    assert len(shown) == 5
    study = load_study(yaml.safe_load((ROOT / "profiles/demo/study.yaml").read_text()))
    for row in shown.itertuples():
        full, vpt, *_ = tasks[study.tasks[row.task].title]
        assert row.difference == pytest.approx(vpt - full, abs=0.11)
