"""A plain table: named columns over a frame, as CSV, Markdown, LaTeX and HTML. For tables that the paper lacks.

In: a `Listing`, whose frame holds values and whose columns say how they are shown. Out: text; the CSV has the values as
they are, the other forms round them. Everything shown is escaped.

    python -m pytest tests/vptstudy/report/test_listing.py
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import pandas as pd
from markupsafe import Markup

from vptcore.analysis.statistics import MISSING, number
from vptstudy.report.page.templating import templates
from vptstudy.report.tables.renderers import latex_escape, markdown_escape

# Lines that fit a page under a caption.
MOST_LINES = 45

__all__ = ["Listing", "ListingColumn", "to_csv", "to_html", "to_latex", "to_markdown"]


@dataclass(frozen=True)
class ListingColumn:
    """One column: the frame's column it shows, its head, and for numbers how many decimals (None: text).

    `signed` puts a plus before a positive number; `is_p` shows a probability with three decimals, or '< 0.001'.
    """

    name: str
    title: str
    decimals: int | None = None
    signed: bool = False
    is_p: bool = False

    @property
    def is_text(self) -> bool:
        return self.decimals is None and not self.is_p


@dataclass(frozen=True)
class Listing:
    """A table of `frame`'s rows in order. `name` is its id: the target is `table_<name>`.

    `blocks` names a text column of the frame by whose runs of equal values the rows are set apart, under that heading.
    """

    name: str
    title: str
    caption: str
    columns: tuple[ListingColumn, ...]
    frame: pd.DataFrame = field(repr=False)
    blocks: str = ""

    @property
    def number(self) -> str:
        return self.name


def shown(value, column: ListingColumn) -> str:
    """A value as it is printed; '–' where there is none."""
    if _is_missing(value):
        return MISSING
    if column.is_p:
        return "< 0.001" if value < 0.001 else number(float(value), 3)
    return str(value) if column.is_text else number(float(value), column.decimals, column.signed)


def _is_missing(value) -> bool:
    return value is None or value is pd.NA or (isinstance(value, float) and math.isnan(value))


def groups(listing: Listing) -> list[tuple[str, pd.DataFrame]]:
    """(heading, rows) of each block; one block without a heading where the listing names no column for them."""
    if not listing.blocks or listing.frame.empty:
        return [("", listing.frame)]
    key = listing.frame[listing.blocks]
    runs = (key != key.shift()).cumsum()
    return [(str(rows[listing.blocks].iloc[0]), rows) for _, rows in listing.frame.groupby(runs, sort=False)]


def to_csv(listing: Listing) -> str:
    return listing.frame.to_csv(index=False, float_format="%.6g", lineterminator="\n")


def to_markdown(listing: Listing) -> str:
    """GitHub's Markdown, the caption below."""
    head = [
        "| " + " | ".join(markdown_escape(column.title) for column in listing.columns) + " |",
        "|" + "".join(" :-- |" if column.is_text else " --: |" for column in listing.columns),
    ]
    parts = [f"### Table: {markdown_escape(listing.title)}"]
    for heading, rows in groups(listing):
        parts += [f"**{markdown_escape(heading)}**"] if heading else []
        parts.append("\n".join([*head, *("| " + " | ".join(line) + " |" for line in _lines(listing, rows))]))
    return "\n\n".join([*parts, markdown_escape(listing.caption)]) + "\n"


def _lines(listing: Listing, rows: pd.DataFrame, escape=markdown_escape):
    for row in rows.to_dict("records"):
        yield [escape(shown(row[column.name], column)) for column in listing.columns]


def to_latex(listing: Listing) -> str:
    """A booktabs `table` as wide as the line; beyond a page a `longtable`, which breaks where a `table` would not.

    Needs booktabs, and graphicx (\\resizebox) or longtable.
    """
    body = _latex_body(listing)
    columns = "".join("l" if column.is_text else "r" for column in listing.columns)
    head = [r"\toprule", " & ".join(latex_escape(c.title) for c in listing.columns) + r" \\", r"\midrule"]
    caption = rf"\caption{{{latex_escape(listing.caption)}}}"
    label = rf"\label{{tab:{listing.name.replace('_', '-')}}}"
    if len(body) > MOST_LINES:
        lines = _longtable(columns, caption + label, head, body)
    else:
        lines = [r"\begin{table}[t]", r"\centering", caption, label, r"\resizebox{\linewidth}{!}{%"]
        lines += [rf"\begin{{tabular}}{{{columns}}}", *head, *body, r"\bottomrule", r"\end{tabular}}", r"\end{table}"]
    return "\n".join(lines) + "\n"


def _latex_body(listing: Listing) -> list[str]:
    body = []
    for position, (heading, rows) in enumerate(groups(listing)):
        if heading:
            body += [r"\midrule"] if position else []
            body.append(rf"\multicolumn{{{len(listing.columns)}}}{{l}}{{\textit{{{latex_escape(heading)}}}}} \\")
        body += [" & ".join(line) + r" \\" for line in _lines(listing, rows, latex_escape)]
    return body


def _longtable(columns: str, caption: str, head: list[str], body: list[str]) -> list[str]:
    """Head and rules on every page. It cannot be scaled to the line, so a long head is set smaller."""
    size = r"\tiny" if len(head[1]) > 80 else r"\scriptsize"
    ends = rf"\multicolumn{{{len(columns)}}}{{r}}{{continued on the next page}} \\"
    return [
        rf"\begingroup{size}\setlength{{\tabcolsep}}{{3pt}}",
        rf"\begin{{longtable}}{{{columns}}}",
        *[caption + r" \\", *head, r"\endfirsthead", *head, r"\endhead"],
        *[r"\midrule", ends, r"\endfoot", r"\bottomrule", r"\endlastfoot"],
        *body,
        r"\end{longtable}",
        r"\endgroup",
    ]


def to_html(listing: Listing) -> Markup:
    """A sortable `<table>` inside a scrolling element."""
    blocks = [
        (
            heading,
            [
                [(column, row[column.name], shown(row[column.name], column)) for column in listing.columns]
                for row in rows.to_dict("records")
            ],
        )
        for heading, rows in groups(listing)
    ]
    return Markup(templates().get_template("listing.html.jinja").render(listing=listing, blocks=blocks))
