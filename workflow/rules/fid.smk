# fid: how far each task's images lie from those of pretraining.


def fid_files(wildcards) -> dict[str, str]:
    wildcards.train = STUDY.base_fid_train(wildcards.task)
    return task_files(wildcards)


rule fid:
    input:
        unpack(fid_files),
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
