# The study, the paths and the wildcards that every stage shares.
import os
import sys

from vptcore import flow, gpus, plan, warm
from vptcore.audit.locate import record_config
from vptcore.config import ConfigError
from vptcore.report import inputs as report_inputs
from vptcore.study import VERSIONS, Cell, load_study
from vptcore.training import work

try:
    STUDY = load_study(config)
except ConfigError as mistake:
    print(f"config: {mistake}", file=sys.stderr, flush=True)
    # Not sys.exit, after which Snakemake would report an exception of its own.
    os._exit(1)

if notice := flow.missing_data(STUDY):
    print(notice, file=sys.stderr, flush=True)

ROOT = STUDY.root
CELL = "backbone={backbone}/method={method}/task={task}/train={train}"
LOGS = f"{ROOT}/logs"
DATA_ROOT = STUDY.config["data_root"]

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
