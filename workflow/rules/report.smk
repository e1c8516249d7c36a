# tables and figures: everything the paper prints, from cached rows alone; and the report that holds them.
from vptcore.report import figures, tables

STUDY_TABLES = [n for n in tables.TABLES if tables.cells(n, STUDY)]
STUDY_FIGURES = [n for n in figures.FIGURES if figures.inputs(n, STUDY)]
TABLE = f"{ROOT}/tables/table_{{number}}"
FIGURE = f"{ROOT}/figures/figure_{{name}}"


def rows_files(kind: str, wanted: list) -> list[str]:
    """The files of one kind that hold the cells, or for fid and explain the tasks, that are wanted."""
    if kind == "fid":
        return [f"{ROOT}/fid/task={task}/rows.parquet" for task in wanted]
    if kind == "explain":
        shown = [pair for pair in STUDY.explained if pair[1] in wanted]
        return [
            f"{ROOT}/explain/backbone={b}/task={t}/train={n}/rows.parquet"
            for b, t, n in shown
        ]
    return [STUDY.path(kind, wanted_cell) for wanted_cell in wanted]


def table_files(number: int) -> dict[str, list[str]]:
    cells = tables.cells(number, STUDY)
    files = {"final": rows_files("final", cells)}
    if tables.TABLES[number].fid:
        files["fid"] = rows_files("fid", list(dict.fromkeys(c.task for c in cells)))
    return files


def figure_files(name: str) -> dict[str, list[str]]:
    files = {
        kind: rows_files(kind, wanted)
        for kind, wanted in figures.inputs(name, STUDY).items()
    }
    if "explain" in files:
        files["index"] = [
            f"{ROOT}/index/task={t}/rows.parquet" for _, t, _ in STUDY.explained
        ]
    return files


def padded(name: str) -> str:
    return f"{int(name):02d}" if str(name).isdigit() else name


def unpadded(name: str) -> str:
    return str(int(name)) if name.isdigit() else name


rule table:
    input:
        unpack(lambda wildcards: table_files(int(wildcards.number))),
    output:
        **{suffix: f"{TABLE}.{suffix}" for suffix in ("csv", "md", "tex")},
    log:
        f"{LOGS}/tables/{{number}}.log",
    localrule: True
    params:
        kind="table",
        job=lambda wildcards: {
            "config": STUDY.config,
            "number": int(wildcards.number),
            "version": VERSIONS["tables"],
        },
    script:
        "../scripts/report.py"


rule figure:
    input:
        unpack(lambda wildcards: figure_files(unpadded(wildcards.name))),
    output:
        pdf=f"{FIGURE}.pdf",
        png=f"{FIGURE}.png",
        caption=f"{FIGURE}.txt",
    log:
        f"{LOGS}/figures/{{name}}.log",
    wildcard_constraints:
        name="|".join(padded(n) for n in figures.FIGURES),
    localrule: True
    params:
        kind="figure",
        job=lambda wildcards: {
            "config": STUDY.config,
            "number": unpadded(wildcards.name),
            "version": VERSIONS["figures"],
        },
    script:
        "../scripts/report.py"


rule report:
    input:
        final=[STUDY.path("final", c) for c in STUDY.cells],
        fid=rows_files("fid", STUDY.used("task")),
        captions=[FIGURE.format(name=padded(n)) + ".txt" for n in STUDY_FIGURES],
        pictures=[FIGURE.format(name=padded(n)) + ".png" for n in STUDY_FIGURES],
    output:
        page=f"{ROOT}/report.html",
    log:
        f"{LOGS}/report.log",
    localrule: True
    params:
        kind="page",
        job=lambda wildcards: {
            "config": STUDY.config,
            "tables": STUDY_TABLES,
            "figures": STUDY_FIGURES,
            "made_from": {
                n: [f for files in figure_files(n).values() for f in files]
                for n in STUDY_FIGURES
            },
            "version": VERSIONS["report"],
        },
    script:
        "../scripts/report.py"


for number in STUDY_TABLES:

    rule:
        name:
            f"table_{number:02d}"
        input:
            expand(
                TABLE + ".{suffix}",
                number=f"{number:02d}",
                suffix=["csv", "md", "tex"],
            ),
        localrule: True


for figure_name in STUDY_FIGURES:

    rule:
        name:
            f"figure_{padded(figure_name)}"
        input:
            expand(
                FIGURE + ".{suffix}", name=padded(figure_name), suffix=["pdf", "png"]
            ),
        localrule: True


rule all_tables:
    input:
        expand(
            TABLE + ".{suffix}",
            number=[f"{n:02d}" for n in STUDY_TABLES],
            suffix=["csv", "md", "tex"],
        ),
    localrule: True


rule all_figures:
    input:
        expand(
            FIGURE + ".{suffix}",
            name=[padded(n) for n in STUDY_FIGURES],
            suffix=["pdf", "png"],
        ),
    localrule: True
