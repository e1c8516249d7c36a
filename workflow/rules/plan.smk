# plan: what the study costs, before anything is submitted. `snakemake plan`; `vptcore plan --help` has more.


rule plan:
    log:
        f"{LOGS}/plan.json",
    localrule: True
    params:
        config=STUDY.config,
    script:
        "../scripts/plan.py"
