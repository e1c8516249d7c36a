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
from faults.outcome import LOST, SURVIVED, Outcome
from faults.small import Trial, end_group

PART = "kills"
VICTIMS = ("a job", "Snakemake", "Snakemake and its jobs", "the warm interpreter", "vptcore run")
# Without a warm interpreter every job is a process of its own.
COLD_VICTIMS = tuple(v for v in VICTIMS if v != "the warm interpreter")
MOST_JOBS, MOST_SECONDS = 4, 1.5
PATIENCE = 120  # seconds until a run has started the jobs that a kill waits for


@dataclass(frozen=True)
class Moment:
    """When to kill, and whom: `seconds` after the `jobs`-th job of the run has started."""

    victim: str
    jobs: int
    seconds: float

    @property
    def text(self) -> str:
        return f"{self.victim}, {self.seconds:.2f} s into the run's job {self.jobs}"


def moments(count: int, seed: int, warm: bool) -> list[Moment]:
    """`count` moments; the victims come in turn, so that each is killed about as often."""
    rng = random.Random(f"kills {seed} {warm}")
    victims = VICTIMS if warm else COLD_VICTIMS
    order = [victims[i % len(victims)] for i in range(count)]
    rng.shuffle(order)
    return [Moment(victim, rng.randint(1, MOST_JOBS), rng.uniform(0, MOST_SECONDS)) for victim in order]


def run(folder: Path, undisturbed: Trial, seed: int, quick: bool, say) -> list[Outcome]:
    """24 kills in six studies, two of them without the warm interpreter; 5 in one in the quick form."""
    plan = [(5, True)] if quick else [(4, True), (4, True), (4, False), (4, True), (4, True), (4, False)]
    outcomes = []
    for number, (count, warm) in enumerate(plan):
        outcomes += one_study(folder / f"killed_{number}", undisturbed, moments(count, seed + number, warm), warm, say)
    return outcomes


def one_study(folder: Path, undisturbed: Trial, plan: list[Moment], warm: bool, say) -> list[Outcome]:
    """Start, kill, start again; then run to the end and compare. A difference is charged to every kill of the study."""
    folder.mkdir(parents=True)
    trial, environment = Trial(folder).write(), {"VPTCORE_WARM": "1"} if warm else {"VPTCORE_WARM": "0"}
    landed = []
    for moment in plan:
        hit = killed(trial, moment, environment)
        landed.append(hit)
        say(f"{moment.text}: {'killed' if hit else 'the run was over before'}")
    status, printed = trial.run(**environment)
    problems = [] if status == 0 else [f"the last run ended with {status}: {printed[-200:]!r}"]
    problems += differences(trial.root, undisturbed.root) if trial.root.is_dir() else ["no results"]
    world = "warm" if warm else "cold"
    state, why = (LOST, "; ".join(problems[:3])) if problems else (SURVIVED, "")
    say(f"{folder.name}: {why or 'the same as undisturbed'}")
    return [
        Outcome(PART, f"{moment.victim} ({world})", moment.text, state, why)
        for moment, hit in zip(plan, landed, strict=True)
        if hit
    ]


def killed(trial: Trial, moment: Moment, environment: dict[str, str]) -> bool:
    """Start a run and kill at the moment; wait until all of it is gone. False where it ended before."""
    before = time.time()
    process = trial.start(**environment)
    if not _reaches(trial, process, moment.jobs, before):
        process.communicate()
        return False
    time.sleep(moment.seconds)
    victims = find(process.pid, moment.victim)
    for victim in victims:
        _kill(victim)
    # Whoever works on without the victim may do so to its end: the next run waits for it.
    if moment.victim in ("a job", "the warm interpreter", "vptcore run"):
        process.communicate(timeout=400)
    else:
        end_group(process)
    return bool(victims)


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
            return [leader, *mains, *jobs, *forks]
        case "the warm interpreter":
            return servers
    return forks or jobs


def warm_servers(owner: int) -> list[psutil.Process]:
    """The interpreters that jobs of this Snakemake are forked from; each names its owner last on its command line."""
    found = []
    for process in psutil.process_iter(["cmdline", "ppid"]):
        words = process.info["cmdline"] or []
        is_fork = process.info["ppid"] in {server.pid for server in found}
        if "vptcore.warm" in words and words[-1] == str(owner) and not is_fork:
            found.append(process)
    return found


def _kill(process: psutil.Process) -> None:
    try:
        process.send_signal(signal.SIGKILL)
    except psutil.NoSuchProcess:
        return
