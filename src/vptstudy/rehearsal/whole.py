"""The rehearsal: a complete synthetic study in, all tables, figures and the report out, through the workflow's rules.

Before months of GPU time are spent, everything that reads rows is seen to work on rows of every cell. What is drawn
around the paper's printed means must come out as the paper's tables, with its known slips flagged.

    vptcore rehearse
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import yaml

from vptcore.choices import ConfigError
from vptstudy.config.defaults import with_defaults
from vptstudy.config.resolve import load_study
from vptstudy.rehearsal.write import NOTICE, write_study
from vptstudy.report.tables import printed
from vptstudy.study import Study

STUDY = "rehearsal"
# The stages that the rehearsal runs; the rows of all others are written beforehand, and nothing is trained.
RULES = ("table", "figure", "report", "all_tables", "all_figures")


def rehearse(config: Mapping, cores: int = 2) -> int:
    """Write the rows, render everything, compare it with the paper. The exit status: 0 where the tables agree."""
    started = time.monotonic()
    config = with_defaults(config)
    config = {**config, "study": STUDY, "report": {**config["report"], "notice": NOTICE}}
    study = load_study(config)
    root = Path(study.root)
    _make_room(root)
    # First, so that one that was stopped half way is known as a rehearsal and makes room for the next.
    (root / "study.yaml").write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")
    files = write_study(study, cores)
    print(f"rehearsal: {files} files of synthetic rows in {root} after {time.monotonic() - started:.0f} s", flush=True)
    status = render(study, cores)
    if status == 0:
        print(summary(study))
        print(f"Report: {root}/report/index.html (after {time.monotonic() - started:.0f} s)")
    return status


def _make_room(root: Path) -> None:
    """Remove the last rehearsal; never a folder that something else wrote."""
    if root.exists() and any(root.iterdir()) and not (root / "study.yaml").is_file():
        raise ConfigError(f"{root}: holds something that no rehearsal wrote; move it away")
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir(parents=True)


def render(study: Study, cores: int) -> int:
    """All tables, figures and the report by Snakemake from the rows alone; its exit status."""
    targets = ["all_tables", "all_figures", f"{study.root}/report"]
    # Made anew from the first to the last: the records of an earlier rehearsal are of other files.
    options = ["--configfile", f"{study.root}/study.yaml", "--cores", str(cores), "--logger", "study"]
    options += ["--scheduler", "greedy", "--rerun-triggers", "mtime", "--allowed-rules", *RULES]
    return subprocess.run([sys.executable, "-m", "snakemake", *targets, *options]).returncode


def summary(study: Study) -> str:
    """How many of the paper's numbers lie within our intervals, and how many of its slips are flagged."""
    counts = verdicts(study)
    said = printed.agreement(counts)
    if not said:
        return "The paper prints no number that this study has a cell for."
    slips, absent = counts.get("slip", 0), counts.get("not run", 0)
    return f"{said}; flagged as slips of the paper: {slips}; not run: {absent}."


def verdicts(study: Study) -> dict[str, int]:
    """Verdict -> number of cells, over all numbered tables."""
    return printed.verdicts(sorted((Path(study.root) / "tables").glob("table_[0-9][0-9].csv")))
