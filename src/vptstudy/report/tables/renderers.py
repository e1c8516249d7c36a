"""A table as CSV, Markdown, LaTeX, HTML or terminal text; the same bytes for the same rows.

In: anything with a `Grid`. Out: text, or a rich renderable. The CSV has every value unrounded; Markdown, LaTeX and HTML
show all blocks, the terminal the first.

    python -m pytest tests/vptstudy/report/test_render.py
"""

from __future__ import annotations

import unicodedata
from itertools import groupby

from markupsafe import Markup
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.measure import measure_renderables
from rich.table import Table as RichTable
from rich.text import Text

from vptstudy.report.page.templating import templates
from vptstudy.report.tables.grid import Block, Entry, Grid, GridColumn, GridLine, Tabular
from vptstudy.report.tables.latex import to_latex

__all__ = ["to_csv", "to_html", "to_latex", "to_markdown", "to_terminal"]


def to_csv(table: Tabular) -> str:
    return table.grid.csv


def to_markdown(table: Tabular) -> str:
    """GitHub's Markdown: one table per block under a heading, the caption below."""
    grid = table.grid
    parts = [f"### {markdown_escape(grid.heading)}"]
    for block in grid.blocks:
        parts += [f"**{markdown_escape(block.title)}**"] if block.title else []
        parts.append("\n".join(_markdown_lines(grid, block)))
    return "\n\n".join([*parts, markdown_escape(grid.caption)]) + "\n"


def _markdown_lines(grid: Grid, block: Block):
    yield "| " + " | ".join(markdown_escape(column.alone) for column in grid.columns) + " |"
    yield "|" + "".join(" :-- |" if column.is_text else " --: |" for column in grid.columns)
    for line in block.lines:
        yield "| " + " | ".join(map(_markdown_entry, line.entries)) + " |"


def _markdown_entry(entry: Entry) -> str:
    main = markdown_escape(entry.main)
    main = f"<u>{main}</u>" if entry.underlined else main
    main = f"**{main}**" if entry.bold else main
    spread = f" {entry.spread}" if entry.spread else ""
    wins = f" ({entry.wins})" if entry.wins else ""
    return f"{main}{markdown_escape(entry.mark)}{spread}{wins}"


def markdown_escape(text: str) -> str:
    """A text as Markdown shows it: no emphasis, code, link, cell or tag of its own, and in one line."""
    escaped = "".join(f"\\{character}" if character in "\\|*_`[]" else character for character in one_line(text))
    return escaped.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def one_line(text: str) -> str:
    """A text without line breaks, which end a row in Markdown, and without controls."""
    if text.isprintable():
        return text
    return "".join(" " if unicodedata.category(c) in ("Cc", "Zl", "Zp") else c for c in text)


def to_html(table: Tabular) -> Markup:
    """A sortable `<table>` inside a scrolling element; everything that is not our own markup is escaped."""
    return Markup(templates().get_template("table.html.jinja").render(grid=table.grid))


def to_terminal(table: Tabular, width: int = 100) -> RichTable:
    """The first block with its columns as rows; spreads are left out where they do not fit `width`."""
    shown = _terminal(table.grid, spread=True)
    return shown if _width(shown) <= width else _terminal(table.grid, spread=False)


def _terminal(grid: Grid, spread: bool) -> RichTable:
    kind = grid.blocks[0].lines[0].kind
    lines = [line for line in grid.blocks[0].lines if line.kind == kind]
    shown = RichTable(
        title=Text(grid.heading), title_justify="left", box=SIMPLE_HEAD, pad_edge=False, padding=(0, 0, 0, 1)
    )
    shown.add_column("", no_wrap=True)
    for line in lines:
        labels = [entry.main for entry in line.entries[: grid.stubs]]
        shown.add_column(Text("\n".join(labels)), justify="right", no_wrap=True)
    numbers = list(enumerate(grid.columns))[grid.stubs :]
    for group, columns in groupby(numbers, lambda pair: pair[1].group):
        shown.add_row(Text(group, style="bold"))
        _terminal_rows(shown, lines, list(columns), spread)
        shown.add_section()
    return shown


def _terminal_rows(
    shown: RichTable, lines: list[GridLine], columns: list[tuple[int, GridColumn]], spread: bool
) -> None:
    for place, column in columns:
        entries = [line.entries[place] for line in lines]
        shown.add_row(Text(f"  {column.title}"), *(_terminal_entry(entry, spread) for entry in entries))
    if any(entry.wins for entry in entries):
        shown.add_row(Text("  Wins against FT", style="dim"), *(Text(entry.wins, style="dim") for entry in entries))


def _terminal_entry(entry: Entry, spread: bool) -> Text:
    style = " ".join(name for name, on in (("bold", entry.bold), ("underline", entry.underlined)) if on)
    return Text.assemble(
        (entry.main, style), entry.mark, (f" {entry.spread}" if spread and entry.spread else "", "dim")
    )


def _width(shown: RichTable) -> int:
    console = Console(width=10_000)
    return measure_renderables(console, console.options, [shown]).maximum
