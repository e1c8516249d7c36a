"""Run a study on this machine: Snakemake under a lock that dies with it; then its main table.

What `make demo` calls. A second call while one is at work waits for it; after a kill the next call clears Snakemake's
stale lock and goes on.

    vptcore run --profile demo
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from vptcore.choices import ConfigError, choose_one
from vptcore.jobs import locks
from vptcore.wording import plural
from vptstudy.config.resolve import load_study
from vptstudy.config.runnable import check_runnable
from vptstudy.config.schema import read_config
from vptstudy.run import interrupts

LOCK = Path(".snakemake/vptcore.lock")
SNAKEMAKE = (sys.executable, "-m", "vptstudy.run.quiet", "snakemake")
STUDY_TARGETS = ("all", "all_tables", "all_figures", "report", "audit", "plan")


def run(profile: str, targets: list[str], cores: str, configfile: Path | None, *, dry: bool = False) -> int:
    """Snakemake's exit status. `dry`: its jobs are listed and none runs.

    Raises ConfigError, before anything runs, for an unknown profile or a broken config.
    """
    folder = find_profile(profile)
    config = read_config(configfile or profile_config(folder))
    _check_targets(targets, config)
    check_runnable(load_study(config))
    with locks.held(lock_file(), _say_waiting) as lock:
        _clear_stale_lock()
        _settle_times(config)
        command = [*SNAKEMAKE, *targets, "--profile", str(folder), "--cores", cores]
        if configfile:
            command += ["--configfile", str(configfile)]
        if dry:
            command += ["--dry-run"]
        return _snakemake(command, lock)


def print_outcome(profile: str, configfile: Path | None) -> None:
    """The main tables of a finished study, its answer, and which rates are on an edge."""
    from vptstudy.report.on_edge import edge_lines
    from vptstudy.report.produce import print_results

    config = read_config(configfile or profile_config(find_profile(profile)))
    print_results(config)
    for line in edge_lines(load_study(config)):
        print(f"edge: {line}")


def _snakemake(command: list[str], lock: locks.Lock) -> int:
    """Run it to its end. On Ctrl-C it is told to end, which it takes at any moment, with its jobs."""
    asked: list[int] = []
    previous = signal.signal(signal.SIGINT, signal.SIG_IGN)  # as the child has it until it reads the Snakefile
    try:
        # The child holds the lock too: where this process alone is killed, Snakemake works on and the next call waits.
        child = subprocess.Popen(command, pass_fds=[lock.file])

        def stop(number: int, frame) -> None:
            asked.append(number)
            child.send_signal(signal.SIGINT)  # a terminal sends it to both, `kill` to this process alone
            child.terminate()

        signal.signal(signal.SIGINT, stop)
        status = child.wait()
    finally:
        signal.signal(signal.SIGINT, previous)
    if asked and status == -signal.SIGTERM:  # before it could say so itself
        interrupts.say()
    return interrupts.STOPPED if asked else status


def _settle_times(config: Mapping) -> None:
    """Where a copy lost the files' times, set them right by their hashes, and say so."""
    from vptstudy.graph.jobs import Graph
    from vptstudy.run.settle import settle

    if jobs := settle(Graph(load_study(config))):
        told = "older than what they were made from, and right by their hashes: times set"
        print(f"the files of {plural(jobs, 'job')} are {told}", file=sys.stderr)


def _check_targets(targets: list[str], config: Mapping) -> None:
    """A target is a name that the study has, or a file of it; Snakemake would not say which names there are."""
    if names := [target for target in targets if target not in STUDY_TARGETS]:
        from vptstudy.graph.jobs import Graph

        graph = Graph(load_study(config))
        for name in names:
            graph.asked(name)


def find_profile(name: str) -> Path:
    profiles = {p.parent.name: p.parent for p in Path("profiles").glob("*/config.yaml")}
    if not profiles:
        raise ConfigError("no folder profiles/ here; run this in the top folder of a clone")
    choose_one("--profile", name, sorted(profiles))
    return profiles[name]


def is_cluster(folder: Path) -> bool:
    """Whether a profile's jobs run on other machines than this one."""
    return read_config(folder / "config.yaml").get("executor", "local") != "local"


def profile_config(folder: Path) -> Path:
    """The config that a profile names, or the paper's."""
    named = read_config(folder / "config.yaml").get("configfile")
    return Path(named) if named else Path("config.yaml")


def lock_file() -> Path:
    LOCK.parent.mkdir(exist_ok=True)
    return LOCK


def _say_waiting() -> None:
    print("another run is at work in this folder; waiting for it (Ctrl-C to leave it alone)", file=sys.stderr)


def _clear_stale_lock() -> None:
    """Snakemake's own lock outlives a kill. No run of ours is alive here; one started by hand might be."""
    left = Path(".snakemake/locks")
    if not left.is_dir() or not any(left.iterdir()):
        return
    if (pid := _other_snakemake()) is not None:
        raise ConfigError(f"Snakemake is at work in this folder (process {pid}); wait for it, or stop it")
    for file in left.iterdir():
        file.unlink(missing_ok=True)


def _other_snakemake() -> int | None:
    import psutil

    here = os.getcwd()
    for process in psutil.process_iter(["pid", "cmdline"]):
        words = process.info["cmdline"] or []
        if process.pid != os.getpid() and any(Path(w).name == "snakemake" for w in words[:4]):
            try:
                if process.cwd() == here:
                    return process.pid
            except psutil.Error:
                continue
    return None
