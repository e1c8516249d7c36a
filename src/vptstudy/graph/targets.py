"""Which rows files each table and figure reads, and what their targets are called.

A table's id is its number in the paper, or the name of one of `extras.EXTRAS`; a figure's is the text of its number, or
a name. In files and targets numbers have two digits: table 5 is `table_05`, and the extra table of costs `table_cost`.

    python -m pytest tests/vptstudy/graph/test_flow.py
"""

from __future__ import annotations

from vptstudy.graph.flow import ROWS
from vptstudy.report.figures import catalogue
from vptstudy.report.tables import specs
from vptstudy.report.tables.extras import EXTRAS
from vptstudy.study import Study

PER_TASK = ("index", "fid", "examples")


def rows_files(study: Study, kind: str, wanted: list) -> list[str]:
    """The files of one kind that hold the wanted cells, or for index, fid, examples and explain the wanted tasks."""
    if kind == "splits":
        return [f"{study.root}/splits/task={task}/train={train}/{ROWS}" for task, train in wanted]
    if kind in PER_TASK:
        return [f"{study.root}/{kind}/task={task}/{ROWS}" for task in wanted]
    if kind == "explain":
        shown = [pair for pair in study.explained if pair[1] in wanted]
        return [f"{study.root}/explain/backbone={b}/task={task}/train={n}/{ROWS}" for b, task, n in shown]
    return [study.path(kind, cell) for cell in wanted]


def table_files(study: Study, table: int | str) -> dict[str, list[str]]:
    """Kind of rows -> the files that a table reads."""
    if table in EXTRAS:
        return {kind: rows_files(study, kind, wanted) for kind, wanted in EXTRAS[table].reads(study).items()}
    cells = specs.cells(table, study)
    files = {"final": rows_files(study, "final", cells)}
    if specs.TABLES[table].metric == "accuracy":
        files["predictions"] = rows_files(study, "predictions", cells)
    if specs.TABLES[table].fid and study.fid_tasks:
        files["fid"] = rows_files(study, "fid", list(dict.fromkeys(cell.task for cell in cells)))
    return files


def figure_files(study: Study, number: str) -> dict[str, list[str]]:
    """By kind. Grad-CAM reads the index too, which has the names of the classes."""
    files = {kind: rows_files(study, kind, wanted) for kind, wanted in catalogue.inputs(number, study).items()}
    if "explain" in files:
        files["index"] = rows_files(study, "index", [task for _, task, _ in study.explained])
    return files


def tables_of(study: Study) -> list[int | str]:
    """The tables that the study has cells for: the paper's, then those that it lacks."""
    printed = [number for number in specs.TABLES if specs.cells(number, study)]
    return [*printed, *(name for name, table in EXTRAS.items() if table.reads(study))]


def figures_of(study: Study) -> list[str]:
    return [number for number in catalogue.FIGURES if catalogue.is_drawn(number, study)]


def targets_of(study: Study) -> dict[str, tuple[str, int | str]]:
    """The targets of the tables and figures: {"table_01": ("table", 1), "figure_forest": ("figure", "forest"), ...}."""
    tables = {f"table_{padded(number)}": ("table", number) for number in tables_of(study)}
    return tables | {f"figure_{padded(name)}": ("figure", name) for name in figures_of(study)}


def padded(number: int | str) -> str:
    """'01' for table 1 and for figure '1'; 'forest' stays."""
    return f"{int(number):02d}" if str(number).isdigit() else str(number)


def unpadded(name: str) -> str:
    return str(int(name)) if name.isdigit() else name


def table_id(name: str) -> int | str:
    """The id that a target's name stands for: 5 for '05'; 'cost' stays."""
    return int(name) if name.isdigit() else name


def category(kind: str, name: str) -> str:
    """Where the workflow's report lists a table or figure of that name: the paper's before those it lacks."""
    return f"{kind.capitalize()}s" + ("" if name.isdigit() else " beyond the paper")


def labels(kind: str, name: str) -> dict[str, str]:
    """What it is called there: one label, since Snakemake makes a switch of a second one with two values."""
    if kind == "table":
        table = table_id(name)
        title = EXTRAS[table].title if table in EXTRAS else specs.TABLES[table].title
    else:
        title = catalogue.spec_of(unpadded(name)).title
    return {kind: f"{name} · {title}" if name.isdigit() else title}


def page_slice(study: Study) -> dict:
    """What the report is made of, and which rows each of its figures reads."""
    names = figures_of(study)
    made_from = {n: [file for files in figure_files(study, n).values() for file in files] for n in names}
    return {"config": study.config, "tables": tables_of(study), "figures": names, "made_from": made_from}
