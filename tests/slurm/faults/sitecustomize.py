"""Put on PYTHONPATH by the tests: makes chosen jobs slow, hungry or short-lived, without a line of it in the package.

VPTCORE_TEST_FAULTS names a JSON file {part of a work folder's name: what to do at every training step there}.
"""

import json
import os
import sys
import time
from pathlib import Path


def _misbehave(faults: dict, plain) -> None:
    frame = sys._getframe(1)
    while frame is not None and "checkpoint" not in frame.f_locals:
        frame = frame.f_back
    place = str(frame.f_locals["checkpoint"]) if frame is not None else ""
    for part, fault in faults.items():
        if part in place:
            time.sleep(fault.get("sleep", 0))
            if "megabytes" in fault:
                _eat(fault["megabytes"])
            if "fails_once" in fault and not Path(fault["fails_once"]).exists():
                Path(fault["fails_once"]).touch()
                os._exit(3)
    plain()


def _eat(megabytes: int, kept=[]) -> None:  # noqa: B006 the list is the point
    if not kept:
        kept.append(b"\1" * (megabytes << 20))
        time.sleep(4)  # long enough for Slurm to see it


if (_file := os.environ.get("VPTCORE_TEST_FAULTS")) and os.environ.get("SLURM_JOB_ID"):
    from functools import partial

    from vptcore.jobs import stopping

    stopping.check = partial(_misbehave, json.loads(Path(_file).read_text()), stopping.check)
