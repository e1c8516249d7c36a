"""What machine this is, for whoever reads the other parts' numbers.

In: the device. Out: a line per fact; on a GPU also what its products and its memory reach.

    python -m gpu_check --part facts
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from collections.abc import Callable, Iterator
from importlib import metadata

import torch

from gpu_check.result import FACT, Line, pinned
from vptcore.jobs.device import driver_version
from vptcore.jobs.toolchain import compiler

SIDE, COPIED = 8192, 2 * 2**30


def run(device: str, ends: float) -> Iterator[Line]:
    """A fact needs no time; `ends` is every part's."""
    for name, found in _facts(device).items():
        yield Line("facts", name, FACT, found)


def _facts(device: str) -> dict[str, str]:
    facts = {
        "python": platform.python_version(),
        "torch": f"{torch.__version__} ({pinned(torch.__version__)})",
        "CUDA": torch.version.cuda or "none: this torch is built without it",
        "driver": driver_version() or "none",
        "built for": ", ".join(torch.cuda.get_arch_list()) or "no GPU",
        "cuDNN": str(torch.backends.cudnn.version() or "none"),
        "triton": _version("triton"),
        "compiler": compiler(),
        "cores": str(os.cpu_count()),
    }
    if device != "cuda":
        return facts | {"card": "no GPU is seen here"}
    free, total = torch.cuda.mem_get_info()
    major, minor = torch.cuda.get_device_capability()
    return facts | {
        "card": f"{torch.cuda.get_device_name()}, compute capability {major}.{minor}",
        "memory": f"{free / 2**30:.1f} of {total / 2**30:.1f} GiB free",
        "other processes": _others(),
        "products": f"{_products():.0f} TFLOP/s in bf16, {SIDE} x {SIDE} x {SIDE}",
        "copies": f"{_copies():.2f} TB/s read and written",
    }


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "none"


def _others() -> str:
    """Who else has a context on the card, as nvidia-smi lists them."""
    if shutil.which("nvidia-smi") is None:
        return "not known: no nvidia-smi"
    words = ["nvidia-smi", "--query-compute-apps=pid,used_memory", "--format=csv,noheader"]
    listed = subprocess.run(words, capture_output=True, text=True, timeout=30, check=False).stdout.splitlines()
    others = [line for line in listed if line.split(",")[0].strip() != str(os.getpid())]
    return "; ".join(others) or "none"


def _products() -> float:
    a, b = (torch.randn(SIDE, SIDE, device="cuda", dtype=torch.bfloat16) for _ in range(2))
    return 2 * SIDE**3 / seconds_of(lambda: a @ b) / 1e12


def _copies() -> float:
    size = min(COPIED, torch.cuda.mem_get_info()[0] // 4)
    source = torch.zeros(size, dtype=torch.uint8, device="cuda")
    target = torch.empty_like(source)
    return 2 * size / seconds_of(lambda: target.copy_(source)) / 1e12


def seconds_of(act: Callable[[], object], times: int = 20) -> float:
    """Mean time on the device, by its own events, after a warm-up."""
    began, ended = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    for _ in range(3):
        act()
    began.record()
    for _ in range(times):
        act()
    ended.record()
    ended.synchronize()
    return began.elapsed_time(ended) / 1000 / times
