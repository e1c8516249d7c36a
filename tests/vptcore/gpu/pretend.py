"""A GPU that is not there: torch's own CUDA host code on a runtime that only counts (`runtime.c`).

In: a C compiler, `nm`, the CUDA headers that torch's wheels bring, and Python code. Out: what that code prints as JSON
on its last line, run in a process of its own with the pretended card preloaded. It can say what is launched, copied,
waited for and held; it cannot say a number, a time or a race.

    python -m pytest -m slow tests/vptcore/gpu
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

HERE = Path(__file__).parent
LIBRARIES = ("libtorch_cuda.so", "libtorch_cuda_linalg.so", "libtorch_python.so", "libc10_cuda.so")
# torch's own, for the kernels inside it.
REGISTRATION = re.compile(r"__cuda(Un)?[rR]egister")


def missing() -> str | None:
    """What is not here of what it takes; None where all is."""
    tools = [name for name in ("gcc", "nm") if shutil.which(name) is None]
    if tools:
        return f"no {' and no '.join(tools)}"
    if not all((_torch() / "lib" / name).exists() for name in LIBRARIES):
        return "this torch is built without CUDA"
    return None if len(_headers()) == 2 else "no CUDA headers beside torch"


def build(folder: Path) -> Path:
    """The library to preload, made in `folder` from `runtime.c`, and libcuda.so.1 beside it, from `driver.c`: each with
    a stub for every other function that torch and Triton want."""
    library = folder / "libpretended.so"
    _compile("runtime.c", (n for n in _wanted() if not REGISTRATION.match(n)), library)
    _compile("driver.c", _named_in_driver_api(), folder / "libcuda.so.1", "-Wl,-soname,libcuda.so.1")
    return library


def _compile(source: str, wanted: Iterable[str], library: Path, *options: str) -> None:
    own = set(re.findall(r"^EXPORT [\w *]+?\**(\w+)\(", (HERE / source).read_text(), re.M))
    rest = library.with_suffix(".rest.c")
    rest.write_text("".join(f"int {name}(void) {{ return 0; }}\n" for name in sorted(set(wanted) - own)))
    files = [*(f"-I{header}" for header in _headers()), str(HERE / source), str(rest), "-o", str(library)]
    subprocess.run(["gcc", "-shared", "-fPIC", "-O1", "-w", *options, *files], check=True)


def run(library: Path, code: str, **environment: str) -> dict:
    """Run `code` on the pretended card; it has `counts()`, and says its results by `answer(...)`."""
    preamble = (HERE / "preamble.py").read_text()
    result = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", preamble + "\n" + code],
        capture_output=True, text=True, timeout=600, check=False,
        env=os.environ | {"LD_PRELOAD": str(library), "PRETENDED_LIBRARY": str(library)}
        | {"LD_LIBRARY_PATH": str(library.parent)} | environment,
    )  # fmt: skip
    if result.returncode:
        raise AssertionError(f"exit {result.returncode}\n{result.stdout[-2000:]}\n{result.stderr[-4000:]}")
    return json.loads(result.stdout.splitlines()[-1])


def _wanted() -> set[str]:
    """The CUDA and cuBLAS functions that torch's libraries leave to others."""
    names = set()
    for library in LIBRARIES:
        listed = subprocess.run(
            ["nm", "-D", "--undefined-only", str(_torch() / "lib" / library)],
            capture_output=True, text=True, check=True,
        ).stdout  # fmt: skip
        names |= {line.split()[-1].split("@")[0] for line in listed.splitlines()}
    return {name for name in names if re.match(r"(__)?cuda[A-Z]|cublas", name)}


def _named_in_driver_api() -> set[str]:
    """The driver's functions that torch looks up by name when it starts CUDA, and those that Triton calls."""
    texts = [(_torch() / "lib" / name).read_bytes() for name in ("libc10_cuda.so", "libcaffe2_nvrtc.so")]
    names = {name.decode() for text in texts for name in re.findall(rb"\0(cu[A-Z]\w{3,})(?=\0)", text)}
    triton = _torch().parent / "triton/backends/nvidia/driver.c"
    return names | set(re.findall(r"\b(cu[A-Z]\w{3,})(?=\()", triton.read_text()) if triton.exists() else ())


def _torch() -> Path:
    return Path(importlib.util.find_spec("torch").origin).parent


def _headers() -> list[Path]:
    """The runtime's types, and what they include."""
    folders = _torch().parent
    found = [
        *(folders / "nvidia").glob("*/include/driver_types.h"),
        *folders.glob("triton/backends/nvidia/include/crt"),
    ]
    return [path.parent for path in found[:2]]
