"""Which rows files each table and figure reads, and what their targets are called. Imports no torch.

python -m pytest tests/test_flow.py
"""

from __future__ import annotations

from vptcore.flow import ROWS
from vptcore.report import figures, specs
from vptcore.study import Study


def rows_files(study: Study, kind: str, wanted: list) -> list[str]:
    """The files of one kind that hold the wanted cells, or for fid and explain the wanted tasks."""
    if kind == "fid":
        return [f"{study.root}/fid/task={task}/{ROWS}" for task in wanted]
    if kind == "explain":
        shown = [pair for pair in study.explained if pair[1] in wanted]
        return [f"{study.root}/explain/backbone={b}/task={task}/train={n}/{ROWS}" for b, task, n in shown]
    return [study.path(kind, cell) for cell in wanted]


def table_files(study: Study, number: int) -> dict[str, list[str]]:
    cells = specs.cells(number, study)
    files = {"final": rows_files(study, "final", cells)}
    if specs.TABLES[number].fid:
        files["fid"] = rows_files(study, "fid", list(dict.fromkeys(cell.task for cell in cells)))
    return files


def figure_files(study: Study, number: str) -> dict[str, list[str]]:
    """By kind. Grad-CAM reads the index too, which has the names of the classes."""
    files = {kind: rows_files(study, kind, wanted) for kind, wanted in figures.inputs(number, study).items()}
    if "explain" in files:
        files["index"] = [f"{study.root}/index/task={task}/{ROWS}" for _, task, _ in study.explained]
    return files


def tables_of(study: Study) -> list[int]:
    """The tables that the study has cells for."""
    return [number for number in specs.TABLES if specs.cells(number, study)]


def figures_of(study: Study) -> list[str]:
    return [number for number in figures.FIGURES if figures.inputs(number, study)]


def padded(number: int | str) -> str:
    """'01' for table 1 and for figure '1'; 'forest' stays."""
    return f"{int(number):02d}" if str(number).isdigit() else str(number)


def unpadded(name: str) -> str:
    return str(int(name)) if name.isdigit() else name


def page_slice(study: Study) -> dict:
    """What the report is made of, and which rows each of its figures read."""
    names = figures_of(study)
    made_from = {n: [file for files in figure_files(study, n).values() for file in files] for n in names}
    return {"config": study.config, "tables": tables_of(study), "figures": names, "made_from": made_from}
