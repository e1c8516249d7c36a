"""A part's checks, one after the other and each by itself.

In: functions under the names of their lines, and the time by which they must have ended. Out: their lines. What raises
is a line and the next check begins; what time does not allow, or a package is missing for, is skipped by name.

    python -m pytest tests/gpu_check/test_checks.py
"""

from __future__ import annotations

import contextlib
import math
import signal
import time
from collections.abc import Callable, Iterable, Iterator, Mapping

from gpu_check.result import FAILED, SKIPPED, Line

Check = Callable[[str], "Line | Iterable[Line]"]
# A check that has had so many seconds and still runs does not end; one that had fewer may only be slow here.
LONG = 200.0


class TimeIsUp(BaseException):
    """No `Exception`, so that nothing that is checked takes it for a failure of its own."""


def lines(part: str, checks: Mapping[str, Check], ends: float) -> Iterator[Line]:
    """Lines of `checks`, each called with its name. One begins while there is time, and is stopped when it is up."""
    for name, check in checks.items():
        if time.monotonic() >= ends:
            yield Line(part, name, SKIPPED, f"no time left: make gpu-check PART={part}")
        else:
            yield from _of(part, name, check, ends)


def _of(part: str, name: str, check: Check, ends: float) -> Iterator[Line]:
    began, found = time.monotonic(), _each(check, name)
    try:
        while True:
            with _until(ends):  # not where a line is yielded: whoever takes it is not to be stopped
                line = next(found, None)
            if line is None:
                return
            yield line
    except TimeIsUp:
        yield late(part, name, time.monotonic() - began)
    except ModuleNotFoundError as error:
        yield missing(part, name, error)
    except Exception as error:
        yield raised(part, name, error)


def _each(check: Check, name: str) -> Iterator[Line]:
    found = check(name)
    yield from [found] if isinstance(found, Line) else found


@contextlib.contextmanager
def _until(ends: float) -> Iterator[None]:
    """Inside, TimeIsUp is raised when it is. A call into the driver that hangs is not reached by it."""

    def end(number: int, frame: object) -> None:
        raise TimeIsUp

    left = ends - time.monotonic()
    if left <= 0:
        raise TimeIsUp
    before = signal.signal(signal.SIGALRM, end)
    signal.setitimer(signal.ITIMER_REAL, left if math.isfinite(left) else 0.0)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, before)


def late(part: str, name: str, had: float) -> Line:
    """The line of a check whose time was up after so many seconds."""
    if had >= LONG:
        return Line(part, name, FAILED, f"not ended after {had:.0f} s", "ends by itself")
    return Line(part, name, SKIPPED, f"not ended in the {had:.0f} s that were left: make gpu-check PART={part}")


def missing(part: str, name: str, error: ModuleNotFoundError) -> Line:
    return Line(part, name, SKIPPED, f"not installed: {error.name}")


def raised(part: str, name: str, error: Exception) -> Line:
    said = (str(error).splitlines() or [""])[0][:200]
    return Line(part, name, FAILED, f"{type(error).__name__}: {said}", "no error")
