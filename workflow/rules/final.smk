# final: the chosen recipe under every seed, one job a cell. Tuned models are kept only where a later stage reads them.
KEPT = flow.final_models(STUDY)


rule final:
    input:
        unpack(lambda wildcards: flow.cell_files(STUDY, "final", cell(wildcards))),
    output:
        rows=f"{ROOT}/final/{CELL}/rows.parquet",
        curves=f"{ROOT}/curves/{CELL}/rows.parquet",
        predictions=f"{ROOT}/predictions/{CELL}/rows.parquet",
    log:
        f"{LOGS}/final/{CELL}.log",
    threads: STUDY.threads
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
        models=[
            f"{ROOT}/models/{CELL}/seed={s}.safetensors"
            for s in flow.kept_seeds(STUDY)
        ],
    wildcard_constraints:
        method=flow.one_of({c.method for c in KEPT}),
        train=flow.one_of({c.train for c in KEPT}),
        backbone=flow.one_of({c.backbone for c in KEPT}),


# Only where the config's `shards` split the seeds over several jobs. Putting their rows together is seconds of reading.
FINAL_SHARD = f"{ROOT}/shards/final/{CELL}/shard={{shard}}"


rule final_shard:
    input:
        unpack(
            lambda wildcards: flow.final_shard_files(
                STUDY, cell(wildcards), wildcards.shard
            )
        ),
    output:
        **{
            name: f"{FINAL_SHARD}/{name}.parquet"
            for name in ("rows", "curves", "predictions")
        },
    log:
        f"{LOGS}/final/{CELL}/shard={{shard}}.log",
    resources:
        gpu=1,
        mem_mb=lambda wildcards, attempt: plan.memory(
            STUDY, "final", cell(wildcards), attempt
        ),
        runtime=lambda wildcards, attempt: plan.runtime(
            STUDY, "final", cell(wildcards), attempt, flow.share(wildcards.shard)
        ),
    params:
        job=lambda wildcards: STUDY.final_shard_slice(cell(wildcards), wildcards.shard),
        work=f"{ROOT}/work/final_shard/{CELL}/shard={{shard}}",
    script:
        "../scripts/final.py"


use rule final_shard as final_shard_kept with:
    output:
        **{
            name: f"{FINAL_SHARD}/{name}.parquet"
            for name in ("rows", "curves", "predictions")
        },
        folder=directory(f"{FINAL_SHARD}/models"),
    wildcard_constraints:
        method=flow.one_of({c.method for c in KEPT}),
        train=flow.one_of({c.train for c in KEPT}),
        backbone=flow.one_of({c.backbone for c in KEPT}),
    params:
        job=lambda wildcards: STUDY.final_shard_slice(cell(wildcards), wildcards.shard),
        work=f"{ROOT}/work/final_shard/{CELL}/shard={{shard}}",
        models=lambda wildcards: flow.shard_models(
            STUDY, cell(wildcards), wildcards.shard
        ),


use rule final as final_merge with:
    output:
        rows=f"{ROOT}/final/{CELL}/rows.parquet",
        curves=f"{ROOT}/curves/{CELL}/rows.parquet",
        predictions=f"{ROOT}/predictions/{CELL}/rows.parquet",
    wildcard_constraints:
        method=flow.one_of({c.method for c in SPLIT["final"]}),
        train=flow.one_of({c.train for c in SPLIT["final"]}),
    localrule: True
    resources:
        gpu=0,


use rule final_merge as final_merge_kept with:
    output:
        rows=f"{ROOT}/final/{CELL}/rows.parquet",
        curves=f"{ROOT}/curves/{CELL}/rows.parquet",
        predictions=f"{ROOT}/predictions/{CELL}/rows.parquet",
        models=[
            f"{ROOT}/models/{CELL}/seed={s}.safetensors"
            for s in flow.kept_seeds(STUDY)
        ],
    wildcard_constraints:
        method=flow.one_of({c.method for c in SPLIT["final"] if c in KEPT}),
        train=flow.one_of({c.train for c in SPLIT["final"] if c in KEPT}),
        backbone=flow.one_of({c.backbone for c in KEPT}),
    localrule: True
    resources:
        gpu=0,


ruleorder: final_merge_kept > final_kept > final_merge > final
ruleorder: final_shard_kept > final_shard
