"""Kills at random moments of a run, and whether the study comes out the same.

In: an undisturbed study and a seed. Out: an outcome for every kill. A moment is drawn as a number of jobs that start
after the run does, and a part of a second after that, so that the kills spread over all stages on a fast machine and on
a slow one. A study is killed several times on its way; then it runs to its end and is compared.

    python -m faults kills --seed 1
"""

from __future__ import annotations

import random
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import psutil

from faults.compare import differences
from faults.outcome import Outcome, judged
from faults.small import Trial, finish

PART, COLD = "kills", "cold"
# A run ends with the first three; it goes on, or goes on in part, when the others are killed.
ENDING = ("Snakemake", "Snakemake and its jobs", "everything")
PASSING = ("a job", "the warm interpreter", "a job")
# Without a warm interpreter every job is a process of its own, and outlives its Snakemake.
COLD_PASSING = ("a job", "a job", "vptcore run")
MOST_JOBS, MOST_SECONDS = 4, 1.5
PATIENCE = 120  # seconds until a run has started the jobs that a kill waits for


@dataclass(frozen=True)
class Moment:
    """When to kill, and whom: `seconds` after `jobs` more jobs have started."""

    victim: str
    jobs: int
    seconds: float

    @property
    def text(self) -> str:
        return f"{self.victim}, {self.seconds:.2f} s after job {self.jobs} of the run"


def plan_of(seed: int, warm: bool) -> list[list[Moment]]:
    """The runs of one study, each with the moments at which it is killed: six in all, in an order drawn by the seed."""
    rng = random.Random(f"kills {seed} {warm}")

    def moment(victim: str) -> Moment:
        return Moment(victim, rng.randint(1, MOST_JOBS), rng.uniform(0, MOST_SECONDS))

    ending = [[moment(victim)] for victim in rng.sample(ENDING, len(ENDING))]
    passing = [moment(victim) for victim in (PASSING if warm else COLD_PASSING)]
    runs = [*ending, passing]
    rng.shuffle(runs)
    return runs


def run(folder: Path, undisturbed: Trial, seed: int, quick: bool, say) -> list[Outcome]:
    """24 kills in four studies; in the quick form six in one."""
    numbers = range(1 if quick else 4)
    studies = (
        one_study(folder / f"killed_{n}", undisturbed, plan_of(seed + n, True), True, say) for n in numbers
    )  # fmt: skip
    return [outcome for outcomes in studies for outcome in outcomes]


def run_cold(folder: Path, undisturbed: Trial, seed: int, quick: bool, say) -> list[Outcome]:
    """Six kills where every job is a process of its own: slow, since each imports torch."""
    return one_study(folder / "killed_cold", undisturbed, plan_of(seed, False), False, say)


def one_study(folder: Path, undisturbed: Trial, plan: list[list[Moment]], warm: bool, say) -> list[Outcome]:
    """Start, kill, start again; then run to the end and compare. A difference is charged to every kill of the study."""
    folder.mkdir(parents=True)
    trial, environment = Trial(folder).write(), {"VPTCORE_WARM": "1" if warm else "0"}
    landed = [moment for moments in plan for moment in killed(trial, moments, environment, say)]
    status, printed = trial.run(**environment)
    problems = [] if status == 0 else [f"the last run ended with {status}: {printed[-300:]!r}"]
    problems += differences(trial.root, undisturbed.root) if trial.root.is_dir() else ["no results"]
    world = "warm" if warm else "cold"
    part = PART if warm else COLD
    outcomes = [judged(part, f"{moment.victim} ({world})", moment.text, problems) for moment in landed]
    say(f"{folder.name}: {'; '.join(problems[:3]) or 'the same as undisturbed'}")
    return outcomes


def killed(trial: Trial, moments: list[Moment], environment: dict[str, str], say) -> list[Moment]:
    """One run, killed at its moments one after the other; those that came in time."""
    since, landed, jobs = time.time(), [], 0
    process = trial.start(**environment)
    for moment in moments:
        jobs += moment.jobs
        if not _reaches(trial, process, jobs, since):
            say(f"{moment.text}: the run was over before")
            continue
        time.sleep(moment.seconds)
        victims = find(process.pid, moment.victim)
        for victim in victims:
            _kill(victim)
        landed += [moment] if victims else []
        say(f"{moment.text}: {'killed' if victims else 'not found'}")
    # Who works on without the victim may do so to its end; jobs that outlive their Snakemake meet the next run.
    finish(process)
    return landed


def _reaches(trial: Trial, process: subprocess.Popen, jobs: int, since: float) -> bool:
    """Wait until so many jobs of this run have opened their logs; False if the run ends first."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline and process.poll() is None:
        logs = trial.root / "logs"
        if logs.is_dir() and sum(path.stat().st_mtime >= since for path in logs.rglob("*.log")) >= jobs:
            return True
        time.sleep(0.05)
    return False


def find(run_pid: int, victim: str) -> list[psutil.Process]:
    """The processes of a run that are the victim. `run_pid` is `vptcore run`, whose child is Snakemake."""
    try:
        leader = psutil.Process(run_pid)
        mains = [child for child in leader.children() if "snakemake" in child.cmdline()]
    except psutil.NoSuchProcess:
        return []
    jobs = [job for main in mains for job in main.children(recursive=True)]
    servers = [server for main in mains for server in warm_servers(main.pid)]
    forks = [fork for server in servers for fork in server.children()]
    match victim:
        case "vptcore run":
            return [leader]
        case "Snakemake":
            return mains
        case "Snakemake and its jobs":
            return [*mains, *jobs, *forks]
        case "everything":
            return [leader, *mains, *jobs, *servers, *forks]
        case "the warm interpreter":
            return servers
    return (forks or jobs)[-1:]


def warm_servers(owner: int) -> list[psutil.Process]:
    """The interpreters that jobs of this Snakemake are forked from; each names its owner last on its command line."""
    found = []
    for process in psutil.process_iter(["cmdline", "ppid"]):
        words = process.info["cmdline"] or []
        is_fork = process.info["ppid"] in {server.pid for server in found}
        if "vptstudy.run.server" in words and words[-1] == str(owner) and not is_fork:
            found.append(process)
    return found


def _kill(process: psutil.Process) -> None:
    try:
        process.send_signal(signal.SIGKILL)
    except psutil.NoSuchProcess:
        return
