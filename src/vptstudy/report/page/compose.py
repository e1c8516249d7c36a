"""The report: a folder that opens without a network and reads on a phone.

In: a study, its verdicts, the tables' own pages, drawn figures (their PNG and PDF paths and captions) and notes. Out:
`index.html`, verdict first, then the tables and figures with how each was made; beside it the figures and tables it
shows.

    python -m pytest tests/vptstudy/report/test_page.py
"""

from __future__ import annotations

import shlex
import shutil
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from markupsafe import Markup

from vptcore.analysis.statistics import number
from vptcore.models.methods_table import METHODS
from vptcore.records import replacing, write_text
from vptcore.wording import have_verb, plural
from vptstudy.report.captions import join, notice, protocol_line, seeds_phrase, target, train_phrase
from vptstudy.report.contrasts import Contrasts, rope_of
from vptstudy.report.figures import seen
from vptstudy.report.figures.catalogue import FigureSpec, spec_of
from vptstudy.report.page.templating import templates
from vptstudy.report.page.verdict import Answer, answers, clear_phrase, instead, setting
from vptstudy.report.quadrants import Quadrant
from vptstudy.report.tables.build import Table
from vptstudy.report.tables.grid import GROUP_TITLES
from vptstudy.report.tables.listing import Listing
from vptstudy.study import Study

MOST_PATHS = 12
# The one picture that follows the verdict.
FIGURE_OF_ALL = "forest"
# CSS pixels per PNG pixel: a figure as wide as a printed page fills the column.
SCREEN = 0.75


def write_page(
    study: Study,
    folder: Path | str,
    contrasts: Contrasts,
    quadrants: Sequence[Quadrant],
    sections: Sequence[Markup],
    figures: Sequence[Mapping],
    notes: Mapping,
    agreed: str = "",
    advice: str = "",
) -> None:
    """Write index.html of `study` into `folder`, and copies of the figures that it shows.

    `contrasts` and `quadrants` give the verdict; `sections` are the bodies of the tables' own pages, in their order.
    `figures`: mappings with number, title, caption, png_path, pdf_path and made_from (paths of the rows files).
    `notes`: title -> text, shown as they are under 'How this was made' (the command, versions; no dates, or the page
    changes with every run). `agreed`: how many of the paper's numbers ours agree with. `advice`: what `vptcore advise`
    says, which goes before all else.
    """
    folder, found = Path(folder), answers(study, contrasts)
    main = [a for a in found if is_main(a, study)]
    page = (
        templates()
        .get_template("page.html.jinja")
        .render(
            study=study,
            backbone=study.backbones[study.main_backbone].title if study.cells else "",
            protocol=protocol_line(study),
            notice=notice(study),
            seeds=seeds_phrase(len(study.seeds)),
            headline=headline(main, instead(study, contrasts)),
            rope=plural(rope_of(study), "point"),
            main=main,
            plane=[(q, [study.tasks[task].title for task in q.tasks]) for q in quadrants if q.tasks],
            others=[(setting(a, study), a) for a in found if not is_main(a, study)],
            settings={a: setting(a, study) for a in main},
            agreed=agreed,
            advice=advice,
            tables=[(_section_id(section), *_heading(section), section) for section in sections],
            # Drawings, which are made from no rows, come last.
            figures=[_figure(one, folder, study) for one in sorted(figures, key=lambda one: not one["made_from"])],
            left_out=[f"{study.tasks[task].title} ({train_phrase([train])})" for task, train in study.left_out],
            notes=notes,
            colours=method_colours(),
            paths_shown=MOST_PATHS,
        )
    )
    write_text(folder / "index.html", page)


def is_main(answer: Answer, study: Study) -> bool:
    """Whether it belongs to the question's first answer: the main backbone at the base train size, or on FGVC."""
    return answer.backbone == study.main_backbone and (answer.train == study.base_train or answer.group == "fgvc")


def headline(main: Sequence[Answer], instead: str = "") -> str:
    """'VPT leads in Natural; it depends on the task in Structured (clear for VPT on A, for FT on B).'

    `instead` is said where there is no answer (`verdict.instead`).
    """
    if not main:
        return instead or "No group has rows of both VPT and full fine-tuning yet."
    finished = [answer for answer in main if not answer.partial]
    parts = [
        part
        for side, words in _HEADLINE.items()
        if (mine := [answer for answer in finished if answer.side == side])
        for part in ([f"{words} {join(a.title for a in mine)}"] if side != "mixed" else map(_mixed, mine))
    ]
    parts += [f"{join(a.ahead)} ahead of both in {a.title}" for a in finished if a.ahead]
    sentence = "; ".join(parts) + "." if parts else ""
    unfinished = [a.title for a in main if a.partial]
    note = f"{join(unfinished)} {have_verb(len(unfinished))} cells without rows." if unfinished else ""
    return " ".join(filter(None, (sentence[:1].upper() + sentence[1:], note)))


_HEADLINE = {
    "vpt": "VPT leads in",
    "full": "full fine-tuning leads in",
    "neither": "no difference that matters in",
    "mixed": "it depends on the task in",
    "open": "cannot tell at this size in",
}


def _mixed(answer: Answer) -> str:
    return f"{_HEADLINE['mixed']} {answer.title} ({clear_phrase(answer.clear, answer.clear_losses)})"


def table_page(table: Table | Listing, grid: Markup, files: int, root: str = "results/STUDY") -> str:
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
            command=_command(root, target("table", table.number)),
            file=target("table", table.number),
            colours=method_colours(),
        )
    )


def body_of(page: str) -> Markup:
    """What is between the body tags of a page that `table_page` wrote, where everything is escaped already."""
    return Markup(page.partition("<body>")[2].partition("</body>")[0].strip())


def _heading(section: str) -> tuple[str, Markup]:
    """('Table 5', its title) as the section's heading has them, escaped already."""
    label, _, title = section.partition("<h2>")[2].partition("</h2>")[0].partition("</span>")
    return label.partition(">")[2], Markup(title.strip())


def _section_id(section: str) -> str:
    """'table-5', the id that a section opens with."""
    return section.partition('id="')[2].partition('"')[0]


def method_colours() -> dict[str, str]:
    return {name: METHODS[name].colour for name in ("full", "vpt")}


def _command(root: str, name: str) -> str:
    """What makes one table or figure again from the rows that are there, as it is typed beside the Snakefile."""
    return f"vptcore render {shlex.quote(root)} {name}"


@dataclass(frozen=True)
class Line:
    """A line of the forest as a phone shows it: a group's heading (no points), a task, or a group's mean."""

    kind: str
    title: str
    points: str = ""
    intervals: tuple[str, ...] = ()


def _lines(study: Study, drawn: pd.DataFrame) -> list[Line]:
    """The forest's CSV line by line; a mean with its interval on these tasks, then on tasks like these."""
    lines = []
    for group, rows in drawn.groupby("group", sort=False):
        lines.append(Line("title", GROUP_TITLES[group]))
        for row in rows.itertuples():
            kind, title = ("task", study.tasks[row.task].title) if isinstance(row.task, str) else ("mean", "Mean")
            both = [seen.between(row.low, row.high), seen.between(row.like_low, row.like_high)]
            lines.append(Line(kind, title, number(row.difference, 1, True), tuple(filter(None, both))))
    return lines


def _seen(spec: FigureSpec, study: Study, drawn: pd.DataFrame) -> str:
    """What somebody who does not see the picture is told: its title, and what is seen with its numbers."""
    return f"{spec.title}. {spec.sees(study, drawn) if spec.sees else spec.shows}"


def _figure(figure: Mapping, folder: Path, study: Study) -> dict:
    name = figure["number"]
    png = Path(figure["png_path"]).read_bytes()
    # A PNG's header holds width and height as big-endian 32-bit numbers from byte 16 on.
    width, height = (round(SCREEN * pixels) for pixels in struct.unpack(">II", png[16:24]))
    named = not str(name).isdigit()
    numbers = Path(figure["png_path"]).with_suffix(".csv")
    for path in (figure["png_path"], figure["pdf_path"], numbers):
        copy_into(folder / "figures", path)
    drawn = pd.read_csv(numbers)
    return {
        **figure,
        "id": f"figure-{name}",
        "label": "" if named else f"Figure {name}",
        "lines": _lines(study, drawn) if name == FIGURE_OF_ALL else [],
        "seen": _seen(spec_of(name), study, drawn),
        "is_summary": name == FIGURE_OF_ALL,
        "image": f"figures/{Path(figure['png_path']).name}",
        "pdf": f"figures/{Path(figure['pdf_path']).name}",
        "csv": f"figures/{numbers.name}",
        "width": width,
        "height": height,
        "command": _command(study.root, target("figure", name)),
        "made_from": list(figure["made_from"]),
    }


def copy_into(folder: Path, path: Path | str) -> None:
    """A copy of a file in a folder, in one step: the report can be carried away as one folder."""
    with replacing(folder / Path(path).name) as beside:
        shutil.copyfile(path, beside)
