"""MATLAB files by scipy, whose parser may crash the process on broken bytes: a process of its own tries the file first.

In: a path and names. Out: the arrays of these names; nothing in the file is run.

    python -m vptcore.data.readers.matlab setid.mat && echo readable
"""

from __future__ import annotations

import subprocess
import sys
from functools import lru_cache
from pathlib import Path

import numpy as np


def arrays(path: Path, *names: str) -> list[np.ndarray]:
    """Raises ValueError (one line) for a file that scipy cannot read, or that has no array of such a name."""
    found = path.stat()
    _try(path, found.st_size, found.st_mtime_ns)
    loaded = _load(path)
    for name in names:
        if name not in loaded:
            raise ValueError(f"{path}: no array {name!r}; found {', '.join(loaded) or 'nothing'}")
    return [loaded[name] for name in names]


def whole_numbers(path: Path, *names: str) -> list[np.ndarray]:
    """The same as int64 of one axis each. Raises ValueError (one line) for an array of anything else."""
    found = dict(zip(names, arrays(path, *names), strict=True))
    for name, array in found.items():
        if array.dtype.kind not in "iuf" or (array != np.rint(array)).any():
            raise ValueError(f"{path}: {name!r} is {array.dtype} of shape {array.shape}; expected whole numbers")
    return [array.ravel().astype(np.int64) for array in found.values()]


@lru_cache(maxsize=64)
def _try(path: Path, size: int, mtime_ns: int) -> None:
    """Size and time only make a changed file a new one."""
    tried = subprocess.run(
        [sys.executable, "-m", "vptcore.data.readers.matlab", str(path)], capture_output=True, text=True
    )
    if tried.returncode:
        reason = tried.stdout.strip() if tried.returncode == 1 else "its data make no sense to the parser"
        raise ValueError(f"{path}: not a readable MATLAB file ({reason}); download it again")


def _load(path: Path) -> dict[str, np.ndarray]:
    from scipy.io import loadmat

    return {name: array for name, array in loadmat(path).items() if not name.startswith("__")}


def main() -> int:
    try:
        _load(Path(sys.argv[1]))
    except Exception as error:  # scipy raises whatever the broken bytes lead it to
        print((str(error).splitlines() or [type(error).__name__])[0])
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
