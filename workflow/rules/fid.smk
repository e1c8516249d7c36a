# fid: how far each task's images lie from those of pretraining.


rule fid:
    input:
        unpack(lambda wildcards: flow.fid_files(STUDY, wildcards.task)),
    output:
        rows=f"{ROOT}/fid/task={{task}}/rows.parquet",
    log:
        f"{LOGS}/fid/{{task}}.log",
    resources:
        mem_mb=8000,
        runtime=60,
    params:
        job=lambda wildcards: STUDY.fid_slice(wildcards.task),
    script:
        "../scripts/fid.py"
