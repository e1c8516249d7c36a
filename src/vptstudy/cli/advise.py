"""`vptcore advise`: VPT or full fine-tuning for your own images, how sure, and the model."""

from __future__ import annotations

import argparse
import os
import sys
from os.path import abspath, expanduser
from pathlib import Path

from vptstudy.cli.arguments import command, cores, path_of


def add(commands) -> None:
    about = "find the best tuning method for your own images, and get the tuned model"
    parser = command(commands, "advise", about, "vptcore advise photos/leaves --minutes 30")
    parser.add_argument(
        "images",
        type=path_of,
        metavar="IMAGES",
        help="a folder of class folders, a csv of paths and labels, a parquet file, or a data set from the Hub",
    )
    parser.add_argument(
        "--minutes", type=_minutes, default=30.0, metavar="N", help="about how long it may take (default: 30)"
    )
    parser.add_argument(
        "--backbone",
        default="",
        metavar="NAME",
        help="a backbone of this package or of timm (default: the small one on a CPU, ViT-B/16 on a GPU)",
    )
    parser.add_argument(
        "--checkpoint",
        type=expanduser,
        default="",
        metavar="FILE",
        help="read its weights from this file; timm fetches none",
    )
    parser.add_argument(
        "--group-by",
        default="",
        metavar="COLUMN|parent",
        help="keep images together that share a value of this column, or their folder",
    )
    parser.add_argument("--name", default="", help="name the study (default: the folder's name)")
    parser.add_argument(
        "--results",
        type=expanduser,
        default="results",
        metavar="DIR",
        help="write the study below this folder (default: results)",
    )
    parser.add_argument(
        "--profile", default="", metavar="NAME", help="a folder in profiles/ (default: gpu if there is one, else demo)"
    )
    parser.add_argument("--cores", type=cores, default="all", metavar="N", help="cores to use (default: all)")
    parser.add_argument("-n", "--dry-run", action="store_true", help="list the jobs of each step, and run none")
    parser.set_defaults(do=run)


def _minutes(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of minutes above 0")
    return value


def _from_the_clone(options) -> None:
    """Snakemake's files are in the clone. Called elsewhere, the person's paths are made absolute before going there."""
    clone = Path(__file__).resolve().parents[3]
    if Path("profiles").is_dir() or not (clone / "Snakefile").is_file():
        return
    options.images, options.results = Path(abspath(options.images)), abspath(options.results)
    options.checkpoint = options.checkpoint and abspath(options.checkpoint)
    os.chdir(clone)


def run(options) -> int:
    from vptstudy.advise import climb, preview
    from vptstudy.advise.backbone import choose
    from vptstudy.advise.groups import check
    from vptstudy.advise.look import lines, look
    from vptstudy.advise.rungs import Setting, check_owner, probe
    from vptstudy.config.resolve import load_study
    from vptstudy.run import interrupts
    from vptstudy.run.launch import find_profile, is_cluster

    _from_the_clone(options)
    found = look(options.images, options.name)
    check(found, options.group_by)
    cluster = options.profile if options.profile and is_cluster(find_profile(options.profile)) else ""
    backbone, own, why = choose(options.backbone, options.checkpoint, cluster)
    profile = options.profile or ("gpu" if why.on_gpu else "demo")
    find_profile(profile)
    setting = Setting(found, options.results, backbone, own, "auto" if why.on_gpu else "cpu")
    check_owner(setting)
    load_study(probe(setting, climb.Budget(4, 8, "train")))  # a name or a path that a config cannot have ends here
    print(f"{options.images}: {why.sentence}")
    runner = climb.Runner(profile, options.cores)
    if options.dry_run:
        for line in (*lines(found), *preview.lines(setting, runner.sharing(why.on_gpu))):
            print(f"  {line}")
        return 0
    try:
        return climb.advise(found, options.minutes, setting, runner, options.group_by)
    except KeyboardInterrupt:  # between two rungs; inside one Snakemake's process has said it
        print(f"\nvptcore advise: {interrupts.LINE}", file=sys.stderr)
        return interrupts.STOPPED
