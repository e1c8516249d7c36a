"""The report: one HTML file that holds everything, opens without a network and reads on a phone.

In: a study, built tables, drawn figures (their PNG and PDF paths and captions) and notes. Out: the page, verdict first,
then the tables and figures with how each was made. Imports no torch.

    python -m pytest tests/report/test_page.py
"""

from __future__ import annotations

import base64
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path

from markupsafe import Markup

from vptcore.models.methods_table import METHODS
from vptcore.records import write_text
from vptcore.report.listing import Listing
from vptcore.report.render import templates
from vptcore.report.tables import Table
from vptcore.report.text import have_verb, join, protocol_line, seeds_phrase, target, train_phrase
from vptcore.report.verdict import Answer, answers, setting
from vptcore.study import Study

MOST_PATHS = 12
# CSS pixels per PNG pixel: a figure as wide as a printed page fills the column.
SCREEN = 0.75


def write_page(
    study: Study,
    out_html: Path | str,
    tables: Sequence[Table],
    sections: Sequence[Markup],
    figures: Sequence[Mapping],
    notes: Mapping,
) -> None:
    """Write the report of `study` to `out_html`.

    `tables` give the verdict; `sections` are the bodies of the tables' own pages, in the order of the page.
    `figures`: mappings with number, title, caption, png_path, pdf_path and made_from (paths of the rows files).
    `notes`: title -> text, shown as they are under 'How this was made' (the command, versions; no dates, or the page
    changes with every run).
    """
    found = answers(tables)
    main = [a for a in found if is_main(a, study)]
    page = (
        templates()
        .get_template("page.html.jinja")
        .render(
            study=study,
            backbone=study.backbones[study.main_backbone].title if study.cells else "",
            protocol=protocol_line(study),
            seeds=seeds_phrase(len(study.seeds)),
            headline=headline(main),
            main=main,
            others=[(setting(a, study), a) for a in found if not is_main(a, study)],
            settings={a: setting(a, study) for a in main},
            tables=[(_section_id(section), section) for section in sections],
            figures=[_figure(figure) for figure in figures],
            left_out=[f"{study.tasks[task].title} ({train_phrase([train])})" for task, train in study.left_out],
            notes=notes,
            colours=_colours(),
            paths_shown=MOST_PATHS,
        )
    )
    write_text(out_html, page)


def is_main(answer: Answer, study: Study) -> bool:
    """Whether it belongs to the question's first answer: the main backbone at the base train size, or on FGVC."""
    return answer.backbone == study.main_backbone and (answer.train == study.base_train or answer.group == "fgvc")


def headline(main: Sequence[Answer]) -> str:
    """'VPT leads in Natural and Structured; no clear lead in Specialized.'"""
    if not main:
        return "No group has rows of both VPT and full fine-tuning yet."
    words = {"vpt": "VPT leads in", "full": "full fine-tuning leads in", "open": "no clear lead in"}
    parts = [
        f"{words[side]} {join([a.title for a in main if a.side == side])}"
        for side in words
        if any(a.side == side for a in main)
    ]
    sentence = "; ".join(parts)
    unfinished = [a.title for a in main if a.partial]
    note = f" {join(unfinished)} {have_verb(len(unfinished))} cells without rows." if unfinished else ""
    return f"{sentence[0].upper()}{sentence[1:]}.{note}"


def table_page(table: Table | Listing, grid: Markup, files: int) -> str:
    """One table as a page of its own. Its body is the section that the report takes over."""
    printed = str(table.number).isdigit()
    return (
        templates()
        .get_template("table_page.html.jinja")
        .render(
            table=table,
            id=f"table-{table.number}",
            label=f"Table {table.number}" if printed else "Table",
            grid=grid,
            files=files,
            target=target("table", table.number),
            colours=_colours(),
        )
    )


def body_of(page: str) -> Markup:
    """What stands between the body tags of a page that `table_page` wrote, where everything is escaped already."""
    return Markup(page.partition("<body>")[2].partition("</body>")[0].strip())


def _section_id(section: str) -> str:
    """'table-5', the id that a section opens with."""
    return section.partition('id="')[2].partition('"')[0]


def _colours() -> dict[str, str]:
    return {name: METHODS[name].colour for name in ("full", "vpt")}


def _figure(figure: Mapping) -> dict:
    number = figure["number"]
    png = Path(figure["png_path"]).read_bytes()
    # A PNG's header holds width and height as big-endian 32-bit numbers from byte 16 on.
    width, height = (round(SCREEN * pixels) for pixels in struct.unpack(">II", png[16:24]))
    named = not str(number).isdigit()
    return {
        **figure,
        "id": f"figure-{number}",
        "label": "Summary" if named else f"Figure {number}",
        "is_summary": named,
        "image": Markup(f"data:image/png;base64,{base64.b64encode(png).decode()}"),
        "width": width,
        "height": height,
        "target": target("figure", number),
        "made_from": list(figure["made_from"]),
    }
