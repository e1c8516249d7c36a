"""The moments come again for the same seed; a run is seen to reach its jobs; the victims are the processes meant."""

import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from faults.kills import _reaches, find, killed, plan_of, warm_servers
from faults.small import Trial, end_group, small_config
from vptstudy.config.resolve import load_study

JOB = "import time; time.sleep(60)"
SNAKEMAKE = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {JOB!r}]).wait()"
# Stands for `vptcore run`: its child has the word snakemake on its command line, and that one's child is a job.
RUN = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {SNAKEMAKE!r}, 'snakemake']).wait()"


@pytest.fixture
def family(tmp_path):
    process = subprocess.Popen([sys.executable, "-c", RUN], start_new_session=True)
    deadline = time.monotonic() + 20
    while len(psutil.Process(process.pid).children(recursive=True)) < 2 and time.monotonic() < deadline:
        time.sleep(0.02)
    yield process
    end_group(process)


def test_plans_come_again_and_differ():
    assert plan_of(1, True) == plan_of(1, True)
    assert plan_of(1, True) != plan_of(2, True)
    for warm in (True, False):
        moments = [moment for run in plan_of(5, warm) for moment in run]
        assert len(moments) == 6
        assert all(moment.jobs >= 1 and 0 <= moment.seconds <= 1.5 for moment in moments)


@pytest.mark.parametrize(
    ("victim", "generations"),
    [("vptcore run", {0}), ("Snakemake", {1}), ("a job", {2}), ("Snakemake and its jobs", {1, 2})],
)
def test_the_victims_are_those_meant(family, victim, generations):
    leader = psutil.Process(family.pid)
    ranks = [leader.pid, *(child.pid for child in leader.children(recursive=True))]
    assert {ranks.index(process.pid) for process in find(family.pid, victim)} == generations


def test_no_victim_where_there_is_none(family):
    assert find(family.pid, "the warm interpreter") == []
    assert warm_servers(2**22) == []
    assert find(2**22 + 1, "Snakemake") == []


class Sleeper(Trial):
    """A run that opens three logs and sleeps."""

    def start(self, **_):
        logs = self.root / "logs"
        logs.mkdir(parents=True, exist_ok=True)
        for number in range(3):
            (logs / f"{number}.log").touch()
        return subprocess.Popen([sys.executable, "-c", "import time; time.sleep(0.3)"], start_new_session=True)


def test_a_run_reaches_its_jobs_or_ends(tmp_path):
    trial = Sleeper(tmp_path)
    process = trial.start()
    assert _reaches(trial, process, 3, since=0)
    assert not _reaches(trial, process, 4, since=0)
    process.wait()
    assert not _reaches(trial, process, 3, since=time.time() + 60)


def test_a_kill_without_a_victim_does_not_count(tmp_path):
    assert killed(Sleeper(tmp_path), plan_of(0, True)[0][:1], {}, lambda line: None) == []


def test_the_small_study_has_every_stage():
    study = load_study(small_config())
    assert {cell.method for cell in study.cells} >= {"full", "vpt", "ft_then_pt", "linear"}
    assert len(study.used("task")) == 2
    assert study.explained
    assert len(study.seeds) == 2


def test_a_trial_is_a_folder_to_run_in(tmp_path):
    trial = Trial(tmp_path).write()
    assert (trial.folder / "Snakefile").resolve() == Path("Snakefile").resolve()
    assert trial.copy(tmp_path.parent / f"{tmp_path.name}_copy").folder.joinpath("study.yaml").is_file()
