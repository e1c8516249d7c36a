# final: the chosen recipe under every seed, one job a cell. Tuned models are kept only where a later stage reads them.
KEPT = flow.final_models(STUDY)


rule final:
    input:
        unpack(lambda wildcards: flow.final_files(STUDY, cell(wildcards))),
    output:
        rows=f"{ROOT}/final/{CELL}/rows.parquet",
        curves=f"{ROOT}/curves/{CELL}/rows.parquet",
        predictions=f"{ROOT}/predictions/{CELL}/rows.parquet",
    log:
        f"{LOGS}/final/{CELL}.log",
    resources:
        gpu=1,
        mem_mb=lambda wildcards, attempt: plan.memory(
            STUDY, "final", cell(wildcards), attempt
        ),
        runtime=lambda wildcards, attempt: plan.runtime(
            STUDY, "final", cell(wildcards), attempt
        ),
    params:
        job=lambda wildcards: STUDY.final_slice(cell(wildcards)),
        work=f"{ROOT}/work/final/{CELL}",
    script:
        "../scripts/final.py"


use rule final as final_kept with:
    output:
        rows=f"{ROOT}/final/{CELL}/rows.parquet",
        curves=f"{ROOT}/curves/{CELL}/rows.parquet",
        predictions=f"{ROOT}/predictions/{CELL}/rows.parquet",
        models=[f"{ROOT}/models/{CELL}/seed={s}.safetensors" for s in STUDY.seeds],
    wildcard_constraints:
        method=flow.one_of({c.method for c in KEPT}),
        train=flow.one_of({c.train for c in KEPT}),
        backbone=flow.one_of({c.backbone for c in KEPT}),


ruleorder: final_kept > final
