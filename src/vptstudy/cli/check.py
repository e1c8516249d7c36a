"""`vptcore check`: check a config against the schema and the tables, and say what it asks for."""

from __future__ import annotations

import json
from pathlib import Path

from vptcore.wording import plural
from vptstudy.cli.arguments import command, path_of
from vptstudy.config.schema import read_config


def add(commands) -> None:
    parser = command(
        commands, "check", "check a config: what it asks for, and whether it can run", "vptcore check mine.yaml"
    )
    parser.add_argument(
        "config", type=path_of, nargs="?", default=Path("config.yaml"), metavar="FILE", help="default: config.yaml"
    )
    parser.add_argument("--all", action="store_true", help="print the config with every default filled in")
    parser.set_defaults(do=run)


def run(options) -> int:
    import yaml

    from vptstudy.audit.locate import check_owner
    from vptstudy.config.resolve import load_study
    from vptstudy.config.runnable import problems, remarks
    from vptstudy.plan.race import race_lines
    from vptstudy.report.on_edge import edge_lines

    study = load_study(read_config(options.config))
    check_owner(study, [str(options.config)])
    if options.all:
        print(yaml.safe_dump(json.loads(json.dumps(study.config)), sort_keys=False, allow_unicode=True), end="")
        return 0
    backbones, tasks = study.used("backbone"), study.used("task")
    print(
        f"{options.config}: study {study.name}, protocol {study.protocol.name}: {plural(len(study.cells), 'cell')}, "
        f"{plural(len(study.searches), 'search', 'searches')}"
    )
    print(f"  backbones  {', '.join(backbones)}")
    print(f"  methods    {', '.join(study.used('method'))}")
    print(f"  tasks      {len(tasks)}: {', '.join(tasks)}")
    print(f"  sizes      {', '.join(study.used('train'))}; seeds {', '.join(map(str, study.seeds))}")
    if study.left_out:
        pairs = ", ".join(f"{task} at {train}" for task, train in study.left_out)
        print(f"  left out   {len(study.left_out)}, too few images for this size: {pairs}")
    for line in (*remarks(study), *race_lines(study)):
        print(f"  note       {line}")
    for line in edge_lines(study):
        print(f"  edge       {line}")
    found = problems(study, weights=True)
    for line in found:
        print(f"  cannot run {line}")
    return 1 if found else 0
