"""What several commands take: their parser, and types and options of the same meaning.

In: what a person typed. Out: the value, or an ArgumentTypeError, which argparse turns into its own line.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path


def command(commands, name: str, about: str, example: str) -> argparse.ArgumentParser:
    """A command's parser: `about` is its line in `vptcore --help` and opens its own help, `example` ends it."""
    return commands.add_parser(
        name, help=about, description=f"{about[0].upper()}{about[1:]}.", epilog=f"Example: {example}"
    )


def add_config(parser: argparse.ArgumentParser, **more) -> None:
    """`--configfile FILE`, as Snakemake spells it; `--config` is the same."""
    parser.add_argument("--configfile", "--config", type=path_of, metavar="FILE", **more)


def path_of(text: str) -> Path:
    """A path; `~` in it is your home, also where the shell left it alone (`--config=~/a.yaml`)."""
    return Path(os.path.expanduser(text))


def count(text: str) -> int:
    """A whole number from 1 on."""
    if not (text.isdecimal() and int(text) >= 1):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1 on")
    return int(text)


def cores(text: str) -> str:
    """As Snakemake takes them: a number, or `all`."""
    if text != "all" and not (text.isdecimal() and int(text) >= 1):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of cores; expected a number from 1 on, or all")
    return text
