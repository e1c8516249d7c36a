"""A built table as CSV, Markdown, LaTeX, HTML or terminal text; the same bytes for the same rows.

In: a `tables.Table`. Out: text, or a rich renderable. The CSV is tidy and holds the paper's numbers beside ours;
Markdown, LaTeX and HTML show them as further blocks; the terminal shows ours.

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

from vptstudy.report.page.sources import cell_link
from vptstudy.report.page.templating import templates
from vptstudy.report.tables.build import CSV_COLUMNS, Table
from vptstudy.report.tables.grid import GROUP_TITLES, Block, Entry, blocks, head

_LATEX = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "±": r"$\pm$",
    "−": "$-$",
    "–": "--",
    "×": r"$\times$",
    "†": r"\dag{}",
    "‡": r"\ddag{}",
    "✓": r"$\checkmark$",
    "≠": r"$\neq$",
    "●": r"$\bullet$",
    "§": r"\S{}",
    "é": r"\'e",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
}


def to_csv(table: Table) -> str:
    """Tidy: one line per cell of the table, accuracies in percent, four decimals."""
    return table.frame[CSV_COLUMNS].to_csv(index=False, float_format="%.4f", lineterminator="\n")


def to_markdown(table: Table) -> str:
    """GitHub's Markdown: one table per block under a heading, the caption below."""
    parts = [f"### Table {table.number}: {markdown_escape(table.title)}"]
    for block in blocks(table):
        parts += [f"**{markdown_escape(block.title)}**"] if block.title else []
        parts.append("\n".join(_markdown_lines(table, block)))
    return "\n\n".join([*parts, markdown_escape(table.caption)]) + "\n"


def _markdown_lines(table: Table, block: Block):
    titles = [*table.stub, *(_column_title(table, c) for c in table.columns)]
    yield "| " + " | ".join(map(markdown_escape, titles)) + " |"
    yield "|" + " :-- |" * len(table.stub) + " --: |" * len(table.columns)
    for line in block.lines:
        yield "| " + " | ".join([*map(markdown_escape, line.labels), *map(_markdown_entry, line.entries)]) + " |"


def _markdown_entry(entry: Entry) -> str:
    main = f"<u>{entry.main}</u>" if entry.underlined else entry.main
    main = f"**{main}**" if entry.bold else main
    spread = f" {entry.spread}" if entry.spread else ""
    wins = f" ({entry.wins})" if entry.wins else ""
    return f"{main}{markdown_escape(entry.mark)}{spread}{wins}"


def _column_title(table: Table, column) -> str:
    """'Mean' says of what, where the table has more than one group."""
    several = len({c.group for c in table.columns}) > 1
    return f"{GROUP_TITLES[column.group]} mean" if several and column.task == "mean" else column.title


def markdown_escape(text: str) -> str:
    """A text as Markdown shows it: no emphasis, code, link, cell or tag of its own, and in one line."""
    escaped = "".join(f"\\{character}" if character in "\\|*_`[]" else character for character in one_line(text))
    return escaped.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def to_latex(table: Table) -> str:
    """A booktabs `table` environment of all blocks; needs booktabs, graphicx (\\resizebox) and amssymb (marks)."""
    columns = "l" * len(table.stub) + "r" * len(table.columns)
    lines = [
        r"\begin{table}[t]",
        r"\centering",
        rf"\caption{{{latex_escape(table.caption)}}}",
        rf"\label{{tab:{table.number:02d}}}",
        r"\resizebox{\linewidth}{!}{%",
        rf"\begin{{tabular}}{{{columns}}}",
        r"\toprule",
        *_latex_head(table),
        r"\midrule",
    ]
    width = len(table.stub) + len(table.columns)
    for position, block in enumerate(blocks(table)):
        lines += [r"\midrule"] if position else []
        if block.title:
            lines += [rf"\multicolumn{{{width}}}{{l}}{{\textit{{{latex_escape(block.title)}}}}} \\", r"\addlinespace"]
        for line in block.lines:
            lines += [r"\midrule"] if line.ruled else []
            lines.append(" & ".join([*map(latex_escape, line.labels), *map(_latex_entry, line.entries)]) + r" \\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}}", r"\end{table}"]) + "\n"


def _latex_head(table: Table):
    start = len(table.stub) + 1
    spans, rules = [], []
    for title, width in head(table):
        spans.append(rf"\multicolumn{{{width}}}{{c}}{{\textit{{{latex_escape(title)}}}}}")
        rules.append(rf"\cmidrule(lr){{{start}-{start + width - 1}}}")
        start += width
    yield " & ".join([""] * len(table.stub) + spans) + r" \\"
    yield " ".join(rules)
    yield " & ".join(map(latex_escape, [*table.stub, *(c.title for c in table.columns)])) + r" \\"


def _latex_entry(entry: Entry) -> str:
    main = latex_escape(entry.main)
    main = rf"\underline{{{main}}}" if entry.underlined else main
    main = rf"\textbf{{{main}}}" if entry.bold else main
    mark = rf"\textsuperscript{{{latex_escape(entry.mark)}}}" if entry.mark else ""
    spread = rf"\,{{\scriptsize {latex_escape(entry.spread)}}}" if entry.spread else ""
    return main + mark + spread + (f" ({latex_escape(entry.wins)})" if entry.wins else "")


def latex_escape(text: str) -> str:
    return "".join(_LATEX.get(character, character) for character in one_line(text))


def one_line(text: str) -> str:
    """A text without line breaks, which end a row in Markdown and a paragraph in LaTeX, and without controls."""
    if text.isprintable():
        return text
    return "".join(" " if unicodedata.category(c) in ("Cc", "Zl", "Zp") else c for c in text)


def to_html(table: Table) -> Markup:
    """A `<table>` per block inside one scrolling element; everything that is not our own markup is escaped."""
    # Each of our numbers links to the rows it was made from.
    links = [
        [cell_link(table.backbone, line.method, c.task, line.train, line.metric) for c in table.columns]
        for line in table.lines
    ]
    template = templates().get_template("table.html.jinja")
    return Markup(template.render(table=table, blocks=blocks(table), head=head(table), links=links))


def to_terminal(table: Table, width: int = 100) -> RichTable:
    """Our accuracies with tasks as rows and methods as columns; spreads are left out where they do not fit `width`."""
    shown = _terminal(table, spread=True)
    return shown if _width(shown) <= width else _terminal(table, spread=False)


def _terminal(table: Table, spread: bool) -> RichTable:
    lines = [line for line in blocks(table)[0].lines if line.metric == table.lines[0].metric]
    title = f"Table {table.number}: {table.title}"
    shown = RichTable(title=Text(title), title_justify="left", box=SIMPLE_HEAD, pad_edge=False, padding=(0, 0, 0, 1))
    shown.add_column("", no_wrap=True)
    for line in lines:
        shown.add_column(Text("\n".join(line.labels)), justify="right", no_wrap=True)
    position = 0
    for group, columns in groupby(table.columns, lambda c: c.group):
        shown.add_row(Text(GROUP_TITLES[group], style="bold"))
        for column in columns:
            entries = [line.entries[position] for line in lines]
            shown.add_row(Text(f"  {column.title}"), *(_terminal_entry(entry, spread) for entry in entries))
            position += 1
        if any(entry.wins for entry in entries):
            shown.add_row(Text("  Wins against FT", style="dim"), *(Text(entry.wins, style="dim") for entry in entries))
        shown.add_section()
    return shown


def _terminal_entry(entry: Entry, spread: bool) -> Text:
    style = " ".join(name for name, on in (("bold", entry.bold), ("underline", entry.underlined)) if on)
    return Text.assemble(
        (entry.main, style), entry.mark, (f" {entry.spread}" if spread and entry.spread else "", "dim")
    )


def _width(shown: RichTable) -> int:
    console = Console(width=10_000)
    return measure_renderables(console, console.options, [shown]).maximum
