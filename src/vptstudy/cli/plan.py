"""`vptcore plan`: what a study costs, before anything is submitted."""

from __future__ import annotations

from pathlib import Path

from vptstudy.cli.arguments import path_of
from vptstudy.config.schema import read_config


def add(commands) -> None:
    parser = commands.add_parser("plan", help="what a study costs before it runs: jobs, GPU-hours, wall time, disk")
    parser.add_argument(
        "targets", nargs="*", help="all (default), all_tables, all_figures, table_05, figure_13, report"
    )
    parser.add_argument("--config", type=path_of, default=Path("config.yaml"))
    parser.add_argument("--gpus", type=int, default=1, help="how many GPUs work at a time (default: 1)")
    parser.add_argument("--device", default="", help="plan for this device (default: measured, else the config's)")
    parser.add_argument(
        "--rates", default="assumed", metavar="assumed|computed",
        help="until rows are measured: assumed rates (default), or those that follow from peak and bandwidth",
    )  # fmt: skip
    parser.add_argument("--json", action="store_true", help="print JSON, in seconds and bytes")
    parser.add_argument("--devices", action="store_true", help="list the devices and the rates assumed for them")
    parser.add_argument(
        "--check", type=path_of, metavar="RESULTS", help="predicted against measured time of a study's finished jobs"
    )
    parser.set_defaults(do=run)


def run(options) -> int:
    from vptstudy.plan import printout, summary

    if options.devices:
        summary.show_devices()
    elif options.check:
        printout.check(options.check, options.device, options.json)
    else:
        config = read_config(options.config)
        printout.plan(
            config, options.targets, device=options.device, gpus=options.gpus, rates=options.rates, as_json=options.json
        )
    return 0
