"""report.tables.latex: as many cells as columns, nothing scaled; compiled, nothing leaves its page or is under 7 pt."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import replace

import pandas as pd
import pytest

from tests.vptstudy.report.synthetic import fid_rows, make_study
from vptcore.analysis.published import printed_table
from vptcore.data.tasks import TASKS
from vptstudy.report.tables.build import TABLES, build
from vptstudy.report.tables.latex import latex_escape, to_latex
from vptstudy.report.tables.listing import Listing, ListingColumn
from vptstudy.study import Cell

PREAMBLE = r"""\documentclass[10pt]{article}
\pdfcompresslevel=0 \pdfobjcompresslevel=0
\usepackage{booktabs,siunitx,amssymb,longtable,rotating,pdflscape}
\begin{document}
"""


def bodies(text: str) -> list[list[str]]:
    """The lines of each tabular and longtable that hold cells."""
    found = re.findall(r"\\begin\{(?:tabular|longtable)\}.*?\\end\{(?:tabular|longtable)\}", text, re.S)
    return [[line for line in part.splitlines() if line.endswith(r"\\") and "caption" not in line] for part in found]


def cells(line: str) -> int:
    """How many places of its tabular a line fills."""
    spans = [int(n) - 1 for n in re.findall(r"\\multicolumn\{(\d+)\}", line)]
    return 1 + len(re.findall(r"(?<!\\)&", line)) + sum(spans)


def wide(columns: int, rows: int = 8) -> Listing:
    frame = pd.DataFrame({"name": [f"task {n}" for n in range(rows)]})
    frame = frame.assign(**{f"c{n}": [1234.5 + n] * rows for n in range(columns)})
    shown = [ListingColumn("name", "Name"), *(ListingColumn(f"c{n}", f"Column {n}", 1) for n in range(columns))]
    return Listing("wide", "Wide", "A caption.", tuple(shown), frame)


@pytest.fixture(scope="module")
def paper_tables(paper, paper_final):
    def of(number):
        fid = fid_rows(paper.used("task"), "inception") if number == 19 else None
        return build(number, paper, paper_final, fid)

    return of


@pytest.mark.parametrize("number", [n for n in TABLES if isinstance(n, int)])
def test_every_line_fills_its_tabular(number, paper_tables):
    text = to_latex(paper_tables(number))
    assert text.isascii()
    for lines in bodies(text):
        assert len({cells(line) for line in lines}) == 1
    open_ones: list[str] = []
    for what, environment in re.findall(r"\\(begin|end)\{(\w+)\}", text):
        if what == "begin":
            open_ones.append(environment)
        else:
            assert open_ones.pop() == environment
    assert open_ones == []
    assert r"\resizebox" not in text
    assert r"\tiny" not in text
    assert text.count(r"\caption{") == text.count(r"\label{")
    assert len(set(re.findall(r"\\label\{(.*?)\}", text))) == text.count(r"\label{")


@pytest.mark.parametrize("number", [n for n in TABLES if isinstance(n, int)])
def test_the_papers_block_is_set_as_the_paper_sets_it(number, paper_tables):
    built = paper_tables(number)
    printed = printed_table(number, built.backbone)
    floats = to_latex(built).split(r"\caption{")[1:]
    theirs = [part for part in floats if re.search(r": Paper \(continued\)", part)]
    assert theirs
    shown = built.frame[built.frame.printed.notna()]
    assert sum(part.count(r"\bfseries") + part.count(r"\textbf{") for part in theirs) == (
        shown.printed_style.str.contains("bold").sum()
    )
    assert sum(part.count(r"\underline{") for part in theirs) == shown.printed_style.str.contains("underlined").sum()
    assert len(printed) > 0


def test_numbers_stand_below_their_decimal_points():
    frame = pd.DataFrame({"name": ["a", "b", "c"], "gap": [1.26, -10.04, float("nan")]})
    columns = (ListingColumn("name", "Name"), ListingColumn("gap", "Gap", 1, signed=True))
    text = to_latex(Listing("made_up", "Made up", "Caption", columns, frame))
    assert r"\begin{tabular}{lS[retain-explicit-plus,table-format=-2.1]}" in text
    assert "a & +1.3 \\\\\nb & -10.0 \\\\\nc & {--} \\\\" in text


def test_a_sheet_takes_the_largest_way_that_fits():
    """By a count of the letters: 8 pt upright, then 7 pt, then on its side, then in parts with the names again."""
    found = [to_latex(wide(columns)) for columns in (3, 7, 8, 40)]
    assert [r"\footnotesize" in text for text in found[:2]] == [True, False]
    assert [r"\begin{sidewaystable}" in text for text in found] == [False, False, True, True]
    assert found[3].count("task 7") == found[3].count(r"\begin{tabular}") > 1
    heads = re.findall(r"Column\s\d+", found[3].replace(r"\\", " "))
    assert sorted(map(str, set(heads))) == sorted({f"Column {n}" for n in range(40)})


def test_parts_end_where_a_group_of_columns_does(paper_tables):
    """Table 5's five sizes with two methods each fit no page: every part has both methods of its sizes."""
    text = to_latex(paper_tables(5))
    ours = text.split(r"\caption{")[1:3]
    assert [re.findall(r"\\textit\{(\d+)\}", part) for part in ours] == [["400", "800"], ["5000", "10000"]]


def test_many_tasks_are_rows():
    """Own tasks, forty of them, with long titles: rows over pages, never forty columns."""
    long = {f"own{n}": replace(TASKS["digits"], id=f"own{n}", title=f"My own long task {n}") for n in range(40)}
    study = make_study([Cell("vit_mini_cifar10", m, t, "160") for t in long for m in ("full", "vpt")], "own", "160",
                       tasks={**TASKS, **long})  # fmt: skip
    from tests.vptstudy.report.synthetic import final_rows

    text = to_latex(build(1, study, final_rows(study)))
    assert text.count("My own long task 39 &") == 1
    assert r"\begin{tabular}" in text or r"\begin{longtable}" in text


def test_a_letter_that_latex_lacks_does_not_stop_it():
    assert latex_escape("50 % of ü & 日\n…") == r"50 \% of ? \& ? \dots{}"


def compiled(text: str, folder) -> tuple[str, set[float]]:
    """(the log, the sizes of Computer Modern fonts in the PDF)."""
    (folder / "t.tex").write_text(PREAMBLE + text + r"\end{document}" + "\n", encoding="ascii")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "t.tex"]
    for _ in range(2):
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, errors="replace")
        assert done.returncode == 0, done.stdout[-1500:]
    fonts = re.findall(rb"/FontName\s*/\w+\+(?:CM|MS)[A-Z]+?(\d+)\b", (folder / "t.pdf").read_bytes())
    return (folder / "t.log").read_text(errors="replace"), {float(size) for size in fonts}


def check_printed(text: str, folder) -> None:
    """No line of the table wider than the page, and no letter under 7 pt."""
    log, fonts = compiled(text, folder)
    assert "Overfull" not in log, re.findall(r"Overfull.*", log)
    assert "Float too large" not in log, re.findall(r".*Float too large.*", log)
    assert fonts
    assert min(fonts) >= 7


needs_latex = pytest.mark.skipif(not shutil.which("pdflatex"), reason="pdflatex is not installed")


@pytest.mark.slow
@needs_latex
@pytest.mark.parametrize("number", [n for n in TABLES if isinstance(n, int)])
def test_every_table_of_the_paper_prints(number, paper_tables, tmp_path):
    check_printed(to_latex(paper_tables(number)), tmp_path)


@pytest.mark.slow
@needs_latex
@pytest.mark.parametrize(("columns", "rows"), [(3, 5), (7, 8), (11, 8), (11, 60), (3, 120), (40, 8), (40, 60)])
def test_wide_and_long_tables_print(columns, rows, tmp_path):
    check_printed(to_latex(wide(columns, rows)), tmp_path)
