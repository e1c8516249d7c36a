# explain: Grad-CAM of full fine-tuning beside VPT, on images that one gets right and the other wrong.


rule explain:
    input:
        unpack(
            lambda wildcards: flow.explain_files(
                STUDY, wildcards.backbone, wildcards.task, wildcards.train
            )
        ),
    output:
        rows=f"{ROOT}/explain/backbone={{backbone}}/task={{task}}/train={{train}}/rows.parquet",
    log:
        f"{LOGS}/explain/{{backbone}}_{{task}}_{{train}}.log",
    threads: STUDY.threads
    resources:
        gpu=1,
        mem_mb=lambda wildcards, attempt: plan.memory(
            STUDY, "explain", cell(wildcards, "vpt"), attempt
        ),
        runtime=lambda wildcards, attempt: plan.runtime(
            STUDY, "explain", cell(wildcards, "vpt"), attempt
        ),
    params:
        job=lambda wildcards: STUDY.explain_slice(
            wildcards.backbone, wildcards.task, wildcards.train
        ),
    script:
        "../scripts/explain.py"
