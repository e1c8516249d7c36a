# tables and figures: everything the paper prints, from cached rows alone; and the report that holds them.
from vptcore.report import figures as report_figures, tables as report_tables

TABLES = [n for n in report_tables.TABLES if report_tables.cells(n, STUDY)]
FIGURES = [n for n in report_figures.FIGURES if any(report_figures.inputs(n, STUDY).values())]
FID_TASKS = STUDY.used("task")


def rows_of(kind: str, wanted) -> list[str]:
    """The files of one kind that a table or figure reads."""
    if kind == "fid":
        return [f"{ROOT}/fid/task={task}/rows.parquet" for task in wanted]
    if kind == "explain":
        return [f"{ROOT}/explain/backbone={b}/task={t}/train={n}/rows.parquet" for b, t, n in STUDY.explained if t in wanted]
    return [STUDY.path(kind, c) for c in wanted]
