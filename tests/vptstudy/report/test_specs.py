"""report.specs: which cells each of the twenty tables reads."""

from __future__ import annotations

import pytest

from tests.vptstudy.report.synthetic import make_study
from vptcore.analysis.published import read_published
from vptstudy.report.tables.specs import TABLES, cells, spec_of
from vptstudy.study import Cell


def test_every_printed_accuracy_has_its_cell(paper):
    printed = read_published().query("metric in ('accuracy', 'prompt_length') and task != 'mean'")
    for number, rows in printed.groupby("table"):
        wanted = {Cell(r.backbone, r.method, r.task, r.train) for r in rows.itertuples()}
        assert wanted <= set(cells(number, paper)), number


def test_every_cell_of_the_paper_is_in_some_table(paper):
    shown = {cell for number in TABLES for cell in cells(number, paper)}
    assert shown == set(paper.cells)


def test_the_demo_has_its_own_tables(demo):
    assert [n for n in TABLES if isinstance(n, int) and cells(n, demo)] == [1, 2, 5, 6, 16, 17, 18]
    assert {c.method for c in cells(1, demo)} == {"full", "vpt", "mixed", "ft_then_pt", "linear", "mlp"}
    assert {c.train for c in cells(6, demo)} == {"40", "160"}


def test_one_size_makes_no_table_of_sizes():
    study = make_study([Cell("vit_mini_cifar10", m, "digits", "160") for m in ("full", "vpt")], base="160")
    assert cells(5, study) == []
    assert len(cells(1, study)) == 2


def test_main_backbone_is_the_configs():
    both = [Cell(b, "vpt", "digits", "160") for b in ("vit_b16_sup21k", "vit_mini_cifar10")]
    study = make_study(both, base="160", report={"main_backbone": "vit_mini_cifar10"})
    assert {c.backbone for c in cells(1, study)} == {"vit_mini_cifar10"}


def test_table_20_takes_what_lora_was_run_on(paper):
    assert {(c.task, c.train) for c in cells(20, paper)} == {("cifar100", s) for s in ("400", "800", "10000")}


def test_unknown_table_is_one_line():
    with pytest.raises(ValueError, match=r"table 21: there is no such table; choose one of own, .* 20$"):
        spec_of(21)
