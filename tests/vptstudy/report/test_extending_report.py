"""The tables and the figure that docs/extending.md adds, as it adds them: targets, files and their numbers."""

from __future__ import annotations

import importlib
import re
import sys
import textwrap
import types
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from tests.vptstudy.report.synthetic import answers_of, final_rows, make_study
from vptcore.analysis.statistics import CELL
from vptcore.jobs.provenance import provenance
from vptcore.records import write_rows
from vptstudy.config.resolve import load_study
from vptstudy.graph import targets
from vptstudy.report import produce
from vptstudy.report.figures import catalogue, draw, values, wanted
from vptstudy.report.tables.extras import EXTRAS
from vptstudy.report.tables.specs import TABLES
from vptstudy.study import Cell

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs/extending.md").read_text(encoding="utf-8")
MINI = "vit_mini_cifar10"


def section(heading: str) -> str:
    return PAGE.split(f"\n## {heading}")[1].split("\n## ")[0]


def blocks(heading: str) -> list[str]:
    found = re.findall(r"^( *)```python\n(.*?)^\1```", section(heading), re.S | re.M)
    return [textwrap.dedent(code) for _, code in found]


def names_of(code: str) -> dict:
    """What is known in the file that the block's first line names."""
    path = re.match(r"# src/(\S+)\.py", code)[1]
    return dict(vars(importlib.import_module(path.replace("/", "."))))


def row_of(code: str, **imported):
    """The row that a block adds to its file, where `imported` is imported beside what the file has."""
    return eval(compile(code, "docs/extending.md", "eval"), names_of(code) | imported)


def function_of(code: str, name: str):
    names = names_of(code)
    exec(compile(code, "docs/extending.md", "exec"), names)
    return names[name]


def module_of(code: str, name: str) -> types.ModuleType:
    module = types.ModuleType(name)
    exec(compile(code, "docs/extending.md", "exec"), module.__dict__)
    return module


@pytest.fixture
def tables(monkeypatch):
    """The page's rows among the others."""
    of_the_papers_form, module, row = blocks("A table")
    probe = row_of(of_the_papers_form)
    monkeypatch.setitem(TABLES, probe.number, probe)
    spread = row_of(row, spread=module_of(module, "spread"))
    monkeypatch.setitem(EXTRAS, spread.name, spread)


@pytest.fixture
def figure(monkeypatch):
    """The page's drawing function, its numbers and its row, each in its file."""
    drawing, numbers, reads, row = blocks("A figure")
    name = "vptstudy.report.figures.draw_seeds"
    monkeypatch.setitem(sys.modules, name, module_of(drawing, name))
    monkeypatch.setattr(values, "every_seed", function_of(numbers, "every_seed"), raising=False)
    monkeypatch.setattr(wanted, "seeds", function_of(reads, "seeds"), raising=False)
    spec = row_of(row)
    monkeypatch.setitem(catalogue.FIGURES, spec.number, spec)


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    demo = yaml.safe_load((ROOT / "profiles/demo/study.yaml").read_text())
    return demo | {"results": str(tmp_path_factory.mktemp("results"))}


@pytest.fixture(scope="module")
def final(config):
    """Final rows of every cell of the demo, and predictions that agree with them, written where the jobs read them."""
    study = load_study(config)
    rows = final_rows(study)
    answers = answers_of(rows, images=100)
    for key, mine in rows.groupby(CELL, sort=False):
        cell = Cell(*key)
        write_rows(study.path("final", cell), "final", mine.drop(columns=CELL), provenance({}, {}))
        more = answers[cell].assign(confidence=0.5, loss=0.1)
        write_rows(study.path("predictions", cell), "predictions", more, provenance({}, {}))
    return rows


def printed(config, number, folder) -> tuple[pd.DataFrame, dict[str, Path]]:
    made = {form: folder / f"table.{form}" for form in ("csv", "md", "tex", "html", "note")}
    outputs = {form: str(path) for form, path in made.items()}
    produce.table({"number": number, "config": config}, targets.table_files(load_study(config), number), outputs)
    return pd.read_csv(made["csv"], dtype={"train": str}), made


def accuracies(final: pd.DataFrame, method: str, task: str, train: str = "160") -> list[float]:
    return [
        100 * row.test_accuracy
        for row in final.itertuples()
        if (row.method, row.task, row.train) == (method, task, train)
    ]


def test_the_table_of_the_papers_form_has_the_means(tables, config, final, tmp_path):
    assert "table_probe" in targets.targets_of(load_study(config))
    frame, made = printed(config, "probe", tmp_path)
    cells = frame[(frame.metric == "accuracy") & (frame.task != "mean")]
    assert set(cells.method) == {"full", "linear"}
    assert set(cells.task) == set(load_study(config).used("task"))
    for row in cells.itertuples():
        assert row.mean == pytest.approx(np.mean(accuracies(final, row.method, row.task)), rel=1e-5)
    assert "Linear probe" in made["md"].read_text()


def test_the_table_of_a_form_of_its_own_has_lowest_and_highest(tables, config, final, tmp_path):
    assert "table_spread" in targets.targets_of(load_study(config))
    frame, made = printed(config, "spread", tmp_path)
    at_base = final[final.train == "160"]
    assert len(frame) == len(at_base.drop_duplicates(CELL))
    for row in frame.itertuples():
        mine = accuracies(final, row.method, row.task)
        assert [row.lowest, row.highest] == pytest.approx([min(mine), max(mine)], rel=1e-5)
        assert row.apart == pytest.approx(max(mine) - min(mine), abs=1e-4)
    for form in ("md", "html"):
        text = made[form].read_text()
        assert "lowest and the highest test accuracy over seeds, train size 160." in text
        assert f"{frame.lowest[0]:.1f}" in text
    assert "no rows yet" not in made["note"].read_text()


def test_its_caption_counts_the_cells_without_rows(tables, config, final):
    study = load_study(config)
    wanted = EXTRAS["spread"].reads(study)["final"]
    lacking = final[~((final.method == "vpt") & (final.task == "digits"))]
    caption = EXTRAS["spread"].build(study, {"final": lacking}).caption
    assert f"1 of {len(wanted)} cells has no rows yet" in caption


def test_the_figure_draws_every_seed_with_its_numbers_beside_it(figure, config, final, tmp_path):
    study = load_study(config)
    assert "figure_seeds" in targets.targets_of(study)
    made = {form: tmp_path / f"figure.{form}" for form in ("pdf", "png", "csv", "caption")}
    outputs = {form: str(path) for form, path in made.items()}
    produce.figure({"number": "seeds", "config": config}, targets.figure_files(study, "seeds"), outputs)
    assert made["png"].read_bytes().startswith(b"\x89PNG")
    assert made["pdf"].read_bytes().startswith(b"%PDF")
    assert made["caption"].read_text().startswith("Every seed of FT and VPT. ")
    pair = final[final.method.isin(["full", "vpt"]) & (final.train == "160")]
    beside = pd.read_csv(made["csv"]).set_index(["task", "method", "seed"])["accuracy"]
    oracle = 100 * pair.set_index(["task", "method", "seed"])["test_accuracy"]
    pd.testing.assert_series_equal(beside.sort_index(), oracle.sort_index(), check_names=False, rtol=1e-5)
    (axes,) = draw.draw("seeds", study, {"final": final}).axes
    dots = [y for line in axes.lines for y in line.get_ydata()]
    assert sorted(dots) == pytest.approx(sorted(oracle))


def test_a_study_without_their_cells_has_no_target(tables, figure):
    other = make_study([Cell(MINI, "lora", "digits", "40")], base="160")
    assert {"table_spread", "table_probe", "figure_seeds"}.isdisjoint(targets.targets_of(other))


@pytest.mark.parametrize("heading", ["A table", "A figure"])
def test_the_steps_name_files_that_are_there(heading):
    named = re.findall(r"(?:src|tests)/[\w/]*\.py", section(heading))
    assert named
    assert all("NAME" in path or (ROOT / path).is_file() for path in named)


def test_the_page_opens_with_a_list_of_its_sections():
    headings = re.findall(r"^## (.*)$", PAGE, re.M)
    links = re.findall(r"^- \[(.*?)\]\(#(.*?)\)", PAGE.split("\n## ")[0], re.M)
    as_github_makes_them = [re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings]
    assert [anchor for _, anchor in links] == as_github_makes_them
    assert [text for text, _ in links] == [re.split("[:,]", heading)[0] for heading in headings]
