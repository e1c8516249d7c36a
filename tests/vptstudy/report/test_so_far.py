"""report.so_far: a study in the middle of its work; what is missing is marked, counted, and nothing else is touched."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
import yaml

from tests.vptstudy.report.synthetic import final_rows
from vptcore.records import write_rows
from vptstudy.cli import main
from vptstudy.config.resolve import load_study
from vptstudy.config.schema import read_config

REPO = Path(__file__).resolve().parents[3]
HIVE = ["backbone", "method", "task", "train"]


@pytest.fixture
def begun(tmp_path, monkeypatch):
    """The demo's study with finals of two methods on two tasks, in a folder of its own."""
    config = read_config(REPO / "profiles/demo/study.yaml")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    study = load_study(config)
    here = [c for c in study.cells if c.method in ("full", "vpt") and c.task in ("digits", "shapes_count")]
    for cell in (cell for cell in here if cell.train == study.base_train):
        write_rows(study.path("final", cell), "final", final_rows(study, [cell]).drop(columns=HIVE), {})
    return study


def files(folder) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_what_is_missing_is_marked_and_counted(begun, tmp_path, capsys):
    root, before = tmp_path / begun.root, files(tmp_path)
    assert main.main(["render", begun.root, "table_02", "figure_forest", "figure_05"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("] ")[1].rpartition("  ")[0] for line in lines[:3]] == [
        "table_02             24 cells from 2 files of 30",
        "figure_forest        drawn from 4 files of 20",
        "figure_05            no rows yet",
    ]
    assert lines[3:] == ["Without rows yet: figure_05.", f"Rendered in {begun.root}/so_far"]
    table = pd.read_csv(root / "so_far/tables/table_02.csv").set_index(["method", "task", "metric"])
    rows = final_rows(begun, [c for c in begun.cells if c.task == "shapes_count" and c.train == "160"])
    full = 100 * rows[rows.method == "full"].test_accuracy.mean()
    assert table.loc[("full", "shapes_count", "accuracy"), "mean"] == pytest.approx(full, abs=1e-3)
    assert table.loc[("full", "shapes_location", "accuracy"), "text"] == "–"
    assert table.loc[("full", "mean", "accuracy"), "mean"] == pytest.approx(full, abs=1e-3)
    caption = (root / "so_far/tables/table_02.md").read_text()
    assert "The study so far: 4 of 29 cells. 13 of 15 cells have no rows yet (–). \\*: a mean over those" in caption
    assert "6 of 10 cells have no final rows yet." in (root / "so_far/figures/figure_forest.txt").read_text()
    new = files(tmp_path) - before
    assert {name.removeprefix(f"{begun.root}/").split("/")[0] for name in new} == {"so_far"}


def test_all_of_it_with_the_report(begun, tmp_path, capsys):
    """From a folder that was moved: its config says another place for the results."""
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / begun.root).rename(tmp_path / "elsewhere/demo")
    assert main.main(["render", "elsewhere/demo", "--configfile", "study.yaml"]) == 0
    out = capsys.readouterr().out
    assert out.rstrip().endswith("Report: elsewhere/demo/so_far/report/index.html")
    made = files(tmp_path / "elsewhere/demo/so_far")
    assert {"tables/table_01.tex", "tables/table_significance.html", "figures/figure_02.pdf"} <= made
    assert {"report/index.html", "report/rows.html", "report/figures/figure_forest.png"} <= made
    page = (tmp_path / "elsewhere/demo/so_far/report/index.html").read_text()
    assert "The study so far: 4 of 29 cells." in page
    assert "figure_05" not in page
    assert "Structured has cells without rows." in page
    assert not (tmp_path / begun.root).exists()


def test_a_target_that_is_not_there_is_one_line(begun, capsys):
    assert main.main(["render", begun.root, "table_03"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("vptcore render: target: 'table_03' is unknown; did you mean 'table_0")
    assert error.count("\n") == 1


def test_a_study_that_has_begun_nothing_is_all_missing(begun, tmp_path, capsys):
    for path in (tmp_path / begun.root).rglob("rows.parquet"):
        path.unlink()
    assert main.main(["render", begun.root, "table_01", "figure_forest"]) == 0
    assert "Without rows yet: table_01 and figure_forest." in capsys.readouterr().out
