# fid: how far each task's images lie from those of pretraining. Features once, on the device; distances from them.


rule features:
    input:
        unpack(lambda wildcards: flow.features_files(STUDY, wildcards.task)),
    output:
        features=f"{ROOT}/features/task={{task}}/features.safetensors",
    log:
        f"{LOGS}/features/{{task}}.log",
    threads: STUDY.threads
    resources:
        gpu=1,
        mem_mb=lambda wildcards, attempt: plan.memory(
            STUDY, "features", wildcards.task, attempt
        ),
        runtime=lambda wildcards, attempt: plan.runtime(
            STUDY, "features", wildcards.task, attempt
        ),
    params:
        stage="features",
        job=lambda wildcards: STUDY.features_slice(wildcards.task),
    script:
        "../scripts/fid.py"


# Only where the config names images as the reference, and not statistics of them.
rule reference:
    output:
        statistics=f"{ROOT}/reference/statistics.safetensors",
    log:
        f"{LOGS}/reference.log",
    threads: STUDY.threads
    resources:
        gpu=1,
        mem_mb=8000,
        runtime=240,
    params:
        stage="reference",
        job=STUDY.reference_slice(),
    script:
        "../scripts/fid.py"


rule fid:
    input:
        unpack(lambda wildcards: flow.fid_files(STUDY, wildcards.task)),
    output:
        rows=f"{ROOT}/fid/task={{task}}/rows.parquet",
    log:
        f"{LOGS}/fid/{{task}}.log",
    threads: STUDY.threads
    resources:
        mem_mb=lambda wildcards, attempt: plan.memory(
            STUDY, "fid", wildcards.task, attempt
        ),
        runtime=lambda wildcards, attempt: plan.runtime(
            STUDY, "fid", wildcards.task, attempt
        ),
    params:
        stage="run",
        job=lambda wildcards: STUDY.fid_slice(wildcards.task),
    script:
        "../scripts/fid.py"
