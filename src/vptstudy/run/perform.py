"""One job, in this process: its log, its GPU, its files written down, and each mistake as one line.

In: a request as `vptstudy.run.warm.call` makes it, of plain values. Out: {'error': line}, or {} where all went well. A
job that asks for a GPU gets one to itself (`vptstudy.run.gpus`), and one that is told to end saves where it is
(`vptcore.jobs.stopping`). As a job ends, its files are written down in the manifest.

    python -m pytest tests/vptstudy/run/test_warm.py
"""

from __future__ import annotations

import importlib
import inspect
import os
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path

from vptcore.jobs import stopping
from vptstudy.run import caches
from vptstudy.run import gpus as devices


def perform(request: Mapping) -> dict:
    """Run the request here. Returns {'error': line} or {}."""
    os.chdir(request["cwd"])
    try:
        log = _Log(Path(request["log"]))
    except OSError as error:
        return {"error": f"error: its log cannot be written: {_one_line(error)}", "unlogged": True}
    stopping.listen()
    with log.file:
        try:
            summary = _done(request, log.say)
        except (ValueError, OSError, MemoryError) as error:
            return log.end(f"error: {_one_line(error)}", traceback.format_exc())
        except stopping.Stopped as stopped:
            return log.end(f"error: {stopped}")
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt | SystemExit):
                log.say(traceback.format_exc())
                raise
            line = f"error: unexpected {type(error).__name__}: {_one_line(error)} (traceback in {request['log']})"
            return log.end(line, traceback.format_exc())
        log.say(f"done: {summary}")
    return {}


def _done(request: Mapping, say: Callable[[str], None]) -> str:
    """What the request's function says of its work, which is done and written down; nothing where it was before."""
    caches.keep_compiled(strictly=bool(request["gpus"]))
    with devices.handed_out(request["gpus"], say):
        module, name = request["target"].split(":")
        function = getattr(importlib.import_module(module), name)
        job = request["arguments"].get("job", {})
        _settle(job)
        # Here, not above: the scripts import this module, and those that ask a server need none of it.
        from vptcore.data.whereabouts import seen
        from vptcore.jobs import manifest

        record = manifest.Record(job, request["reads"], request["makes"])
        if not request.get("again") and record.is_made():
            return "nothing to do: made before from the same settings and inputs"
        follows = {"say": say} if "say" in inspect.signature(function).parameters else {}
        source = seen(job)  # before, so that an image replaced meanwhile is another
        summary = function(**request["arguments"], **follows)
        record.finish(source)
        return summary


class _Log:
    """A job's log. A line that cannot be written, as on a full disk, is lost, and is no mistake of the job's."""

    def __init__(self, path: Path):
        path.parent.mkdir(parents=True, exist_ok=True)
        self.file = path.open("wb", buffering=0)
        self.lost = False

    def say(self, line: str) -> None:
        try:
            self.file.write(f"{time.strftime('%H:%M:%S')} {line}\n".encode(errors="replace"))
        except OSError:
            self.lost = True

    def end(self, line: str, trace: str = "") -> dict:
        """The last lines of a job that failed, and its answer, which says where the log has them not."""
        if trace:
            self.say(trace)
        self.say(line)
        return {"error": line, **({"unlogged": True} if self.lost else {})}


def _settle(job: Mapping) -> None:
    """As many threads as the config says, whatever the profile grants: sums in another order differ in the last bit."""
    threads = job.get("threads", 1) if isinstance(job, Mapping) else 1
    if "torch" in sys.modules:
        from vptcore.jobs.determinism import settle

        settle(threads, deterministic=bool(job.get("deterministic")))
    if "numpy" in sys.modules:
        from threadpoolctl import threadpool_limits

        threadpool_limits(threads)


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
