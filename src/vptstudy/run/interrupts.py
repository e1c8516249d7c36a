"""Ctrl-C in a terminal: one line, jobs that are told to save and end, and a study that the same command continues.

A terminal sends SIGINT to every process of a run at once. The jobs' scripts ignore it, or each would end in a traceback
of its own; Snakemake's process tells them to end (SIGTERM), which they take as on a cluster.

In: Snakemake's `shell`, in the process that reads the Snakefile. Out: VPTCORE_STOPPED in the environment once a person
has asked for the end; the logger named study says nothing of jobs that fail after that.

    python -m pytest tests/vptstudy/run/test_launch.py -k ctrl_c
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

PREFIX = "set -euo pipefail; trap '' INT; "  # what Snakemake puts before a job's command
LINE = "stopped: what is finished is kept, and the same command continues from there"
STOPPED = 130  # the exit status of a program that SIGINT ended
AGAIN_SECONDS = 0.2


def settle(shell) -> None:
    """Take Ctrl-C for Snakemake's process and its jobs, from now on. Nothing is done outside a main thread."""
    if threading.current_thread() is not threading.main_thread():
        return
    shell.prefix(PREFIX)

    def stop(number: int, frame) -> None:
        if was_asked():
            return
        signal.signal(signal.SIGTERM, lambda *_: None)  # `vptcore run` sends it too, in case this just starts
        os.environ["VPTCORE_STOPPED"] = "1"
        say()
        threading.Thread(target=_end_jobs, daemon=True).start()
        raise KeyboardInterrupt

    signal.signal(signal.SIGINT, stop)


def was_asked() -> bool:
    return "VPTCORE_STOPPED" in os.environ


def say() -> None:
    clear = "\r\033[2K" if sys.stderr.isatty() else ""
    print(f"{clear}{LINE}", file=sys.stderr, flush=True)


def _end_jobs() -> None:
    """Each job once, for the rest of the run: one may be just starting."""
    told: set[int] = set()
    while True:
        for process in _jobs():
            if process.pid not in told:
                told.add(process.pid)
                process.terminate()
        time.sleep(AGAIN_SECONDS)


def _jobs() -> Iterator:
    """What the shells of this process's jobs run, but for the warm interpreter, which has a session of its own."""
    import psutil

    with contextlib.suppress(psutil.Error, ProcessLookupError):
        for child in psutil.Process().children():
            if _ignores_interrupts(child.pid):  # by PREFIX; Slurm's commands do not, and do their work
                inside = [each for each in child.children() if os.getsid(each.pid) == os.getsid(0)]
                yield from inside or [child]


def _ignores_interrupts(pid: int) -> bool:
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    except OSError:  # no such system, and no Slurm on it: every child is a job
        return True
    return bool(int(re.search(r"SigIgn:\s*(\w+)", status)[1], 16) >> (signal.SIGINT - 1) & 1)
