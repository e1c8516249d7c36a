"""`vptcore compare`: two studies cell by cell."""

from __future__ import annotations

from vptstudy.cli.arguments import command, path_of


def add(commands) -> None:
    about = "compare two studies cell by cell: identical, within the seeds' spread, or beyond it"
    parser = command(commands, "compare", about, "vptcore compare results/demo elsewhere/results/demo")
    parser.add_argument("a", type=path_of, metavar="STUDY_A", help="a study's folder, such as results/demo")
    parser.add_argument("b", type=path_of, metavar="STUDY_B", help="another")
    parser.add_argument("--exact", action="store_true", help="accept identical cells only")
    parser.add_argument("--verbose", action="store_true", help="print identical cells too")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(do=run)


def run(options) -> int:
    from vptstudy.audit import agreement

    return agreement.run(options)
