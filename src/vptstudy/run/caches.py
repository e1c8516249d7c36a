"""Where caches are kept: what jobs compile for a GPU, and whatever else wants a home that cannot be written.

In: the config's `compile_cache`, which a profile may set, and the environment. Out: TORCHINDUCTOR_CACHE_DIR and
TRITON_CACHE_DIR of a job's process; XDG_CACHE_HOME and MPLCONFIGDIR of this one and what it starts. Nothing is created
here.

    HOME=/nowhere vptcore run -n
"""

from __future__ import annotations

import os
import platform
from pathlib import Path

from vptcore.jobs.toolchain import CANNOT, compiler

BESIDE = Path(".snakemake/cache")  # in the folder of the run, which must be writable anyway
COMPILED = {"TORCHINDUCTOR_CACHE_DIR": "inductor", "TRITON_CACHE_DIR": "triton"}
COMPILE_CORES = 4  # as `profiles/` ask for


def offer(compile_cache: str) -> None:
    """Say, for the jobs of this run, where what they compile is kept; it is read on the machine where a job runs."""
    os.environ["VPTCORE_COMPILED"] = compile_cache


def keep_compiled(*, strictly: bool = False) -> None:
    """Keep what this job compiles in the run's folder for it, unless the environment names another.

    `strictly`, for a job with a GPU: raises ValueError (one line) where that folder cannot be known or written to.
    """
    # Read when torch's compiler is imported; by default it starts 32 processes, whatever the job was granted. Where it
    # has no work for them, because nothing can be compiled, torch 2.11 waits five minutes for their end.
    cores = 1 if CANNOT in compiler() else COMPILE_CORES
    os.environ.setdefault("TORCHINDUCTOR_COMPILE_THREADS", str(cores))
    left = {name: below for name, below in COMPILED.items() if not os.environ.get(name)}
    named = os.environ.get("VPTCORE_COMPILED", ".compiled")
    folder = os.path.abspath(os.path.expanduser(os.path.expandvars(named)))
    wrong = _wrong(folder) if left else ""
    if wrong and strictly:
        raise ValueError(
            f"compile_cache: {named} {wrong} on {platform.node()}; name a folder that jobs can write there"
        )
    if not wrong:
        os.environ.update({name: os.path.join(folder, below) for name, below in left.items()})


def _wrong(folder: str) -> str:
    if "$" in folder:
        return "names a variable that is not set"
    return "" if _is_writable(Path(folder)) else "cannot be written"


def settle() -> None:
    """Point the caches beside the run where the usual place takes none."""
    usual = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    if not _is_writable(Path(usual)):
        beside = BESIDE.absolute()
        os.environ["XDG_CACHE_HOME"] = str(beside)
        os.environ.setdefault("MPLCONFIGDIR", str(beside / "matplotlib"))


def _is_writable(path: Path) -> bool:
    """Whether a folder is there, or could be made, and takes files."""
    if not path.is_absolute():  # nobody's home is known
        return False
    there = next(folder for folder in (path, *path.parents) if folder.exists())
    return there.is_dir() and os.access(there, os.W_OK | os.X_OK)
