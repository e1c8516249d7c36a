# search: the grid of one cell, one job. The best tuned model is kept only where another method starts from it.
BASES = flow.searched_models(STUDY)


rule search:
    input:
        unpack(lambda wildcards: flow.cell_files(STUDY, "search", cell(wildcards))),
    output:
        rows=f"{ROOT}/search/{CELL}/rows.parquet",
    log:
        f"{LOGS}/search/{CELL}.log",
    threads: STUDY.threads
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


# Only where the config's `shards` split a grid over several jobs. Putting their rows together is seconds of reading.
SEARCH_SHARD = f"{ROOT}/shards/search/{CELL}/shard={{shard}}"


rule search_shard:
    input:
        unpack(lambda wildcards: flow.search_files(STUDY, cell(wildcards))),
    output:
        rows=f"{SEARCH_SHARD}/rows.parquet",
    log:
        f"{LOGS}/search/{CELL}/shard={{shard}}.log",
    resources:
        gpu=1,
        mem_mb=lambda wildcards, attempt: plan.memory(
            STUDY, "search", cell(wildcards), attempt
        ),
        runtime=lambda wildcards, attempt: plan.runtime(
            STUDY, "search", cell(wildcards), attempt, flow.share(wildcards.shard)
        ),
    params:
        job=lambda wildcards: STUDY.search_shard_slice(cell(wildcards), wildcards.shard),
        work=f"{ROOT}/work/search_shard/{CELL}/shard={{shard}}",
    script:
        "../scripts/search.py"


use rule search_shard as search_shard_kept with:
    output:
        rows=f"{SEARCH_SHARD}/rows.parquet",
        best=f"{SEARCH_SHARD}/best.safetensors",
    wildcard_constraints:
        method=flow.one_of({c.method for c in BASES}),
        train=flow.one_of({c.train for c in BASES}),
        backbone=flow.one_of({c.backbone for c in BASES}),


use rule search as search_merge with:
    output:
        rows=f"{ROOT}/search/{CELL}/rows.parquet",
    wildcard_constraints:
        method=flow.one_of({c.method for c in SPLIT["search"]}),
        train=flow.one_of({c.train for c in SPLIT["search"]}),
    localrule: True
    resources:
        gpu=0,


use rule search_merge as search_merge_kept with:
    output:
        rows=f"{ROOT}/search/{CELL}/rows.parquet",
        best=f"{ROOT}/models/{CELL}/search.safetensors",
    wildcard_constraints:
        method=flow.one_of({c.method for c in SPLIT["search"] if c in BASES}),
        train=flow.one_of({c.train for c in SPLIT["search"] if c in BASES}),
        backbone=flow.one_of({c.backbone for c in BASES}),
    localrule: True
    resources:
        gpu=0,


ruleorder: search_merge_kept > search_kept > search_merge > search
ruleorder: search_shard_kept > search_shard
