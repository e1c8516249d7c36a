"""`vptcore data list | fetch`: which of a study's images are there, and how the others get there."""

from __future__ import annotations

import sys
from pathlib import Path

from vptcore.choices import choose_one
from vptstudy.cli.arguments import add_config, command
from vptstudy.config.schema import read_config


def add(commands) -> None:
    parser = command(commands, "data", "list which images are there, or fetch missing ones", "vptcore data list svhn")
    parser.add_argument("action", choices=["list", "fetch"], help="list what is there, or download what is missing")
    parser.add_argument("task", nargs="*", metavar="TASK", help="tasks, by id (default: all of the config)")
    add_config(parser, default=Path("config.yaml"), help="default: config.yaml")
    parser.set_defaults(do=run)


def run(options) -> int:
    from vptcore.data import hub
    from vptstudy.config.resolve import load_study

    study = load_study(read_config(options.configfile))
    tasks = options.task or study.used("task")
    for task in tasks:
        choose_one("task", task, study.tasks)
    rows = [study.tasks[task] for task in tasks]
    if options.action == "fetch":
        # Without names, those that can be fetched: the list says what is to be done about the others.
        for task in rows if options.task else [task for task in rows if task.fetched]:
            print(f"{task.id} is in {hub.fetch(task, Path(study.config['data_root']))}")
        return 0
    listed = hub.listing(rows, study.config["tasks"], study.config["data_root"], study.root)
    _print_listing(listed, briefly=not options.task)
    return 0


def _print_listing(rows: list[dict], *, briefly: bool) -> None:
    """The table, and what to put where for each missing task; or which are to be fetched, and which not."""
    from rich.console import Console
    from rich.table import Table

    table = Table(
        "task", "source", "there", "images", "classes", "licence", "on disk", "where", box=None, pad_edge=False
    )
    for row in rows:
        images = f"{row['rows']:,}" if row["rows"] is not None else "?" if row["found"] else ""
        size = f"{row['bytes'] / 1e6:,.1f} MB" if row["bytes"] else ""
        there = "yes" if row["found"] else "missing"
        table.add_row(
            row["task"],
            row["source"],
            there,
            images,
            str(row["classes"]),
            row["licence"],
            size,
            row["where"] if row["found"] else "",
        )
    # Paths and licences are what they are, also with square brackets in them.
    console = Console(width=None if sys.stdout.isatty() else 160, markup=False)
    console.print(table)
    missing = [row for row in rows if not row["found"]]
    lines = [f"?: {row['task']}: {row['unknown']}" for row in rows if row["found"] and row["rows"] is None]
    lines += _missing_briefly(missing) if briefly else [f"missing: {row['where']}" for row in missing]
    for line in lines:
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def _missing_briefly(missing: list[dict]) -> list[str]:
    """At most three lines for any number of tasks."""
    lines = []
    if fetched := [row["task"] for row in missing if row["fetched"]]:
        lines.append(f"missing, `vptcore data fetch` gets them: {', '.join(fetched)}")
    if by_hand := [row["task"] for row in missing if not row["fetched"]]:
        lines.append(f"missing, put them there yourself: {', '.join(by_hand)}")
    if missing:
        lines.append("`vptcore data list TASK` says what to put where")
    return lines
