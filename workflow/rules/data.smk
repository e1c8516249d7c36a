# prepare: every task decoded once to uint8 arrays, and the rows that each train size uses.


rule fetch:
    output:
        touch(f"{STUDY.config['data_root']}/{{task}}/{flow.FETCHED}"),
    log:
        f"{LOGS}/fetch/{{task}}.log",
    localrule: True
    params:
        job=sliced("fetch"),
    script:
        "../scripts/fetch.py"


rule prepare:
    input:
        reads("prepare"),
    output:
        **makes("prepare"),
    log:
        f"{LOGS}/prepare/{{task}}.log",
    threads: lambda wildcards: flow.prepare_threads(STUDY, wildcards.task)
    resources:
        **limits("prepare"),
    params:
        job=sliced("prepare"),
        work=f"{ROOT}/work/prepare/task={{task}}",
    script:
        "../scripts/prepare.py"


rule split:
    input:
        reads("split"),
    output:
        **makes("split"),
    log:
        f"{LOGS}/split/{{task}}_{{train}}.log",
    localrule: True
    params:
        job=sliced("split"),
    script:
        "../scripts/split.py"
