"""`vptcore run`: a study on this machine, Snakemake under a lock, then its main table."""

from __future__ import annotations

from vptstudy.cli.arguments import path_of


def add(commands) -> None:
    parser = commands.add_parser("run", help="run a study on this machine: Snakemake under a lock, then its main table")
    parser.add_argument("targets", nargs="*", help="what to make (default: everything)")
    parser.add_argument("--profile", default="demo", help="a folder in profiles/ (default: demo)")
    parser.add_argument("--configfile", type=path_of, help="another study than the profile's")
    parser.add_argument("--cores", default="all", help="how many cores to use (default: all)")
    parser.add_argument("-n", "--dry-run", action="store_true", help="say which jobs would run, and run none")
    parser.set_defaults(do=run)


def run(options) -> int:
    from vptstudy.run import launch

    return launch.run(options.profile, options.targets, options.cores, options.configfile, dry=options.dry_run)
