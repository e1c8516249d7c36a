# final: the chosen recipe under every seed, one job a cell. Tuned models are kept where a later stage reads them: those
# that ft_then_pt starts from, and the first seed of those that are explained.
KEPT = BASES | {
    Cell(b, m, t, n) for b, t, n in STUDY.explained for m in ("full", "vpt")
}


def final_files(wildcards) -> dict[str, object]:
    here = cell(wildcards)
    files = task_files(wildcards) | {
        "search": STUDY.path("search", STUDY.searched_by(here))
    }
    base = STUDY.tuned_from(here)
    if base is not None:
        files["bases"] = [
            STUDY.path("models", base, f"seed={s}.safetensors") for s in STUDY.seeds
        ]
    return files


rule final:
    input:
        unpack(final_files),
    output:
        rows=f"{ROOT}/final/{CELL}/rows.parquet",
        curves=f"{ROOT}/curves/{CELL}/rows.parquet",
        predictions=f"{ROOT}/predictions/{CELL}/rows.parquet",
    log:
        f"{LOGS}/final/{CELL}.log",
    resources:
        gpu=1,
        mem_mb=16000,
        runtime=120,
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
        models=[f"{ROOT}/models/{CELL}/seed={s}.safetensors" for s in STUDY.seeds],
    wildcard_constraints:
        method=one_of({c.method for c in KEPT}),
        train=one_of({c.train for c in KEPT}),
        backbone=one_of({c.backbone for c in KEPT}),


ruleorder: final_kept > final
