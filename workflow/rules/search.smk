# search: the grid of one cell, one job. The best tuned model is kept only where another method starts from it.
BASES = flow.searched_models(STUDY)


rule search:
    input:
        unpack(lambda wildcards: flow.search_files(STUDY, cell(wildcards))),
    output:
        rows=f"{ROOT}/search/{CELL}/rows.parquet",
    log:
        f"{LOGS}/search/{CELL}.log",
    resources:
        gpu=1,
        mem_mb=lambda wildcards, attempt: plan.memory(
            STUDY, "search", cell(wildcards), attempt
        ),
        runtime=lambda wildcards, attempt: plan.runtime(
            STUDY, "search", cell(wildcards), attempt
        ),
    params:
        job=lambda wildcards: STUDY.search_slice(cell(wildcards)),
        work=f"{ROOT}/work/search/{CELL}",
    script:
        "../scripts/search.py"


use rule search as search_kept with:
    output:
        rows=f"{ROOT}/search/{CELL}/rows.parquet",
        best=f"{ROOT}/models/{CELL}/search.safetensors",
    wildcard_constraints:
        method=flow.one_of({c.method for c in BASES}),
        train=flow.one_of({c.train for c in BASES}),
        backbone=flow.one_of({c.backbone for c in BASES}),


ruleorder: search_kept > search
