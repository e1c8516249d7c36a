# The study, the paths and the wildcards that every stage shares.
import os
import sys
from pathlib import Path

from vptcore.jobs import workfolder
from vptstudy import plan
from vptstudy.graph import flow, targets
from vptstudy.run import gpus, warm
from vptstudy.audit.locate import check_owner, record_config
from vptcore.choices import ConfigError
from vptstudy.config.resolve import load_study
from vptstudy.config.schema import read_config
from vptstudy.study import VERSIONS, Cell

try:
    # Snakemake's own reading takes the last of two equal keys in silence.
    for file in workflow.configfiles:
        read_config(Path(file))
    STUDY = load_study(config)
    check_owner(STUDY, workflow.configfiles)
except ConfigError as mistake:
    print(f"config: {mistake}", file=sys.stderr, flush=True)
    # Not sys.exit, after which Snakemake would report an exception of its own.
    os._exit(1)

if notice := flow.missing_data(STUDY):
    print(notice, file=sys.stderr, flush=True)

ROOT = STUDY.root
CELL = "backbone={backbone}/method={method}/task={task}/train={train}"
LOGS = f"{ROOT}/logs"
TABLE_FORMS = ["csv", "md", "tex", "html"]
TABLE = f"{ROOT}/tables/table_{{number}}"
FIGURE_FORMS = ["pdf", "png"]
FIGURE = f"{ROOT}/figures/figure_{{name}}"
DATA_ROOT = STUDY.config["data_root"]
# Constraints for the cells that `shards` split: by kind, those of methods and of train sizes.
SPLIT = {
    kind: [c for c in STUDY.cells if STUDY.shards(kind, c) > 1]
    for kind in ("search", "final")
}

# Jobs of this run are forked from one warm interpreter, which ends with this process.
warm.offer()
gpus.offer(STUDY.config["device"])


wildcard_constraints:
    backbone="|".join(STUDY.used("backbone")),
    method="|".join(STUDY.used("method")),
    task="|".join(STUDY.used("task")),
    train="|".join(STUDY.used("train")),
    shard=r"\d+of\d+",


def cell(wildcards, method: str = "") -> Cell:
    """The cell that a job's wildcards name; explain has no method among them."""
    method = method or wildcards.method
    return Cell(wildcards.backbone, method, wildcards.task, wildcards.train)


def in_report(path: str, kind: str):
    """An output as `snakemake --report` shows it: by number and title, with the caption that its job wrote."""
    return report(
        path,
        caption="../report/note.rst",
        category=lambda wildcards: targets.category(kind, wildcards[0]),
        labels=lambda wildcards: targets.labels(kind, wildcards[0]),
    )
