# The study, the paths and the wildcards that every stage shares.
import os
import sys

from vptcore.config import ConfigError
from vptcore.study import VERSIONS, Cell, load_study

try:
    STUDY = load_study(config)
except ConfigError as mistake:
    print(f"config: {mistake}", file=sys.stderr)
    # Not sys.exit: Snakemake would go on to report an exception of its own.
    sys.stderr.flush()
    os._exit(1)

ROOT = STUDY.root
CELL = "backbone={backbone}/method={method}/task={task}/train={train}"
LOGS = f"{ROOT}/logs"

# Jobs of this run are forked from one warm interpreter (vptcore.warm), which ends with this process.
if os.environ.get("VPTCORE_WARM") != "0":
    os.environ["VPTCORE_WARM"] = str(os.getpid())


wildcard_constraints:
    backbone="|".join(STUDY.used("backbone")),
    method="|".join(STUDY.used("method")),
    task="|".join(STUDY.used("task")),
    train="|".join(STUDY.used("train")),
    number=r"\d\d",


def cell(wildcards) -> Cell:
    """The cell that a job's wildcards name."""
    return Cell(wildcards.backbone, wildcards.method, wildcards.task, wildcards.train)


def task_files(wildcards) -> dict[str, str]:
    """The arrays, the index and the split that a cell reads."""
    task, train = wildcards.task, wildcards.train
    return {
        "images": f"{ROOT}/data/task={task}/images.npy",
        "index": f"{ROOT}/index/task={task}/rows.parquet",
        "splits": f"{ROOT}/splits/task={task}/train={train}/rows.parquet",
    }


def one_of(names) -> str:
    """A wildcard constraint that matches just these names, and nothing where there are none."""
    return "|".join(sorted(names)) or "(?!)"
