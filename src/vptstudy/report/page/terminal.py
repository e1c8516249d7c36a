"""The end of a run, on the terminal: the main tables in a hundred columns, and where the report is.

In: a study, its built main tables, its contrasts and the report's path. Out: text on the console.

    python -m pytest tests/vptstudy/report/test_terminal.py
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from rich.console import Console

from vptstudy.report.contrasts import Contrasts
from vptstudy.report.page.compose import headline, is_main
from vptstudy.report.page.verdict import answers, instead
from vptstudy.report.tables.build import Table
from vptstudy.report.tables.renderers import to_terminal
from vptstudy.study import Study

WIDTH = 100


def print_summary(
    study: Study,
    tables: Table | Iterable[Table],
    contrasts: Contrasts,
    report_path: Path | str,
    console: Console | None = None,
) -> None:
    """Print the tables, the verdict and the report's path, to `console` or 100 columns of standard output."""
    tables = [tables] if isinstance(tables, Table) else list(tables)
    console = console or Console(width=WIDTH, highlight=False)
    for table in tables:
        console.print(to_terminal(table, width=min(WIDTH, console.width)))
    main = [answer for answer in answers(study, contrasts) if is_main(answer, study)]
    console.print(headline(main, instead(study, contrasts)), markup=False)
    # A path is one word: it must stay whole to be copied.
    console.print(f"Report: {report_path}", markup=False, soft_wrap=True)
