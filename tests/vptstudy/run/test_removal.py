"""What `vptcore clean` removes, what it asks about, and what it leaves alone."""

from __future__ import annotations

import fcntl
import io
from pathlib import Path

import pytest

from vptcore.records import write_rows
from vptstudy.cli import main
from vptstudy.run import launch
from vptstudy.run.removal import clean, seconds_of


@pytest.fixture
def results(tmp_path, monkeypatch) -> Path:
    """Four studies of 100 s, and a paper of 2 x 1,900 s."""
    monkeypatch.chdir(tmp_path)
    for study in ("demo", "rehearsal", "mine", "short"):
        rows(study, "a", 100)
    for job in ("a", "b"):
        rows("paper", job, 1900)
    return Path("results")


def rows(study: str, job: str, seconds: float, kind: str = "splits") -> None:
    path = Path("results", study, kind, f"task={job}", "train=8", "rows.parquet")
    note = {"job_hash": job, "started": "2026-01-01T00:00:00Z", "duration": seconds}
    write_rows(path, "splits", [{"row": 0, "part": "train"}], note)


def left(results: Path) -> list[str]:
    return sorted(path.name for path in results.iterdir())


def never(question: str) -> bool:
    raise AssertionError(question)


def test_only_the_demo_and_the_rehearsal_go_unless_others_are_named(results):
    assert clean(results, [], never) == ["demo", "rehearsal"]
    assert left(results) == ["mine", "paper", "short"]
    assert clean(results, [], never) == []
    assert clean(results, ["short"], never) == ["short"]
    assert left(results) == ["mine", "paper"]


@pytest.mark.parametrize("answer", [True, False])
def test_more_than_an_hour_is_asked_about(results, answer):
    asked = []
    clean(results, ["paper", "mine"], lambda question: asked.append(question) or answer)
    assert asked == ["results/paper holds 1.1 hours of work. Remove it?"]
    assert ("paper" in left(results)) == (not answer)
    assert "mine" not in left(results)


def test_a_demo_of_hours_is_asked_about_too(results):
    rows("demo", "b", 4000)
    assert clean(results, [], lambda question: False) == ["rehearsal"]


def test_a_job_that_wrote_two_files_counts_once(results):
    rows("mine", "a", 100, "examples")
    assert seconds_of(results / "mine") == 100
    (results / "mine/splits/rows.parquet").write_text("no parquet")
    assert seconds_of(results / "mine") == 100


@pytest.mark.parametrize("name", ["papers", "..", "../results", ""])
def test_a_name_that_is_no_study_is_one_line_and_nothing_goes(results, name, capsys):
    before = left(results)
    assert main.main(["clean", "demo", name]) == 2
    assert f"{name!r} is unknown" in capsys.readouterr().err
    assert left(results) == before


def test_a_folder_without_studies_is_named(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main.main(["clean", "leaves"]) == 2
    assert capsys.readouterr().err == "vptcore clean: results: no study in it; --results names another folder\n"


def test_nothing_goes_while_a_run_is_at_work(results):
    with open(launch.lock_file(), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(ValueError, match="a run is at work in this folder"):
            clean(results, [], never)
    assert "demo" in left(results)


@pytest.mark.parametrize(
    ("typed", "options", "gone"), [("", [], False), ("n\n", [], False), ("y\n", [], True), ("", ["--yes"], True)]
)
def test_at_the_terminal(results, monkeypatch, typed, options, gone):
    monkeypatch.setattr("sys.stdin", io.StringIO(typed))
    assert main.main(["clean", "paper", *options]) == 0
    assert ("paper" not in left(results)) == gone
