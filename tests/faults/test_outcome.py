"""The table's arithmetic, and that a part that runs again replaces its own outcomes only."""

import json

from rich.console import Console

from faults.outcome import LOST, SKIPPED, SURVIVED, Outcome, counted, judged, show, write


def outcomes():
    states = [("kills", "a job", SURVIVED), ("kills", "a job", LOST), ("places", "a full disk", SKIPPED)]
    return [Outcome(part, kind, f"number {i}", state, "why") for i, (part, kind, state) in enumerate(states)]


def test_tried_is_survived_and_lost():
    assert list(counted(outcomes())) == [("kills", "a job", 2, 1, 1, 0), ("places", "a full disk", 0, 0, 0, 1)]


def test_judged_by_its_problems():
    assert judged("p", "k", "w", []).state == SURVIVED
    lost = judged("p", "k", "w", ["a", "b", "c", "d"])
    assert (lost.state, lost.why) == (LOST, "a; b; c and 1 more")


def test_a_part_replaces_its_own(tmp_path):
    path = tmp_path / "faults.json"
    write(outcomes(), path, seed=1)
    everything = write([Outcome("kills", "a job", "again", SURVIVED)], path, seed=2)
    assert [outcome.what for outcome in everything] == ["number 2", "again"]
    assert json.loads(path.read_text())["lost"] == 0


def test_what_was_lost_is_named():
    console = Console(width=100, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    show(outcomes(), console)
    text = console.export_text()
    assert "kills · a job · number 1: lost (why)" in text
    assert "number 0" not in text
    assert "1 could not be tried here" in text
