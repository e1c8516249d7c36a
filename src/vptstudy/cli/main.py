"""The command line: `vptcore run | check | render | audit | compare | rehearse | plan | data | pretrain | …`.

A module of this package is a command: `add` declares its options, `run` does it. A mistake of the user's ends in one
line and exit code 2.

    vptcore --help
"""

from __future__ import annotations

import argparse
import sys
from importlib import metadata

from vptstudy.cli import (
    advise,
    audit,
    check,
    clean,
    compare,
    data,
    export,
    plan,
    predict,
    pretrain,
    reference,
    rehearse,
    render,
    run,
)
from vptstudy.run import caches, streams

COMMANDS = (
    advise,
    run,
    check,
    render,
    audit,
    compare,
    rehearse,
    plan,
    data,
    export,
    predict,
    pretrain,
    reference,
    clean,
)


def main(arguments: list[str] | None = None) -> int:
    streams.settle()
    caches.settle()
    try:
        try:
            return _do(_parser().parse_args(arguments))
        finally:
            sys.stdout.flush()
    except OSError as unwritten:
        return streams.abandon(unwritten)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="vptcore", description="Visual prompt tuning, or full fine-tuning?")
    parser.add_argument("--version", action="version", version=f"vptcore {metadata.version('vptcore')}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for command in COMMANDS:
        command.add(commands)
    return parser


def _do(options: argparse.Namespace) -> int:
    try:
        return options.do(options) or 0
    except BrokenPipeError:
        raise
    except (ValueError, OSError) as mistake:
        print(f"vptcore {options.command}: {' '.join(str(mistake).split())}", file=sys.stderr)
        return 2
    except ModuleNotFoundError as missing:
        if missing.name is None or missing.name.split(".")[0] in ("vptcore", "vptstudy"):
            raise
        print(
            f"vptcore {options.command}: {missing.name} is not installed; pip install 'vptcore[study]' brings what the "
            "study needs",
            file=sys.stderr,
        )
        return 2
    except KeyboardInterrupt:
        print(f"\nvptcore {options.command}: stopped", file=sys.stderr)
        return 130


if __name__ == "__main__":
    raise SystemExit(main())
