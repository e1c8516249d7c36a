"""`vptcore rehearse`: a complete synthetic study through all tables, figures and the report."""

from __future__ import annotations

from pathlib import Path

from vptstudy.cli.arguments import path_of
from vptstudy.config.schema import read_config


def add(commands) -> None:
    parser = commands.add_parser(
        "rehearse", help="a complete synthetic study through all tables, figures and the report; trains nothing"
    )
    parser.add_argument("config", type=path_of, nargs="?", default=Path("config.yaml"))
    parser.add_argument("--cores", type=int, default=2, help="how many cores to use (default: 2)")
    parser.set_defaults(do=run)


def run(options) -> int:
    from vptstudy.rehearsal.whole import rehearse

    return rehearse(read_config(options.config), options.cores)
