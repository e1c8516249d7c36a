"""Tables, figures and the report in the middle of a study: from the rows that are there, and nothing is trained.

In: a study whose jobs may still be at work, and names of targets. Out: `results/<study>/so_far/` with tables, figures
and report as the workflow would write them, missing cells marked and counted, and a notice on every page that says how
many cells have rows. The workflow's own files are left alone.

    vptcore render results/demo
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from vptcore.choices import choose_one
from vptcore.wording import plural
from vptstudy.graph import targets as report_targets
from vptstudy.report import produce
from vptstudy.report.captions import join
from vptstudy.report.figures import draw
from vptstudy.report.page import sources
from vptstudy.study import Study

FOLDER = "so_far"
FORMS = {"table": ("csv", "md", "tex", "html"), "figure": ("pdf", "png", "csv", "caption")}
SUFFIXES = {"caption": "txt"}

Files = Mapping[str, Sequence[str]]


def render(
    study: Study, targets: Sequence[str] = (), say: Callable[[str], None] = print, style: Path | None = None
) -> Path:
    """Render the targets ('table_01', 'figure_forest'; all and the report without any); returns the folder.

    `style`: a matplotlib style file for the figures. Raises ConfigError for a target that the study does not have or a
    style that is none, RowsError for rows that are wrong.
    """
    if style:
        from vptstudy.report.figures.style import read_style

        read_style(style)
    names = report_targets.targets_of(study)
    for target in targets:
        choose_one("target", target, names)
    study, folder = _labelled(study), Path(study.root) / FOLDER
    made, waiting, began = {}, [], time.monotonic()
    chosen = list(dict.fromkeys(targets)) or list(names)
    for place, name in enumerate(chosen, 1):
        done = _render_one(study, folder, name, *names[name], style)
        if done:
            made[name] = names[name]
        else:
            waiting.append(name)
        left = (time.monotonic() - began) / place * (len(chosen) - place)
        say(f"[{place}/{len(chosen)}] {name:<20} {done or 'no rows yet'}  {int(left // 60)}:{int(left % 60):02d} left")
    if not targets:
        _page(study, folder, made)
    if waiting:
        say(f"Without rows yet: {join(waiting)}.")
    return folder


def _labelled(study: Study) -> Study:
    """The study with a notice of how far it is, which is put on all that is rendered; as it is once all is there."""
    there = sum(os.path.exists(study.path("final", cell)) for cell in study.cells)
    if there == len(study.cells):
        return study
    report = study.config["report"]
    said = f"The study so far: {there} of {plural(len(study.cells), 'cell')}."
    notice = " ".join(filter(None, (report.get("notice"), said)))
    return replace(study, config={**study.config, "report": {**report, "notice": notice}})


def _render_one(study: Study, folder: Path, name: str, kind: str, number: int | str, style: Path | None = None) -> str:
    """What was made of how many files; '' where there is nothing to show."""
    wanted = (report_targets.table_files if kind == "table" else report_targets.figure_files)(study, number)
    files = _there(wanted)
    # A table shows what is missing; of a figure's rows all kinds are needed but the index, which has names only, and
    # what it can do without.
    spared = ("index", *draw.by_cell(number)) if kind == "figure" else ()
    needed = [k for k in wanted if k not in spared] if kind == "figure" else list(wanted)[:1]
    if not all(files[k] for k in needed):
        return ""
    outputs = {form: f"{folder}/{kind}s/{name}.{SUFFIXES.get(form, form)}" for form in FORMS[kind]}
    done = (produce.table if kind == "table" else produce.figure)(
        {"config": study.config, "number": number, "style": style}, files, outputs
    )
    asked = sum(map(len, wanted.values()))
    return f"{done} of {asked}" if asked else done


def _there(wanted: Files) -> dict[str, list[str]]:
    return {kind: [path for path in paths if os.path.exists(path)] for kind, paths in wanted.items()}


def _page(study: Study, folder: Path, made: Mapping[str, tuple[str, int | str]]) -> None:
    """The report of what was rendered."""
    drawn = {name: number for name, (kind, number) in made.items() if kind == "figure"}
    shown = {name: number for name, (kind, number) in made.items() if kind == "table"}
    made_from = {number: _flat(_there(report_targets.figure_files(study, number))) for number in drawn.values()}
    slice_ = {"config": study.config, "tables": list(shown.values()), "figures": list(drawn.values())}
    rows = {
        "final": [study.path("final", cell) for cell in study.cells],
        "search": [study.path("search", cell) for cell in study.searches],
        "fid": report_targets.rows_files(study, "fid", study.fid_tasks),
        "explain": report_targets.rows_files(study, "explain", [task for _, task, _ in study.explained]),
    }
    assert set(rows) == set(sources.KINDS)
    rows["predictions"] = [study.path("predictions", cell) for cell in study.cells]
    files = _there(rows) | {
        "tables": [f"{folder}/tables/{name}.html" for name in shown],
        "captions": [f"{folder}/figures/{name}.txt" for name in drawn],
    }
    produce.page(slice_ | {"made_from": made_from}, files, {"folder": f"{folder}/report"})


def _flat(files: Files) -> list[str]:
    return [path for paths in files.values() for path in paths]
