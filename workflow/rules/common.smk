# The study, its graph, and what every stage's rules share.
import os
import sys
from functools import cache
from pathlib import Path

from vptcore.jobs import workfolder
from vptcore.jobs.meaning import Slice
from vptstudy import plan
from vptstudy.graph import flow, stale, targets
from vptstudy.graph.jobs import CELL, PATTERNS, TABLE_FORMS, Graph
from vptstudy.run import caches, gpus, interrupts, streams, warm
from vptstudy.audit.locate import check_owner, record_config
from vptcore.choices import ConfigError
from vptstudy.config.resolve import load_study
from vptstudy.config.schema import read_config


def stop(line: str):
    """End with one line. Not by sys.exit, after which Snakemake would report an exception of its own."""
    print(line, file=sys.stderr, flush=True)
    os._exit(1)


try:
    # Snakemake's own reading takes the last of two equal keys in silence.
    for file in workflow.configfiles:
        read_config(Path(file))
    STUDY = load_study(config)
    check_owner(STUDY, workflow.configfiles)
except ConfigError as mistake:
    stop(f"config: {mistake}")

if notice := flow.missing_data(STUDY):
    print(notice, file=sys.stderr, flush=True)

GRAPH = Graph(STUDY)
ROOT = STUDY.root
LOGS = f"{ROOT}/logs"
FIGURE_FORMS = ["pdf", "png", "csv"]
# The cells that `shards` split, by kind.
SPLIT = {
    kind: [c for c in STUDY.cells if STUDY.shards(kind, c) > 1]
    for kind in ("search", "final")
}

streams.settle()
interrupts.settle(shell)
# Jobs of this run are forked from one warm interpreter, which ends with this process.
warm.offer()
gpus.offer(STUDY.config["device"])
caches.offer(STUDY.config["compile_cache"])


wildcard_constraints:
    backbone="|".join(STUDY.used("backbone")),
    method="|".join(STUDY.used("method")),
    task="|".join(STUDY.used("task")),
    train="|".join(STUDY.used("train")),
    shard=r"\d+of\d+",


def makes(stage: str, **shown) -> dict:
    """The outputs of a stage's rule; `shown` are those that need a flag of Snakemake's."""
    return {name: kept(path) for name, path in PATTERNS[stage].items()} | shown


def kept(path: str):
    """An output that its job finds as it was: what is still right is not made again. Not for large arrays."""
    return f"{ROOT}/{path}" if path.endswith(".npy") else update(f"{ROOT}/{path}")


def reads(stage: str):
    """The inputs of a stage's rule, by the names that the stage's function gives them."""

    def found(wildcards) -> dict:
        force_stale()
        # Snakemake asks this rule too, and takes what cannot be for a no.
        if (f"{stage}_merge", *wildcards) in GRAPH:
            return {"merged": f"{ROOT}/nothing"}
        return GRAPH.watched(GRAPH[stage, *wildcards])

    return unpack(found)


@cache
def force_stale() -> None:
    try:
        stale.force(workflow, GRAPH)
    except ConfigError as mistake:
        stop(str(mistake))


def sliced(stage: str):
    """What a stage's job reads of the config."""
    return lambda wildcards: Slice(GRAPH[stage, *wildcards].slice)


def beside(stage: str):
    """The tuned models that a job reads and keeps, of which its rule knows nothing."""
    return lambda wildcards: GRAPH.beside(GRAPH[stage, *wildcards])


def limits(stage: str) -> dict:
    """Memory and minutes of a stage's jobs."""

    def memory(wildcards, attempt) -> int:
        job = GRAPH[stage, *wildcards]
        return plan.memory(STUDY, job.kind, job.subject, attempt)

    def minutes(wildcards, attempt) -> int:
        job = GRAPH[stage, *wildcards]
        return plan.runtime(STUDY, job.kind, job.subject, attempt, job.share)

    return {"mem_mb": memory, "runtime": minutes}


def in_report(path: str, kind: str):
    """An output as `snakemake --report` shows it: by number and title, with the caption that its job wrote."""
    return report(
        kept(path),
        caption="../report/note.rst",
        category=lambda wildcards: targets.category(kind, wildcards[0]),
        labels=lambda wildcards: targets.labels(kind, wildcards[0]),
    )
