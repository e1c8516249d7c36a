# prepare: every task decoded once to uint8 arrays, and the rows that each train size uses.


rule fetch:
    output:
        touch(f"{DATA_ROOT}/{{task}}/.fetched"),
    log:
        f"{LOGS}/fetch/{{task}}.log",
    localrule: True
    params:
        job=lambda wildcards: STUDY.fetch_slice(wildcards.task),
    script:
        "../scripts/fetch.py"


rule prepare:
    input:
        lambda wildcards: flow.fetched_files(STUDY, wildcards.task),
    output:
        images=f"{ROOT}/data/task={{task}}/images.npy",
        index=f"{ROOT}/index/task={{task}}/rows.parquet",
    log:
        f"{LOGS}/prepare/{{task}}.log",
    threads: lambda wildcards: flow.prepare_threads(STUDY, wildcards.task)
    resources:
        mem_mb=lambda wildcards, attempt: plan.memory(
            STUDY, "prepare", wildcards.task, attempt
        ),
        runtime=lambda wildcards, attempt: plan.runtime(
            STUDY, "prepare", wildcards.task, attempt
        ),
    params:
        job=lambda wildcards: STUDY.prepare_slice(
            wildcards.task, STUDY.input_size(wildcards.task)
        ),
        work=f"{ROOT}/work/prepare/task={{task}}",
    script:
        "../scripts/prepare.py"


rule split:
    input:
        unpack(
            lambda wildcards: flow.split_files(STUDY, wildcards.task, wildcards.train)
        ),
    output:
        rows=f"{ROOT}/splits/task={{task}}/train={{train}}/rows.parquet",
    log:
        f"{LOGS}/split/{{task}}_{{train}}.log",
    localrule: True
    params:
        job=lambda wildcards: STUDY.split_slice(wildcards.task, wildcards.train),
    script:
        "../scripts/split.py"
