# tables and figures: everything the paper prints, from cached rows alone; and the report that holds them.
from vptcore.analysis.examples import EXAMPLES

TABLES = [targets.padded(n) for n in targets.tables_of(STUDY)]
FIGURES = [targets.padded(n) for n in targets.figures_of(STUDY)]


rule table:
    input:
        unpack(
            lambda wildcards: targets.table_files(
                STUDY, targets.table_id(wildcards.number)
            )
        ),
    output:
        **{form: f"{TABLE}.{form}" for form in TABLE_FORMS if form != "html"},
        html=in_report(f"{TABLE}.html", "table"),
        note=f"{TABLE}.rst",
    log:
        f"{LOGS}/tables/{{number}}.log",
    wildcard_constraints:
        number=flow.one_of(TABLES),
    localrule: True
    params:
        kind="table",
        job=lambda wildcards: {
            "config": STUDY.config,
            "number": targets.table_id(wildcards.number),
            "version": VERSIONS["tables"],
        },
    script:
        "../scripts/report.py"


rule examples:
    input:
        images=f"{ROOT}/data/task={{task}}/images.npy",
        index=f"{ROOT}/index/task={{task}}/rows.parquet",
    output:
        rows=f"{ROOT}/examples/task={{task}}/rows.parquet",
    log:
        f"{LOGS}/examples/{{task}}.log",
    localrule: True
    params:
        job={"images": EXAMPLES, "version": VERSIONS["examples"]},
    script:
        "../scripts/examples.py"


rule figure:
    input:
        unpack(
            lambda wildcards: targets.figure_files(
                STUDY, targets.unpadded(wildcards.name)
            )
        ),
    output:
        pdf=f"{FIGURE}.pdf",
        png=in_report(f"{FIGURE}.png", "figure"),
        caption=f"{FIGURE}.txt",
        note=f"{FIGURE}.rst",
    log:
        f"{LOGS}/figures/{{name}}.log",
    wildcard_constraints:
        name=flow.one_of(FIGURES),
    localrule: True
    params:
        kind="figure",
        job=lambda wildcards: {
            "config": STUDY.config,
            "number": targets.unpadded(wildcards.name),
            "version": VERSIONS["figures"],
        },
    script:
        "../scripts/report.py"


rule report:
    input:
        final=[STUDY.path("final", c) for c in STUDY.cells],
        predictions=[STUDY.path("predictions", c) for c in STUDY.cells],
        search=[STUDY.path("search", c) for c in STUDY.searches],
        fid=targets.rows_files(STUDY, "fid", STUDY.used("task")),
        explain=targets.rows_files(
            STUDY, "explain", [task for _, task, _ in STUDY.explained]
        ),
        tables=expand(f"{TABLE}.html", number=TABLES),
        captions=expand(f"{FIGURE}.txt", name=FIGURES),
        pictures=expand(f"{FIGURE}.png", name=FIGURES),
    output:
        folder=directory(f"{ROOT}/report"),
    log:
        f"{LOGS}/report.log",
    localrule: True
    params:
        kind="page",
        job=lambda wildcards: targets.page_slice(STUDY)
        | {"version": VERSIONS["report"]},
    script:
        "../scripts/report.py"


for number in TABLES:

    rule:
        name:
            f"table_{number}"
        input:
            expand(f"{TABLE}.{{form}}", number=number, form=TABLE_FORMS),
        localrule: True


for figure_name in FIGURES:

    rule:
        name:
            f"figure_{figure_name}"
        input:
            expand(f"{FIGURE}.{{form}}", name=figure_name, form=FIGURE_FORMS),
        localrule: True


rule all_tables:
    input:
        expand(f"{TABLE}.{{form}}", number=TABLES, form=TABLE_FORMS),
    localrule: True


rule all_figures:
    input:
        expand(f"{FIGURE}.{{form}}", name=FIGURES, form=FIGURE_FORMS),
    localrule: True
