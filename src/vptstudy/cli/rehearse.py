"""`vptcore rehearse`: a complete synthetic study through all tables, figures and the report."""

from __future__ import annotations

from pathlib import Path

from vptstudy.cli.arguments import command, count, path_of
from vptstudy.config.schema import read_config


def add(commands) -> None:
    about = "fill a study with synthetic rows and draw all its tables, figures and the report; trains nothing"
    parser = command(commands, "rehearse", about, "vptcore rehearse config.yaml")
    parser.add_argument(
        "config", type=path_of, nargs="?", default=Path("config.yaml"), metavar="FILE", help="default: config.yaml"
    )
    parser.add_argument("--cores", type=count, default=2, metavar="N", help="cores to use (default: 2)")
    parser.set_defaults(do=run)


def run(options) -> int:
    from vptstudy.rehearsal.whole import rehearse

    return rehearse(read_config(options.config), options.cores)
