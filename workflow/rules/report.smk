# tables and figures: everything the paper prints, from cached rows alone; and the report that holds them.
TABLE = f"{ROOT}/tables/table_{{number}}"
FIGURE = f"{ROOT}/figures/figure_{{name}}"
TABLES = [job.of["number"] for job in GRAPH.values() if job.stage == "table"]
FIGURES = [job.of["name"] for job in GRAPH.values() if job.stage == "figure"]


rule table:
    input:
        reads("table"),
    output:
        **makes("table", html=in_report(PATTERNS["table"]["html"], "table")),
    log:
        f"{LOGS}/tables/{{number}}.log",
    wildcard_constraints:
        number=flow.one_of(TABLES),
    localrule: True
    params:
        kind="table",
        job=sliced("table"),
    script:
        "../scripts/report.py"


rule examples:
    input:
        reads("examples"),
    output:
        **makes("examples"),
    log:
        f"{LOGS}/examples/{{task}}.log",
    localrule: True
    params:
        job=sliced("examples"),
    script:
        "../scripts/examples.py"


rule figure:
    input:
        reads("figure"),
    output:
        **makes("figure", png=in_report(PATTERNS["figure"]["png"], "figure")),
    log:
        f"{LOGS}/figures/{{name}}.log",
    wildcard_constraints:
        name=flow.one_of(FIGURES),
    localrule: True
    params:
        kind="figure",
        job=sliced("figure"),
    script:
        "../scripts/report.py"


rule report:
    input:
        reads("report"),
    output:
        folder=directory(f"{ROOT}/{PATTERNS['report']['folder']}"),
    log:
        f"{LOGS}/report.log",
    localrule: True
    params:
        kind="page",
        job=sliced("report"),
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
