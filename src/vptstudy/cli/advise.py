"""`vptcore advise`: VPT or full fine-tuning for your own images, how sure, and the model."""

from __future__ import annotations

import sys
from os.path import expanduser

from vptstudy.cli.arguments import path_of


def add(commands) -> None:
    parser = commands.add_parser("advise", help="which method for your own images, how sure, and the tuned model")
    parser.add_argument(
        "images", type=path_of, metavar="FOLDER", help="class folders, a csv of paths and labels, a parquet"
    )
    parser.add_argument("--minutes", type=_minutes, default=30.0, help="about how long it may take (default: 30)")
    parser.add_argument(
        "--backbone", default="", metavar="NAME", help="a backbone of this package (vptcore check) or timm"
    )
    parser.add_argument(
        "--checkpoint", type=expanduser, default="", metavar="FILE", help="its weights, where timm is not to fetch them"
    )
    parser.add_argument(
        "--group-by",
        default="",
        metavar="COLUMN|parent",
        help="keep images together that have this column's value, or the same folder above them",
    )
    parser.add_argument("--name", default="", help="the study's name (default: the folder's)")
    parser.add_argument(
        "--results", type=expanduser, default="results", metavar="DIR", help="where it is written (default: results)"
    )
    parser.add_argument(
        "--profile", default="", help="a folder in profiles/ (default: gpu where there is one, else demo)"
    )
    parser.add_argument("--cores", default="all", help="how many cores to use (default: all)")
    parser.set_defaults(do=run)


def _minutes(text: str) -> float:
    value = float(text)
    if not value > 0:
        raise ValueError
    return value


def run(options) -> int:
    from vptstudy.advise import climb
    from vptstudy.advise.backbone import choose
    from vptstudy.advise.groups import check
    from vptstudy.advise.look import look
    from vptstudy.advise.rungs import Setting, probe
    from vptstudy.config.resolve import load_study
    from vptstudy.run import interrupts
    from vptstudy.run.launch import find_profile

    found = look(options.images, options.name)
    check(found, options.group_by)
    backbone, own, why = choose(options.backbone, options.checkpoint)
    profile = options.profile or ("gpu" if why.on_gpu else "demo")
    find_profile(profile)
    setting = Setting(found, options.results, backbone, own, "auto" if why.on_gpu else "cpu")
    load_study(probe(setting, climb.Budget(4, 8, "train")))  # a name or a path that a config cannot have ends here
    print(f"{options.images}: {why.sentence}")
    try:
        return climb.advise(found, options.minutes, setting, climb.Runner(profile, options.cores), options.group_by)
    except KeyboardInterrupt:  # between two rungs; inside one Snakemake's process has said it
        print(f"\nvptcore advise: {interrupts.LINE}", file=sys.stderr)
        return interrupts.STOPPED
