# explain: Grad-CAM of full fine-tuning beside VPT, on images that one gets right and the other wrong.


rule explain:
    input:
        reads("explain"),
    output:
        **makes("explain"),
    log:
        f"{LOGS}/explain/{{backbone}}_{{task}}_{{train}}.log",
    threads: STUDY.threads
    resources:
        **limits("explain"),
        gpu=1,
    params:
        job=sliced("explain"),
        beside=beside("explain"),
    script:
        "../scripts/explain.py"
