"""Snakemake's command line without its line about the profile, which the person may not have named.

python -m vptstudy.run.quiet snakemake all --profile profiles/demo
"""

from __future__ import annotations

import builtins
import sys

from snakemake import cli


def _print(*words: object, **options) -> None:
    if not str(words[0] if words else "").startswith("Using profile"):
        builtins.print(*words, **options)


if __name__ == "__main__":
    cli.print = _print
    cli.main(sys.argv[2:])
