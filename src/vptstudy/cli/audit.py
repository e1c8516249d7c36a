"""`vptcore audit`: every file of a study checked against its config, its inputs and its rows."""

from __future__ import annotations

from vptstudy.cli.arguments import add_config, command, path_of


def add(commands) -> None:
    about = "check every file of a study against its config, its inputs, its rows and its hash"
    parser = command(commands, "audit", about, "vptcore audit results/demo --why tables/table_01.csv")
    parser.add_argument("paths", nargs="*", type=path_of, metavar="PATH", help="a study's folder, or files in one")
    add_config(parser, help="check against this config (default: its last run's)")
    parser.add_argument("--deep", action="store_true", help="read large files whole, and decode every image again")
    parser.add_argument("--complete", action="store_true", help="count files that are not yet made as wrong")
    parser.add_argument("--fix", action="store_true", help="show what is broken, ask, and remove it")
    parser.add_argument("--yes", action="store_true", help="with --fix: do not ask")
    parser.add_argument("--why", metavar="FILE", help="draw what this file was made from")
    parser.add_argument("--verbose", action="store_true", help="print a line for every file")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(do=run)


def run(options) -> int:
    from vptstudy.audit import session

    return session.run(options)
