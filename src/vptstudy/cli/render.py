"""`vptcore render`: tables, figures and the report from the rows that are there; nothing is trained."""

from __future__ import annotations

import os

from vptstudy.cli.arguments import add_config, command, path_of


def add(commands) -> None:
    about = "draw the tables, figures and report of an unfinished study from the rows it has so far"
    parser = command(commands, "render", about, "vptcore render results/paper table_01")
    parser.add_argument("study", type=path_of, metavar="STUDY", help="the study's folder, such as results/demo")
    parser.add_argument("targets", nargs="*", metavar="TARGET", help="table_01, figure_05, ... (default: everything)")
    add_config(parser, help="the study's config (default: its last run's)")
    parser.add_argument("--style", type=path_of, metavar="FILE", help="draw the figures in this matplotlib style")
    parser.set_defaults(do=run)


def run(options) -> int:
    from vptstudy.audit import locate
    from vptstudy.config.resolve import load_study
    from vptstudy.report import produce, so_far

    place, _ = locate.find(options.study, options.configfile)
    # Where the folder is now, wherever the config says that it is written.
    results = os.path.relpath(place.root.resolve().parent)
    study = load_study({**place.study.config, "results": results})
    folder = so_far.render(study, options.targets, style=options.style)
    if options.targets:
        print(f"Rendered in {folder}")
    else:
        produce.print_results(study.config, so_far.FOLDER)
    return 0
