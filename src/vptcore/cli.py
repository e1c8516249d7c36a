"""The command line: `vptcore run | check | render | audit | compare | rehearse | plan | data | pretrain | …`.

Each command is a thin call into the package. A mistake of the user's ends in one line and exit code 2.

    vptcore --help
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from vptcore.config import ConfigError, read_config
from vptcore.records import RowsError


def main(arguments: list[str] | None = None) -> int:
    parser = _parser()
    options = parser.parse_args(arguments)
    try:
        return options.do(options) or 0
    except (ConfigError, RowsError, ValueError, OSError) as mistake:
        print(f"vptcore {options.command}: {' '.join(str(mistake).split())}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="vptcore", description="Visual prompt tuning, or full fine-tuning?")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    run = commands.add_parser("run", help="run a study on this machine: Snakemake under a lock, then its main table")
    run.add_argument("targets", nargs="*", help="what to make (default: everything)")
    run.add_argument("--profile", default="demo", help="a folder in profiles/ (default: demo)")
    run.add_argument("--configfile", type=Path, help="another study than the profile's")
    run.add_argument("--cores", default="all", help="how many cores to use (default: all)")
    run.set_defaults(do=_run)

    check = commands.add_parser("check", help="check a config and say what it asks for")
    check.add_argument("config", type=Path, nargs="?", default=Path("config.yaml"))
    check.set_defaults(do=_check)

    render = commands.add_parser(
        "render", help="tables, figures and the report of a study that is still at work, from the rows that are there"
    )
    render.add_argument("study", type=Path, help="the study's folder, such as results/demo")
    render.add_argument("targets", nargs="*", help="table_01, figure_05, ... (default: all, and the report)")
    render.add_argument("--configfile", type=Path, help="the study's config (default: what its last run was asked for)")
    render.set_defaults(do=_render)

    audit = commands.add_parser("audit", help="hold every file of a study against its config, its inputs and its rows")
    from vptcore.audit import command

    command.add_options(audit)
    audit.set_defaults(do=command.run)

    compare = commands.add_parser(
        "compare", help="two studies cell by cell: the same, within the seeds' spread, beyond it"
    )
    command.add_compare_options(compare)
    compare.set_defaults(do=_compare)

    rehearse = commands.add_parser(
        "rehearse", help="a complete synthetic study through all tables, figures and the report; trains nothing"
    )
    rehearse.add_argument("config", type=Path, nargs="?", default=Path("config.yaml"))
    rehearse.add_argument("--cores", type=int, default=2, help="how many cores to use (default: 2)")
    rehearse.set_defaults(do=_rehearse)

    plan = commands.add_parser("plan", help="what a study costs before it runs: jobs, GPU-hours, wall time, disk")
    plan.add_argument("targets", nargs="*", help="all (default), all_tables, all_figures, table_05, figure_13, report")
    plan.add_argument("--config", type=Path, default=Path("config.yaml"))
    plan.add_argument("--gpus", type=int, default=1, help="how many GPUs work at a time (default: 1)")
    plan.add_argument("--device", default="", help="plan for this device (default: measured, else the config's)")
    plan.add_argument("--json", action="store_true", help="print JSON, in seconds and bytes")
    plan.add_argument("--devices", action="store_true", help="list the devices and the rates assumed for them")
    plan.add_argument(
        "--check", type=Path, metavar="RESULTS", help="predicted against measured time of a study's finished jobs"
    )
    plan.set_defaults(do=_plan)

    data = commands.add_parser("data", help="the tasks' images: list what is there, fetch what is missing")
    data.add_argument("action", choices=["list", "fetch"])
    data.add_argument("task", nargs="*", help="task ids (default: all of the config's)")
    data.add_argument("--config", type=Path, default=Path("config.yaml"))
    data.set_defaults(do=_data)

    pretrain = commands.add_parser("pretrain", help="pretrain the demo's backbone on CIFAR-10 that you have")
    pretrain.add_argument(
        "--data",
        type=Path,
        required=True,
        help="a parquet file with image and label columns, or a folder of class folders",
    )
    pretrain.add_argument("--out", type=Path, required=True)
    pretrain.add_argument("--epochs", type=int)
    pretrain.add_argument("--source", help="what the images are, for the model card")
    pretrain.add_argument("--seed", type=int, default=0)
    pretrain.set_defaults(do=_pretrain)

    reference = commands.add_parser("fid-reference", help="Fréchet reference statistics of images")
    reference.add_argument("images", type=Path, help="a folder, a parquet or a tar file")
    reference.add_argument("out", type=Path)
    reference.add_argument("--config", type=Path, default=Path("config.yaml"))
    reference.set_defaults(do=_reference)
    return parser


def _study(path: Path):
    from vptcore.resolve import load_study

    return load_study(read_config(path))


def _run(options) -> int:
    from vptcore.run import run

    return run(options.profile, options.targets, options.cores, options.configfile)


def _rehearse(options) -> int:
    from vptcore.rehearsal.run import rehearse

    return rehearse(read_config(options.config), options.cores)


def _render(options) -> int:
    from vptcore.audit import locate
    from vptcore.report import jobs, so_far
    from vptcore.resolve import load_study

    place, _ = locate.find(options.study, options.configfile)
    # Where the folder is now, wherever the config says that it is written.
    results = os.path.relpath(place.root.resolve().parent)
    study = load_study({**place.study.config, "results": results})
    folder = so_far.render(study, options.targets)
    if options.targets:
        print(f"Rendered in {folder}")
    else:
        jobs.print_results(study.config, so_far.FOLDER)
    return 0


def _check(options) -> int:
    study = _study(options.config)
    backbones, tasks = study.used("backbone"), study.used("task")
    print(
        f"{options.config}: study {study.name}, protocol {study.protocol.name}: {len(study.cells)} cells, "
        f"{len(study.searches)} searches"
    )
    print(f"  backbones  {', '.join(backbones)}")
    print(f"  methods    {', '.join(study.used('method'))}")
    print(f"  tasks      {len(tasks)}: {', '.join(tasks)}")
    print(f"  sizes      {', '.join(study.used('train'))}; seeds {', '.join(map(str, study.seeds))}")
    if study.left_out:
        pairs = ", ".join(f"{task} at {train}" for task, train in study.left_out)
        print(f"  left out   {len(study.left_out)} for want of images: {pairs}")
    return 0


def _compare(options) -> int:
    from vptcore.audit.compare import run

    return run(options)


def _plan(options) -> int:
    from vptcore.plan import command, show

    if options.devices:
        show.show_devices()
    elif options.check:
        command.check(options.check, options.device, options.json)
    else:
        config = read_config(options.config)
        command.plan(config, options.targets, device=options.device, gpus=options.gpus, as_json=options.json)
    return 0


def _data(options) -> int:
    from vptcore.config import choose_one
    from vptcore.data import hub

    study = _study(options.config)
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
        lines.append(f"missing, to be put there by hand: {', '.join(by_hand)}")
    if missing:
        lines.append("`vptcore data list TASK` says what to put where")
    return lines


def _pretrain(options) -> int:
    from vptcore.training.pretrain import load_images, pretrain

    images, labels = load_images(options.data)
    card = pretrain(
        images,
        labels,
        options.out,
        source=options.source or options.data.name,
        seed=options.seed,
        epochs=options.epochs,
    )
    print(
        f"held-out accuracy {card['held_out_accuracy']:.1%} after {card['minutes']} minutes; weights in {options.out}"
    )
    return 0


def _reference(options) -> int:
    from vptcore.analysis.fid import write_reference

    print(write_reference(_study(options.config), options.images, options.out))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
