# audit: every file that is there, checked against today's config, its inputs and its rows. It makes nothing and always runs.


rule audit:
    log:
        f"{LOGS}/audit.log",
    localrule: True
    params:
        config=STUDY.config,
    script:
        "../scripts/audit.py"
