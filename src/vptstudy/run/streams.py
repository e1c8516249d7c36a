"""Standard output and error that print on any terminal, and end quietly when nobody reads on.

A character that the terminal's encoding lacks becomes a question mark. In and out: this process's streams, and
PYTHONIOENCODING for those it starts.

    PYTHONIOENCODING=ascii vptcore plan | head -3
"""

from __future__ import annotations

import io
import os
import sys

CLOSED_PIPE = 141  # as of a program that SIGPIPE ended


def settle() -> None:
    """Let every character be printed, by this process and its children."""
    sys.stdout = sys.stdout or io.StringIO()  # closed by who started this process
    sys.stderr = sys.stderr or io.StringIO()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
            os.environ["PYTHONIOENCODING"] = f"{stream.encoding}:replace"


def abandon(error: OSError) -> int:
    """The exit status where standard output takes no more; what is unwritten goes nowhere.

    Nothing is said where the reader has gone (`| head`), and one line where the disk is full.
    """
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    if isinstance(error, BrokenPipeError):
        return CLOSED_PIPE
    print(f"vptcore: the output cannot be written: {error}", file=sys.stderr)
    return 2
