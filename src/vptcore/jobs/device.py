"""The device a job computes on: chosen by name, described in one line, refused in one line where it is not there.

In: `auto`, `cpu`, `cuda` or `cuda:N`. Out: a `torch.device`, and its name for file metadata.

    python -m pytest tests/vptcore/jobs/test_device.py
"""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Callable
from pathlib import Path

import torch


def open_device(name: str, say: Callable[[str], None] | None = None) -> torch.device:
    """`auto` is the GPU where there is one. A device that is not there ends in one line.

    Says in one line what the job found: Python, torch, CUDA, driver, the GPU that was asked for and the one it got.
    """
    handed = os.environ.get("CUDA_VISIBLE_DEVICES")
    there = torch.cuda.is_available() if name != "cpu" else False
    if not there and (name.startswith("cuda") or (name == "auto" and handed)):
        what = f"GPU {handed} was handed to this job" if handed else f"{name} was asked for"
        seen = f"torch {torch.__version__} sees no GPU ({_why_none()})"
        raise ValueError(f"device: {what}, but {seen}; choose cpu{'' if handed else ' or auto'}")
    device = torch.device("cuda" if name == "auto" and there else "cpu" if name == "auto" else name)
    if say is not None:
        say(f"ready: {_found(device, handed)}")
    if device.type == "cuda":
        torch.backends.cuda.matmul.allow_tf32 = True
        torch.backends.cudnn.allow_tf32 = True
    return device


def _why_none() -> str:
    if torch.version.cuda is None:
        return "this torch is built without CUDA"
    driver = _driver()
    if driver is None:
        return "no NVIDIA driver is loaded here"
    try:
        torch.cuda.init()
    except RuntimeError as error:
        return str(error).split(". ")[0].splitlines()[0]
    return f"driver {driver} shows none"


def _driver() -> str | None:
    """The version of the NVIDIA kernel driver."""
    try:
        text = Path("/proc/driver/nvidia/version").read_text()
    except OSError:
        return None
    found = re.search(r"\b\d{3,}\.\d+(\.\d+)?\b", text)
    return found[0] if found else "unknown"


def _found(device: torch.device, handed: str | None) -> str:
    parts = [f"python {platform.python_version()}", f"torch {torch.__version__}", f"on {platform.node()}"]
    if job := os.environ.get("SLURM_JOB_ID"):
        parts.append(f"Slurm job {job}")
    if device.type == "cuda":
        free, total = torch.cuda.mem_get_info(device)
        room = f"{free / 2**30:.0f} of {total / 2**30:.0f} GiB free"
        parts += [f"CUDA {torch.version.cuda}", f"driver {_driver()}", f"{torch.cuda.get_device_name(device)}, {room}"]
    else:
        parts.append(f"CPU, {torch.get_num_threads()} threads")
    return ", ".join([*parts, f"GPU {handed} handed out" if handed else "no GPU handed out"])


def device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else f"cpu {platform.machine()}"
