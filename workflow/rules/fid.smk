# fid: how far each task's images lie from those of pretraining. Features once, on the device; distances from them.


rule features:
    input:
        reads("features"),
    output:
        **makes("features"),
    log:
        f"{LOGS}/features/{{task}}.log",
    threads: STUDY.threads
    resources:
        **limits("features"),
        gpu=1,
    params:
        stage="features",
        job=sliced("features"),
    script:
        "../scripts/fid.py"


# Only where the config names images as the reference, and not statistics of them.
rule reference:
    output:
        **makes("reference"),
    log:
        f"{LOGS}/reference.log",
    threads: STUDY.threads
    resources:
        gpu=1,
        mem_mb=8000,
        runtime=240,
    params:
        stage="reference",
        job=sliced("reference"),
    script:
        "../scripts/fid.py"


rule fid:
    input:
        reads("fid"),
    output:
        **makes("fid"),
    log:
        f"{LOGS}/fid/{{task}}.log",
    threads: STUDY.threads
    resources:
        **limits("fid"),
    params:
        stage="run",
        job=sliced("fid"),
    script:
        "../scripts/fid.py"
