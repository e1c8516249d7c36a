# search: the grid of one cell, one job. The best tuned model is kept only where another method starts from it.
BASES = STUDY.tuned_from_cells


def search_files(wildcards) -> dict[str, str]:
    files = task_files(wildcards)
    base = STUDY.tuned_from(cell(wildcards))
    if base is None:
        return files
    if STUDY.protocol.ft_then_pt_base == "trainval":
        return files | {
            "base": STUDY.path("models", base, f"seed={STUDY.seeds[0]}.safetensors")
        }
    return files | {"base": STUDY.path("models", base, "search.safetensors")}


rule search:
    input:
        unpack(search_files),
    output:
        rows=f"{ROOT}/search/{CELL}/rows.parquet",
    log:
        f"{LOGS}/search/{CELL}.log",
    resources:
        gpu=1,
        mem_mb=16000,
        runtime=120,
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
        method=one_of({c.method for c in BASES}),
        train=one_of({c.train for c in BASES}),
        backbone=one_of({c.backbone for c in BASES}),


ruleorder: search_kept > search
