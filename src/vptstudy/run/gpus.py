"""One GPU for every job that asks for one: a lock per device, for a machine with several GPUs and no scheduler.

Snakemake counts GPUs (`--resources gpu=4`) but hands out no numbers. So a job takes a lock, gone with its process, on
the first free device and sees that device alone, through CUDA_VISIBLE_DEVICES. The locks are in a folder of
yours, so two runs beside each other share the devices too. Under Slurm a job finds what Slurm gave it.

In: the devices, which are those of VPTCORE_GPUS, else of CUDA_VISIBLE_DEVICES, else all of the machine's. Out: a device
id in this process's environment. Must run before CUDA is initialised.

    VPTCORE_GPUS=2,3 vptcore run --profile gpu      # these two devices only
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from vptcore.jobs import locks, visible

POLL_SECONDS = 0.5


def offer(device: str) -> None:
    """Say, for the jobs of this run, that a study on the CPU needs no device; one named in VPTCORE_GPUS stays."""
    if device == "cpu":
        os.environ.setdefault("VPTCORE_GPUS", "")


def devices() -> list[str]:
    """The ids of the devices that may be handed out."""
    for name in ("VPTCORE_GPUS", "CUDA_VISIBLE_DEVICES"):
        if name in os.environ:
            return visible.ids(os.environ[name])
    count = sum(bool(re.fullmatch(r"nvidia\d+", path.name)) for path in Path("/dev").glob("nvidia*"))
    return [str(i) for i in range(count or _listed_by_driver())]


def cores(most: int = 4) -> int:
    """CPU cores for a job that compiles for a device: up to four, as far as every device can have them."""
    count = len(devices())
    return max(1, min(most, (os.cpu_count() or 1) // count)) if count else 1


def _listed_by_driver() -> int:
    """For systems without /dev/nvidia0, such as WSL."""
    if not shutil.which("nvidia-smi"):
        return 0
    try:
        listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, timeout=30, check=False)
    except subprocess.TimeoutExpired:
        return 0
    return sum(line.startswith("GPU ") for line in listed.stdout.splitlines())


@contextmanager
def handed_out(wanted: int, say: Callable[[str], None], poll: float = POLL_SECONDS) -> Iterator[str | None]:
    """Hold one device for as long as the job runs, if it wants one. Yields its id, None where there is none to hold."""
    choices = devices() if wanted else []
    if not choices or (os.environ.get("SLURM_JOB_ID") and len(choices) <= wanted):
        yield None
        return
    device, lock = _first_free(choices, say, poll)
    before = os.environ.get("CUDA_VISIBLE_DEVICES")
    os.environ["CUDA_VISIBLE_DEVICES"] = device
    try:
        yield device
    finally:
        _restore(before)
        lock.release()


def _restore(before: str | None) -> None:
    os.environ.pop("CUDA_VISIBLE_DEVICES")
    if before is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = before


def _first_free(choices: list[str], say: Callable[[str], None], poll: float) -> tuple[str, locks.Lock]:
    """The first device whose lock is free, and the lock; waits for one, and says so once."""
    folder, is_said = lock_folder(), False
    while True:
        for device in choices:
            lock = locks.attempt(folder / re.sub(r"[^\w-]", "_", device))
            if lock is not None:
                return device, lock
        if not is_said:
            say(f"waiting for a GPU: other jobs have {', '.join(choices)}")
            is_said = True
        time.sleep(poll)


def lock_folder() -> Path:
    """This user's locks on this machine; within a Slurm allocation, whose ids count from 0, the allocation's own."""
    job = os.environ.get("SLURM_JOB_ID")
    folder = run_folder() / ("gpus" if not job else f"gpus-{job}")
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder


def run_folder_name() -> Path:
    return Path(tempfile.gettempdir()) / f"vptcore-{os.getuid()}"


def run_folder() -> Path:
    """A folder for sockets and locks that is this user's alone. Raises OSError where someone else made it."""
    folder = run_folder_name()
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.stat().st_uid != os.getuid() or folder.stat().st_mode & 0o077:
        raise OSError(f"{folder} belongs to someone else or is open to others")
    return folder
