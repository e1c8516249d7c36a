# prepare: every task decoded once to uint8 arrays, and the rows that each train size uses.


def fetched(wildcards) -> list[str]:
    """The mark of a download, where the task's images come from the hub and are not there yet."""
    task = STUDY.tasks[wildcards.task]
    path = STUDY.source_path(wildcards.task)
    is_wanted = task.repo and task.source == "wds" and not os.path.isdir(f"{path}/test")
    return [f"{path}/.fetched"] if is_wanted else []


rule fetch:
    output:
        touch(STUDY.config["data_root"] + "/{task}/.fetched"),
    log:
        f"{LOGS}/fetch/{{task}}.log",
    localrule: True
    params:
        job=lambda wildcards: {
            "task": wildcards.task,
            "root": STUDY.config["data_root"],
        },
    script:
        "../scripts/fetch.py"


rule prepare:
    input:
        fetched,
    output:
        images=f"{ROOT}/data/task={{task}}/images.npy",
        index=f"{ROOT}/index/task={{task}}/rows.parquet",
    log:
        f"{LOGS}/prepare/{{task}}.log",
    resources:
        mem_mb=4000,
        runtime=120,
    params:
        job=lambda wildcards: STUDY.prepare_slice(
            wildcards.task, STUDY.input_size(wildcards.task)
        ),
    script:
        "../scripts/prepare.py"


rule split:
    input:
        index=f"{ROOT}/index/task={{task}}/rows.parquet",
    output:
        rows=f"{ROOT}/splits/task={{task}}/train={{train}}/rows.parquet",
    log:
        f"{LOGS}/split/{{task}}_{{train}}.log",
    localrule: True
    params:
        job=lambda wildcards: STUDY.split_slice(wildcards.task, wildcards.train),
    script:
        "../scripts/split.py"
