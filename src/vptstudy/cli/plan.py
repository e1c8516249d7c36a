"""`vptcore plan`: what a study costs, before anything is submitted."""

from __future__ import annotations

from pathlib import Path

from vptstudy.cli.arguments import add_config, command, count, path_of
from vptstudy.config.schema import read_config


def add(commands) -> None:
    parser = command(
        commands, "plan", "show what a study costs: jobs, GPU-hours, wall time, disk", "vptcore plan table_05 --gpus 8"
    )
    parser.add_argument(
        "targets", nargs="*", metavar="TARGET", help="table_05, all_figures, report, ... (default: all)"
    )
    add_config(parser, default=Path("config.yaml"), help="default: config.yaml")
    parser.add_argument("--gpus", type=count, default=1, metavar="N", help="GPUs that work at a time (default: 1)")
    parser.add_argument(
        "--device",
        default="",
        metavar="NAME",
        help="plan for this device (default: the measured one, else the config's)",
    )
    parser.add_argument(
        "--rates", default="assumed", metavar="assumed|computed",
        help="assumed (default), or computed from peak and bandwidth; measured rates replace both",
    )  # fmt: skip
    parser.add_argument("--json", action="store_true", help="print JSON, in seconds and bytes")
    parser.add_argument("--devices", action="store_true", help="list devices and the rates assumed for them")
    parser.add_argument(
        "--check",
        type=path_of,
        metavar="RESULTS",
        help="compare predicted with measured time of a study's finished jobs",
    )
    parser.set_defaults(do=run)


def run(options) -> int:
    from vptstudy.plan import printout, summary

    if options.devices:
        summary.show_devices()
    elif options.check:
        printout.check(options.check, options.device, options.json)
    else:
        config = read_config(options.configfile)
        printout.plan(
            config, options.targets, device=options.device, gpus=options.gpus, rates=options.rates, as_json=options.json
        )
    return 0
