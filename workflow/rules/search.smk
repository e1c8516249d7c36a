# search: the grid of one cell, one job. The best tuned model is kept beside it where another method starts from it.


rule search:
    input:
        reads("search"),
    output:
        **makes("search"),
    log:
        f"{LOGS}/search/{CELL}.log",
    threads: STUDY.threads
    resources:
        **limits("search"),
        gpu=1,
    params:
        job=sliced("search"),
        beside=beside("search"),
        work=f"{ROOT}/work/search/{CELL}",
    script:
        "../scripts/search.py"


# Only where the config's `shards` split a grid over several jobs. Putting their rows together is seconds of reading.
use rule search as search_shard with:
    input:
        reads("search_shard"),
    output:
        **makes("search_shard"),
    log:
        f"{LOGS}/search/{CELL}/shard={{shard}}.log",
    resources:
        **limits("search_shard"),
        gpu=1,
    params:
        job=sliced("search_shard"),
        beside=beside("search_shard"),
        work=f"{ROOT}/work/search_shard/{CELL}/shard={{shard}}",


use rule search as search_merge with:
    input:
        reads("search_merge"),
    wildcard_constraints:
        method=flow.one_of({c.method for c in SPLIT["search"]}),
        train=flow.one_of({c.train for c in SPLIT["search"]}),
    localrule: True
    resources:
        **limits("search_merge"),
        gpu=0,
    params:
        job=sliced("search_merge"),
        beside=beside("search_merge"),
        work=f"{ROOT}/work/search/{CELL}",


ruleorder: search_merge > search
