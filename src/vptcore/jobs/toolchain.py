"""What compiling kernels needs beside torch, asked without torch.

In: the environment and this Python. Out: one phrase, of what was found or of what is missing.

    python -m gpu_check --part facts
"""

from __future__ import annotations

import os
import shutil
import sysconfig
from pathlib import Path

CANNOT = "kernels cannot be compiled"


def compiler() -> str:
    """What torch.compile needs beside torch, or what of it is missing here."""
    found = os.environ.get("CC") or next((name for name in ("gcc", "cc", "clang") if shutil.which(name)), None)
    header = Path(sysconfig.get_paths()["include"], "Python.h").exists()
    if found and shutil.which(found) and header:
        return f"{Path(found).name} and Python.h"
    missing = [] if found and shutil.which(found) else ["no C compiler"]
    return " and ".join(missing + ([] if header else ["no Python.h"])) + f": {CANNOT}"
