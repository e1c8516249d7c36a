"""report.render: the same table in five forms; escaping; the same bytes twice."""

from __future__ import annotations

import io
import re
from dataclasses import replace
from html.parser import HTMLParser

import pandas as pd
import pytest
from rich.console import Console

from tests.vptstudy.report.synthetic import fid_rows, final_rows, make_study
from vptcore.analysis.published import printed_table
from vptcore.data.tasks import TASKS
from vptstudy.report.tables.build import TABLES, build, cells
from vptstudy.report.tables.latex import latex_escape
from vptstudy.report.tables.paper_grid import CSV_COLUMNS
from vptstudy.report.tables.renderers import to_csv, to_html, to_latex, to_markdown, to_terminal
from vptstudy.study import Cell

EVIL = "<script>alert(1)</script> 5% & $_{x}"


@pytest.fixture(scope="module")
def table(paper, paper_final):
    return build(1, paper, paper_final)


@pytest.fixture(scope="module")
def evil():
    tasks = {**TASKS, "digits": replace(TASKS["digits"], title=EVIL)}
    study = make_study([Cell("vit_mini_cifar10", m, "digits", "160") for m in ("full", "vpt")], base="160", tasks=tasks)
    return build(1, study, final_rows(study))


def printed(table, width: int = 100) -> str:
    out = io.StringIO()
    Console(file=out, width=width).print(to_terminal(table, width))
    return out.getvalue()


class Counter(HTMLParser):
    """Counts tags, and holds that every opened one is closed."""

    def __init__(self):
        super().__init__()
        self.open, self.seen = [], []

    def handle_starttag(self, tag, attrs):
        self.seen.append(tag)
        if tag not in ("meta", "img", "base", "input", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_csv_reads_back_as_the_tidy_frame(table):
    back = pd.read_csv(io.StringIO(to_csv(table)))
    assert list(back.columns) == CSV_COLUMNS
    assert len(back) == len(table.lines) * len(table.columns)
    assert back["mean"].to_numpy() == pytest.approx(table.frame["mean"].to_numpy(), abs=5e-5, nan_ok=True)


def test_markdown_has_three_blocks_of_full_lines(table):
    text = to_markdown(table)
    assert re.findall(r"^\*\*(.+)\*\*$", text, re.M) == ["This study", "Paper", "This study − paper"]
    widths = {line.count(" | ") for line in text.splitlines() if line.startswith("| ")}
    assert widths == {len(table.columns)}
    assert "(6)" in next(line for line in text.split("**Paper**")[1].splitlines() if line.startswith("| VPT"))


def test_a_slip_in_the_papers_wins_is_marked(table):
    paper = to_markdown(table).split("**Paper**")[1].split("**This study")[0]
    assert "82.65 (1‡)" in paper
    assert "the text says 2 of 4" in str(to_html(table))


def test_html_is_well_formed_and_has_every_number(table):
    text = str(to_html(table))
    counter = Counter()
    counter.feed(text)
    assert counter.open == []
    lines = sum(1 for _ in table.lines) + 4 + 4
    assert counter.seen.count("td") == lines * len(table.columns) + 1
    for value in table.frame.query("metric == 'accuracy' and task == 'svhn'").text:
        assert value.split(" ±")[0] in text


def test_titles_are_escaped_everywhere(evil):
    assert "<script>" not in str(to_html(evil))
    assert "<script>" not in to_markdown(evil)
    assert "&lt;script&gt;" in str(to_html(evil))
    one_line = re.sub(r"\\shortstack\[r\]\{|\\\\", " ", to_latex(evil)).replace("  ", " ")
    assert r"\textless{}script\textgreater{}alert(1)\textless{}/script\textgreater{} 5\% \& \$\_\{x\}" in one_line
    assert EVIL in printed(evil, 200)


def test_latex_escape_of_a_backslash():
    assert latex_escape("a\\b~^") == r"a\textbackslash{}b\textasciitilde{}\textasciicircum{}"


@pytest.mark.parametrize("number", [1, 2, 5, 6, 9, 19, 20])
def test_terminal_fits_a_hundred_columns_without_cutting(number, paper, paper_final):
    text = printed(build(number, paper, paper_final))
    assert max(map(len, text.splitlines())) <= 100
    assert "…" not in text


def test_terminal_shows_spreads_where_they_fit(demo, demo_final, table):
    assert "±" in printed(build(2, demo, demo_final))
    assert "±" not in printed(table, 60)


def test_the_same_rows_give_the_same_bytes(paper, paper_final):
    for number in (n for n in TABLES if cells(n, paper)):
        once, again = (build(number, paper, paper_final) for _ in range(2))
        for render in (to_csv, to_markdown, to_latex, to_html):
            assert str(render(once)) == str(render(again))


@pytest.mark.parametrize("number", [n for n in TABLES if isinstance(n, int)])
def test_every_table_of_the_paper_has_three_forms_with_its_style(number, paper, paper_final):
    """Ours, the paper's numbers and the difference, in LaTeX and Markdown; every cell in the CSV."""
    study = replace(paper, cells=tuple(cell for cell in paper.cells if cell.train != "20000"))
    built = build(number, study, paper_final, fid_rows(study.used("task"), "inception") if number == 19 else None)
    latex, markdown = to_latex(built), to_markdown(built)
    assert latex.isascii()
    for title in ("This study", "Paper", "This study"):
        assert title in latex
        assert f"**{title}" in markdown
    printed = printed_table(number, built.backbone)
    shown = built.frame[built.frame.printed.notna()]
    # All that the paper prints stands in the table.
    assert len(shown) == len(printed)
    assert (shown.verdict != "").all()
    counts = shown.verdict.value_counts()
    of_wins = built.frame.wins_kind.value_counts()
    for name, count in counts.items():
        assert f"({count + of_wins.get(name, 0)})" in built.caption
