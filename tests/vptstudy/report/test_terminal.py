"""report.terminal: what a person sees at the end of a run."""

from __future__ import annotations

import io

from rich.console import Console

from vptstudy.report.contrasts import Contrasts
from vptstudy.report.page.compose import headline
from vptstudy.report.page.terminal import print_summary
from vptstudy.report.page.verdict import answers
from vptstudy.report.tables.build import build


def test_summary_fits_and_names_the_report(demo, demo_final):
    out = io.StringIO()
    path = "results/demo/" + "a_long_folder/" * 8 + "index.html"
    tables = [build(n, demo, demo_final) for n in (1, 2)]
    print_summary(demo, tables, Contrasts(demo, demo_final), path, Console(file=out, width=100))
    text = out.getvalue()
    verdict = headline(answers(demo, Contrasts(demo, demo_final.query("train == '160'"))))
    assert f"Report: {path}\n" in text
    assert max(len(line) for line in text.splitlines() if "index.html" not in line) <= 100
    assert text.index("Table 1") < text.index("Table 2") < text.index(verdict[:20])
