"""`vptcore audit`: every file of a study checked against its config, its inputs and its rows."""

from __future__ import annotations

from vptstudy.cli.arguments import path_of


def add(commands) -> None:
    parser = commands.add_parser("audit", help="check a study's files against its config, their inputs and its rows")
    parser.add_argument("paths", nargs="*", type=path_of, metavar="PATH", help="a study's folder, or files in one")
    parser.add_argument("--configfile", type=path_of, help="the config of today (default: that of the last run)")
    parser.add_argument("--deep", action="store_true", help="read big files again, and decode every image again")
    parser.add_argument("--complete", action="store_true", help="what is not yet made counts as wrong")
    parser.add_argument("--fix", action="store_true", help="show what is broken, and remove it once you agree")
    parser.add_argument("--yes", action="store_true", help="with --fix: remove without asking")
    parser.add_argument("--why", metavar="FILE", help="draw what one file of the study was made from")
    parser.add_argument("--verbose", action="store_true", help="a line for every file")
    parser.add_argument("--json", action="store_true", help="everything as JSON")
    parser.set_defaults(do=run)


def run(options) -> int:
    from vptstudy.audit import session

    return session.run(options)
