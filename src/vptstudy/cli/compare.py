"""`vptcore compare`: two studies cell by cell."""

from __future__ import annotations

from vptstudy.cli.arguments import path_of


def add(commands) -> None:
    parser = commands.add_parser(
        "compare", help="two studies cell by cell: the same, within the seeds' spread, beyond it"
    )
    parser.add_argument("a", type=path_of, metavar="STUDY_A", help="a study's folder, results/NAME")
    parser.add_argument("b", type=path_of, metavar="STUDY_B", help="another one")
    parser.add_argument("--exact", action="store_true", help="only identical cells agree")
    parser.add_argument("--verbose", action="store_true", help="identical cells too")
    parser.add_argument("--json", action="store_true", help="every cell as JSON")
    parser.set_defaults(do=run)


def run(options) -> int:
    from vptstudy.audit import agreement

    return agreement.run(options)
