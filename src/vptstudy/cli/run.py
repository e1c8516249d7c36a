"""`vptcore run`: a study on this machine, Snakemake under a lock, then its main table."""

from __future__ import annotations

from vptstudy.cli.arguments import add_config, command, cores


def add(commands) -> None:
    parser = command(
        commands,
        "run",
        "run a study on this machine, then print its main tables",
        "vptcore run --profile demo table_01",
    )
    parser.add_argument(
        "targets", nargs="*", metavar="TARGET", help="what to make: table_01, all_figures, a file (default: everything)"
    )
    parser.add_argument("--profile", default="demo", metavar="NAME", help="a folder in profiles/ (default: demo)")
    add_config(parser, help="the study's config (default: the profile's)")
    parser.add_argument("--cores", type=cores, default="all", metavar="N", help="cores to use (default: all)")
    parser.add_argument("-n", "--dry-run", action="store_true", help="list the jobs that would run, and run none")
    parser.set_defaults(do=run)


def run(options) -> int:
    from vptstudy.run import launch

    status = launch.run(options.profile, options.targets, options.cores, options.configfile, dry=options.dry_run)
    if status == 0 and not options.targets and not options.dry_run:
        launch.print_outcome(options.profile, options.configfile)
    return status
