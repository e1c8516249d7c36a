"""Types of arguments that several commands take.

In: what a person typed. Out: the value, or a ValueError, which argparse turns into its own line.
"""

from __future__ import annotations

import os
from pathlib import Path


def path_of(text: str) -> Path:
    """A path; `~` in it is your home, also where the shell left it alone (`--config=~/a.yaml`)."""
    return Path(os.path.expanduser(text))


def count(text: str) -> int:
    """A whole number from 1 on."""
    value = int(text)
    if value < 1:
        raise ValueError
    return value
