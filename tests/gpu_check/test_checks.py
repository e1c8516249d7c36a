"""A part's checks: each by itself, whatever the one before it did, and named where time or a package is missing."""

import math
import time

import pytest

from gpu_check import checks
from gpu_check.result import FACT, FAILED, HOLDS, SKIPPED, Line, judge


def holds(name):
    return judge("p", name, True, "", "")


def several(name):
    yield holds(name)
    yield Line("p", f"{name}, more", FACT, "")


def test_one_that_raises_is_a_line_and_the_next_begins():
    def raises(name):
        yield holds(name)
        raise RuntimeError("an illegal memory access\nmore")

    def imports(name):
        import no_such_package  # noqa: F401

    found = list(checks.lines("p", {"a": raises, "b": imports, "c": several}, math.inf))
    assert [(line.name, line.state, line.found) for line in found] == [
        ("a", HOLDS, ""), ("a", FAILED, "RuntimeError: an illegal memory access"),
        ("b", SKIPPED, "not installed: no_such_package"),
        ("c", HOLDS, ""), ("c, more", FACT, ""),
    ]  # fmt: skip


def test_one_that_is_slow_is_stopped_and_the_rest_skipped_by_name():
    def endless(name):
        yield holds(name)
        while True:
            try:
                time.sleep(60)
            except Exception:
                continue

    began = time.monotonic()
    found = list(checks.lines("p", {"a": endless, "b": holds}, began + 0.3))
    assert time.monotonic() - began < 30
    assert [(line.name, line.state) for line in found] == [("a", HOLDS), ("a", SKIPPED), ("b", SKIPPED)]
    assert all(line.found.endswith("make gpu-check PART=p") for line in found[1:])


def test_whoever_takes_a_line_is_not_stopped():
    found = checks.lines("p", {"a": several, "b": holds}, time.monotonic() + 0.2)
    first = next(found)
    time.sleep(0.4)
    assert [first.name, *[(line.name, line.state) for line in found]] == ["a", ("a", SKIPPED), ("b", SKIPPED)]


@pytest.mark.parametrize(("had", "state"), [(checks.LONG - 1, SKIPPED), (checks.LONG, FAILED)])
def test_one_that_had_long_fails(had, state):
    assert checks.late("p", "a", had).state == state
