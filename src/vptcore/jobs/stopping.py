"""Ending a job early without losing what it has: SIGTERM or SIGUSR1 comes, the work in hand is saved, the job ends.

A time limit, a preemption and `scancel` all announce themselves by SIGTERM; some sites send SIGUSR1 first. In code
that saves where it is (the training loop, inside `saving()`) a signal only leaves a note, which `check()` turns into
`Stopped` at the next step. Everywhere else it raises `Stopped` at once: files are written beside and renamed, so
nothing is half there.

In: signals. Out: `Stopped`, whose text is one line.

    python -m pytest tests/vptcore/jobs/test_stopping.py
"""

from __future__ import annotations

import signal
from contextlib import contextmanager

SIGNALS = (signal.SIGTERM, signal.SIGUSR1)
_saving = 0


class Stopped(BaseException):
    """The job was asked to end. No Exception, so that nothing on the way takes it for a mistake of its own.

    `saves` is False where the work in hand is another process's now and must not be written to.
    """

    def __init__(self, reason: str, saves: bool = True):
        super().__init__(reason)
        self.saves = saves


_asked: Stopped | None = None


def listen() -> None:
    """Handle the signals in this process, from now on. For the main thread."""
    global _asked, _saving
    _asked, _saving = None, 0
    for number in SIGNALS:
        signal.signal(number, _on_signal)


def _on_signal(number: int, frame) -> None:
    ask(f"stopped by {signal.Signals(number).name}")
    if not _saving:
        check()


def ask(reason: str, saves: bool = True) -> None:
    """Leave a note that the job should end at its next step; the first reason stays."""
    global _asked
    _asked = _asked or Stopped(reason, saves)


@contextmanager
def saving():
    """Inside, a signal waits for the next `check()`."""
    global _saving
    _saving += 1
    try:
        yield
    finally:
        _saving -= 1


def check() -> None:
    """Raise `Stopped` if someone asked."""
    if _asked is not None:
        raise _asked
