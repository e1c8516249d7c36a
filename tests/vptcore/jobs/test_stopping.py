"""Signals: at once outside code that saves, at the next check inside it."""

import os
import signal

import pytest

from vptcore.jobs import stopping
from vptcore.jobs.stopping import Stopped


@pytest.fixture(autouse=True)
def handlers(monkeypatch):
    before = {number: signal.getsignal(number) for number in stopping.SIGNALS}
    stopping.listen()
    yield
    for number, handler in before.items():
        signal.signal(number, handler)
    stopping._asked = None


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_outside_code_that_saves_it_ends_at_once(number):
    with pytest.raises(Stopped, match=rf"^stopped by {number.name}$"):
        os.kill(os.getpid(), number)


def test_inside_it_ends_at_the_next_check_and_once():
    reached = []
    with stopping.saving():
        os.kill(os.getpid(), signal.SIGUSR1)
        os.kill(os.getpid(), signal.SIGTERM)
        reached.append("the end of the step")
        with pytest.raises(Stopped, match=r"^stopped by SIGUSR1$"):
            stopping.check()
    assert reached == ["the end of the step"]


def test_regions_may_lie_in_each_other():
    with stopping.saving():
        with stopping.saving():
            pass
        os.kill(os.getpid(), signal.SIGTERM)
    with pytest.raises(Stopped):
        stopping.check()


def test_nothing_asked_nothing_raised():
    stopping.check()


def test_it_is_no_mistake_that_code_on_the_way_would_catch():
    assert not issubclass(Stopped, Exception)
