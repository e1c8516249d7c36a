# final: the chosen recipe under every seed, one job a cell. Tuned models are kept beside it where a later stage reads them.


rule final:
    input:
        reads("final"),
    output:
        **makes("final"),
    log:
        f"{LOGS}/final/{CELL}.log",
    threads: STUDY.threads
    resources:
        **limits("final"),
        gpu=1,
    params:
        job=sliced("final"),
        beside=beside("final"),
        work=f"{ROOT}/work/final/{CELL}",
    script:
        "../scripts/final.py"


# Only where the config's `shards` split the seeds over several jobs. Putting their rows together is seconds of reading.
use rule final as final_shard with:
    input:
        reads("final_shard"),
    output:
        **makes("final_shard"),
    log:
        f"{LOGS}/final/{CELL}/shard={{shard}}.log",
    resources:
        **limits("final_shard"),
        gpu=1,
    params:
        job=sliced("final_shard"),
        beside=beside("final_shard"),
        work=f"{ROOT}/work/final_shard/{CELL}/shard={{shard}}",


use rule final as final_merge with:
    input:
        reads("final_merge"),
    wildcard_constraints:
        method=flow.one_of({c.method for c in SPLIT["final"]}),
        train=flow.one_of({c.train for c in SPLIT["final"]}),
    localrule: True
    resources:
        **limits("final_merge"),
        gpu=0,
    params:
        job=sliced("final_merge"),
        beside=beside("final_merge"),
        work=f"{ROOT}/work/final/{CELL}",


ruleorder: final_merge > final
