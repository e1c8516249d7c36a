"""A full disk, a disk that cannot be written, an input that goes away, two runs in one folder.

In: an undisturbed study. Out: an outcome for each. A run must end with a line that says why and no traceback, leave
nothing half-written, and the next run must go on to the same study.

    python -m faults places
"""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow.parquet as pq
from safetensors import SafetensorError, safe_open

from faults.compare import differences, files_of
from faults.kills import _reaches
from faults.outcome import SKIPPED, Outcome, judged
from faults.small import Trial, finish

PART = "places"
# The small study's results take 35 MB: its arrays fit, its tuned models do not.
SMALL_DISK, LARGE_DISK = "12m", "400m"
SMALL_FILES = 3 * 2**20  # bytes; the larger array and a fully tuned model have more
REASONS = {
    "a full disk": ("No space left on device",),
    "files that may not grow": ("File too large",),
    "a disk that cannot be written": ("Read-only file system", "Permission denied"),
}


def run(folder: Path, undisturbed: Trial, seed: int, quick: bool, say) -> list[Outcome]:
    """Each fault once; in the quick form a full disk and two runs."""
    rng = random.Random(f"places {seed}")
    faults = [full_disk, two_runs]
    if not quick:
        faults += [input_removed, small_files, read_only, read_only_midway]
        faults += [snakemake_beside, run_beside, snakemake_twice]
    outcomes = []
    for number, fault in enumerate(faults):
        place = folder / f"place_{number}"
        place.mkdir()
        outcomes.append(fault(Trial(place).write(), undisturbed, rng))
        say(outcomes[-1].line)
    return outcomes


def full_disk(trial: Trial, undisturbed: Trial, rng: random.Random) -> Outcome:
    kind = "a full disk"
    with _disk(trial.folder / "results", SMALL_DISK) as resize:
        if resize is None:
            return Outcome(PART, kind, "results on a small disk", SKIPPED, "no right to mount one")
        status, printed = trial.run()
        problems = ended_badly(status, printed, REASONS[kind]) + half_written(trial.root)
        resize(f"size={LARGE_DISK}")
        return judged(PART, kind, f"results on a disk of {SMALL_DISK}", [*problems, *goes_on(trial, undisturbed)])


def small_files(trial: Trial, undisturbed: Trial, rng: random.Random) -> Outcome:
    """What a quota does: no file may grow beyond a size."""
    kind = "files that may not grow"
    if shutil.which("prlimit") is None:
        return Outcome(PART, kind, "a limit on the size of files", SKIPPED, "prlimit is not here")
    process = trial.start(under=("prlimit", f"--fsize={SMALL_FILES}"))
    status = finish(process)
    problems = ended_badly(status, trial.printed, REASONS[kind]) + half_written(trial.root)
    return judged(PART, kind, f"no file over {SMALL_FILES} bytes", [*problems, *goes_on(trial, undisturbed)])


def read_only(trial: Trial, undisturbed: Trial, rng: random.Random) -> Outcome:
    """The results can be read and not written, from the middle of a study on."""
    kind = "a disk that cannot be written"
    with _disk(trial.folder / "results", LARGE_DISK) as remount:
        if remount is None and os.geteuid() == 0:
            return Outcome(PART, kind, "results made read-only", SKIPPED, "root writes anywhere, and cannot mount")
        status, printed = trial.run("results/small/splits/task=digits/train=40/rows.parquet")
        problems = [] if status == 0 else [f"the first files were not made: {printed[-200:]!r}"]
        _set_writable(trial, remount, False)
        status, printed = trial.run()
        problems += ended_badly(status, printed, REASONS[kind]) + half_written(trial.root)
        _set_writable(trial, remount, True)
        return judged(PART, kind, "results made read-only after the splits", [*problems, *goes_on(trial, undisturbed)])


def read_only_midway(trial: Trial, undisturbed: Trial, rng: random.Random) -> Outcome:
    """The results become read-only under a run that is at work, as a disk does that the kernel no longer trusts."""
    kind, jobs = "a disk that cannot be written", rng.randint(3, 8)
    with _disk(trial.folder / "results", LARGE_DISK) as remount:
        if remount is None and os.geteuid() == 0:
            return Outcome(PART, kind, "results made read-only in a run", SKIPPED, "root writes anywhere, cannot mount")
        since = time.time()
        process = trial.start()
        _reaches(trial, process, jobs, since)
        while not _set_writable(trial, remount, False) and process.poll() is None:
            time.sleep(0.01)
        status, printed = finish(process), trial.printed
        problems = ended_badly(status, printed, REASONS[kind]) + half_written(trial.root)
        _set_writable(trial, remount, True)
        how = f"results made read-only in a run, after {jobs} jobs"
        return judged(PART, kind, how, [*problems, *goes_on(trial, undisturbed)])


def _set_writable(trial: Trial, remount: Callable[[str], bool] | None, writable: bool) -> bool:
    """By the mount for root, whom permissions do not stop; by permissions for anyone else. Whether it is so now.

    A disk on which a file is being written cannot be made read-only at that moment.
    """
    if remount is not None:
        return remount("rw" if writable else "ro")
    for path in [trial.root, *trial.root.rglob("*")]:
        if path.is_dir():
            path.chmod(0o755 if writable else 0o555)
    return True


def input_removed(trial: Trial, undisturbed: Trial, rng: random.Random) -> Outcome:
    """The arrays of a task go away while its searches run."""
    name = f"data/task={rng.choice(('digits', 'shapes_count'))}/images.npy"
    since = time.time()
    process = trial.start()
    while process.poll() is None and not (trial.root / name).is_file():
        time.sleep(0.05)
    _reaches(trial, process, rng.randint(3, 8), since)
    (trial.root / name).unlink(missing_ok=True)
    status, printed = finish(process), trial.printed
    problems = half_written(trial.root) + (["a traceback"] if "Traceback" in printed else [])
    if status and "failed: " not in printed and "Missing" not in printed:
        problems.append(f"no line says why: {printed[-200:]!r}")
    return judged(PART, "an input removed", f"{name} in the middle of a run", [*problems, *goes_on(trial, undisturbed)])


def two_runs(trial: Trial, undisturbed: Trial, rng: random.Random) -> Outcome:
    """`vptcore run` twice: the second waits for the first and finds everything made."""
    first = trial.start()
    time.sleep(rng.uniform(0.5, 4))
    second = trial.start()
    statuses = finish(first), finish(second)
    problems = [] if statuses == (0, 0) else [f"they ended with {statuses}: {trial.printed[-200:]!r}"]
    problems += half_written(trial.root) + differences(trial.root, undisturbed.root)
    return judged(PART, "two runs at once", "vptcore run, twice", problems)


def snakemake_beside(trial: Trial, undisturbed: Trial, rng: random.Random) -> Outcome:
    """Snakemake called by hand while `vptcore run` is at work: its lock says so, and the run is left alone."""
    since = time.time()
    first = trial.start()
    _reaches(trial, first, 2, since)
    status, printed = trial.run(raw=True)
    problems = ended_badly(status, printed, ("lock", "Lock"))
    problems += [] if finish(first) == 0 else ["the first run was disturbed"]
    return judged(PART, "Snakemake beside a run", "raw, after 2 jobs", [*problems, *goes_on(trial, undisturbed)])


def run_beside(trial: Trial, undisturbed: Trial, rng: random.Random) -> Outcome:
    """`vptcore run` while a Snakemake called by hand is at work: it names the process, and touches nothing."""
    since = time.time()
    first = trial.start(raw=True)
    _reaches(trial, first, 2, since)
    status, printed = trial.run()
    problems = ended_badly(status, printed, ("is at work in this folder",))
    problems += [] if finish(first) == 0 else ["Snakemake was disturbed"]
    return judged(PART, "a run beside Snakemake", "after 2 jobs", [*problems, *goes_on(trial, undisturbed)])


def snakemake_twice(trial: Trial, undisturbed: Trial, rng: random.Random) -> Outcome:
    """Snakemake called by hand twice: its lock ends the second in one line, and leaves the first alone."""
    since = time.time()
    first = trial.start(raw=True)
    _reaches(trial, first, 2, since)
    status, printed = trial.run(raw=True)
    problems = ended_badly(status, printed, ("lock", "Lock"))
    problems += [] if finish(first) == 0 else ["the first Snakemake was disturbed"]
    how = "raw, after 2 jobs of the first"
    return judged(PART, "Snakemake beside Snakemake", how, [*problems, *goes_on(trial, undisturbed)])


def ended_badly(status: int, printed: str, reasons: tuple[str, ...]) -> list[str]:
    """What is wrong with the end of a run that could not succeed: it must fail, say why, and show no traceback."""
    problems = [] if status not in (0, 124) else [f"the run ended with {status}"]
    if not any(reason in printed for reason in reasons):
        problems.append(f"it does not say {reasons[0]!r}: {printed[-300:]!r}")
    return problems + (["a traceback"] if "Traceback" in printed else [])


def half_written(root: Path) -> list[str]:
    """Files that are in a result's place and cannot be read to their end."""
    found = []
    for name in sorted(files_of(root)) if root.is_dir() else []:
        path = root / name
        try:
            if path.suffix == ".parquet":
                pq.ParquetFile(path).read()
            elif path.suffix == ".safetensors":
                with safe_open(path, "numpy") as file:
                    file.keys()
            elif path.suffix in (".csv", ".md", ".tex", ".html", ".png", ".pdf", ".txt") and not path.stat().st_size:
                found.append(f"{name} is empty")
        except (OSError, ValueError, SafetensorError) as error:
            found.append(f"{name} is half-written ({str(error)[:60]})")
    return found


def goes_on(trial: Trial, undisturbed: Trial) -> Iterator[str]:
    """With the fault gone: the next run ends well, with the undisturbed study."""
    status, printed = trial.run()
    if status:
        yield f"the next run ended with {status}: {printed[-200:]!r}"
    yield from differences(trial.root, undisturbed.root)


@contextmanager
def _disk(folder: Path, size: str) -> Iterator[Callable[[str], bool] | None]:
    """A disk of its own at `folder`: yields how to mount it otherwise, or None where mounting is not allowed."""
    folder.mkdir(exist_ok=True)
    try:
        mounted = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)], capture_output=True
        )
        allowed = mounted.returncode == 0
    except FileNotFoundError:
        allowed = False
    if not allowed:
        yield None
        return
    try:
        yield lambda option: _remounted(folder, option)
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], capture_output=True)


def _remounted(folder: Path, option: str) -> bool:
    return not subprocess.run(["mount", "-o", f"remount,{option}", str(folder)], capture_output=True).returncode
