"""Where Snakemake, matplotlib, torch and Hugging Face keep caches if your home cannot be written.

In and out: XDG_CACHE_HOME and MPLCONFIGDIR of this process, which what it starts inherits. Nothing is created here.

    HOME=/nowhere vptcore run -n
"""

from __future__ import annotations

import os
from pathlib import Path

BESIDE = Path(".snakemake/cache")  # in the folder of the run, which must be writable anyway


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
