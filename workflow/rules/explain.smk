# explain: Grad-CAM of full fine-tuning beside VPT, on images that one gets right and the other wrong.


def explain_files(wildcards) -> dict[str, str]:
    files = task_files(wildcards)
    for method in ("full", "vpt"):
        here = Cell(wildcards.backbone, method, wildcards.task, wildcards.train)
        files[f"predictions_{method}"] = STUDY.path("predictions", here)
        files[f"model_{method}"] = STUDY.path(
            "models", here, f"seed={STUDY.seeds[0]}.safetensors"
        )
    return files


rule explain:
    input:
        unpack(explain_files),
    output:
        rows=f"{ROOT}/explain/backbone={{backbone}}/task={{task}}/train={{train}}/rows.parquet",
    log:
        f"{LOGS}/explain/{{backbone}}_{{task}}_{{train}}.log",
    resources:
        gpu=1,
        mem_mb=16000,
        runtime=30,
    params:
        job=lambda wildcards: STUDY.explain_slice(
            wildcards.backbone, wildcards.task, wildcards.train
        ),
    script:
        "../scripts/explain.py"
