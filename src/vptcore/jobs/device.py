"""The device a job computes on: chosen by name, described in one line, refused in one line where it is not there.

In: `auto`, `cpu`, `cuda` or `cuda:N`. Out: a `torch.device`, and its name for file metadata.

    python -m pytest tests/vptcore/jobs/test_device.py
"""

from __future__ import annotations

import os
import platform
import re
import resource
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from vptcore.jobs import visible
from vptcore.jobs.toolchain import compiler

ANOTHERS = 2 * 2**30  # bytes on the card that this process's own context does not explain


def open_device(name: str, say: Callable[[str], None] | None = None) -> torch.device:
    """`auto` is the GPU where there is one. A device that is not there ends in one line.

    Says in one line what the job found: Python, torch, CUDA, driver, the GPU that was asked for and the one it got.
    """
    handed = ",".join(visible.ids(os.environ.get("CUDA_VISIBLE_DEVICES", "")))
    there = torch.cuda.is_available() if name != "cpu" else False
    if not there and (name.startswith("cuda") or (name == "auto" and handed)):
        what = f"GPU {handed} was handed to this job" if handed else f"{name} was asked for"
        seen = f"torch {torch.__version__} sees no GPU ({_why_none()})"
        raise ValueError(f"device: {what}, but {seen}; choose cpu{'' if handed else ' or auto'}")
    device = torch.device("cuda" if name == "auto" and there else "cpu" if name == "auto" else name)
    if say is not None:
        say(f"ready: {_found(device, handed)}")
    if device.type == "cuda":
        _check_arch(device)
        torch.backends.cuda.matmul.allow_tf32 = True
        torch.backends.cudnn.allow_tf32 = True
    return device


def no_room(device: torch.device, what: str, smaller: str) -> str:
    """The line for a device whose memory is full: what for, who else holds some, and what to choose instead."""
    if device.type != "cuda":
        return f"no room on {device} {what}: choose {smaller}, or a machine with more memory"
    free, total = torch.cuda.mem_get_info(device)
    others = held_by_others(device)
    held = f"; other processes hold {others / 2**30:.1f} GiB" if others else ""
    room = f"{free / 2**30:.1f} of {total / 2**30:.1f} GiB free{held}"
    return f"no room on {device} {what} ({room}): choose {smaller}, or a device with more memory"


def held_by_others(device: torch.device) -> int:
    """Bytes on the card that other processes hold; 0 where this one's context may explain them."""
    free, total = torch.cuda.mem_get_info(device)
    others = total - free - torch.cuda.memory_reserved(device)
    return others if others > ANOTHERS else 0


@contextmanager
def room_on(device: torch.device) -> Iterator[None]:
    """Inside, a full device is one line wherever it fills up."""
    try:
        yield
    except torch.OutOfMemoryError:
        smaller = "a smaller batch, fewer prompts or fewer images"
        raise ValueError(no_room(device, "for this job's images and models", smaller)) from None


def _check_arch(device: torch.device) -> None:
    """A GPU that this torch has no kernels for would fail at its first one."""
    major, minor = torch.cuda.get_device_capability(device)
    built = [re.fullmatch(r"(sm|compute)_(\d+)(\d)[af]?", name) for name in torch.cuda.get_arch_list()]
    known = [(kind, int(m), int(n)) for kind, m, n in (match.groups() for match in built if match)]
    if not any((m == major if kind == "sm" else m <= major) and (m, n) <= (major, minor) for kind, m, n in known):
        names = ", ".join(torch.cuda.get_arch_list())
        raise ValueError(
            f"device: {torch.cuda.get_device_name(device)} has compute capability {major}.{minor}, but torch "
            f"{torch.__version__} is built for {names}; choose cpu, another GPU, or a torch that is built for it"
        )


def _why_none() -> str:
    if torch.version.cuda is None:
        return "this torch is built without CUDA"
    driver = driver_version()
    if driver is None:
        return "no NVIDIA driver is loaded here"
    try:
        torch.cuda.init()
    except RuntimeError as error:
        return str(error).split(". ")[0].splitlines()[0]
    return f"driver {driver} shows none"


def driver_version() -> str | None:
    """The version of the NVIDIA kernel driver."""
    try:
        text = Path("/proc/driver/nvidia/version").read_text(encoding="utf-8")
    except OSError:
        return None
    found = re.search(r"\b\d{3,}\.\d+(\.\d+)?\b", text)
    return found[0] if found else "unknown"


def _found(device: torch.device, handed: str) -> str:
    parts = [f"python {platform.python_version()}", f"torch {torch.__version__}", f"on {platform.node()}"]
    if job := os.environ.get("SLURM_JOB_ID"):
        parts.append(f"Slurm job {job}")
    if device.type == "cuda":
        free, total = torch.cuda.mem_get_info(device)
        room = f"{free / 2**30:.0f} of {total / 2**30:.0f} GiB free"
        parts += [
            f"CUDA {torch.version.cuda}",
            f"driver {driver_version() or 'unknown'}",
            compiler(),
            f"{torch.cuda.get_device_name(device)}, {room}",
        ]
    else:
        parts.append(f"CPU, {torch.get_num_threads()} threads")
    return ", ".join([*parts, f"GPU {handed} handed out" if handed else "no GPU handed out"])


def device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else f"cpu {platform.machine()}"


def peak_resident() -> int:
    """The most memory that this process has held, in bytes.

    Linux hands ru_maxrss on to a started program, so a small one would tell its parent's; VmHWM begins with its own.
    """
    status = Path("/proc/self/status")
    found = re.search(r"VmHWM:\s*(\d+) kB", status.read_text(encoding="ascii")) if status.exists() else None
    if found:
        return int(found[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
