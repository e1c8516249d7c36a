"""The warm interpreter: one process without threads that imports once what jobs share, and forks for every request.

In: a socket's path and the process it is started for. It imports torch when the first job asks for it; every job is a
fork with its own memory and its own threads. It ends with its owner, and a job ends with the script that asked for it:
it is told to, and killed where it does not.

    python -m pytest tests/vptstudy/run/test_warm.py
"""

from __future__ import annotations

import contextlib
import importlib
import json
import math
import os
import selectors
import signal
import socket
import sys
import time
from collections.abc import Iterable, Mapping
from pathlib import Path

from vptstudy.run import caches
from vptstudy.run import gpus as devices
from vptstudy.run.perform import perform

PRELOAD = ("pandas", "pyarrow.parquet")
PRELOAD_TORCH = ("torch", "timm", "torch.optim", "torch._dynamo", "safetensors.torch")
PRELOAD_GPU = ("torch._inductor.compile_fx",)
REQUEST_SECONDS = 10  # from a script's connection to its request
END_SECONDS = 25  # from being told to end to being killed; Slurm gives 30


def serve(path: Path, owner: int) -> None:
    """Answer requests until `owner` is gone."""
    caches.keep_compiled()
    _import(PRELOAD)
    beside = path.with_suffix(".new")
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    beside.unlink(missing_ok=True)
    listener.bind(str(beside))
    listener.listen(64)
    os.replace(beside, path)
    selector = selectors.DefaultSelector()
    selector.register(listener, selectors.EVENT_READ)
    jobs: dict[int, socket.socket] = {}
    ends: dict[int, float] = {}  # when a job that was told to end will be killed
    try:
        while _alive(owner):
            for key, _ in selector.select(timeout=0.1):
                if key.fileobj is listener:
                    connection, _ = listener.accept()
                    request = _request(connection)
                    if not request:
                        connection.close()
                        continue
                    _import(PRELOAD_TORCH if request["torch"] else ())
                    if request["torch"] and request["gpus"] and devices.devices():
                        _import_for_gpus()
                    pid = _fork_job(request, connection, [listener, *jobs.values()])
                    jobs[pid] = connection
                    selector.register(connection, selectors.EVENT_READ, pid)
                elif _is_closed(key.fileobj):
                    ends[key.data] = _end(key.data)  # the script closed its end, or died: its job goes with it
                    selector.unregister(key.fileobj)
            _reap(jobs, selector)
            _kill_late(jobs, ends)
    finally:
        ends |= {pid: _end(pid) for pid in jobs if pid not in ends}
        while jobs:
            _reap(jobs, selector)
            _kill_late(jobs, ends)
            time.sleep(0.05)
        path.unlink(missing_ok=True)
        path.with_suffix(".lock").unlink(missing_ok=True)


def _is_closed(connection: socket.socket) -> bool:
    """Whether the other end is gone."""
    try:
        return not connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
    except BlockingIOError:
        return False
    except OSError:
        return True


def _import(names: Iterable[str]) -> None:
    for name in names:
        importlib.import_module(name)


def _import_for_gpus() -> None:
    """Inside, that there is a GPU is said without asking the driver: a fork of a process that asked can open none.

    Inductor asks while it is imported (torch 2.11).
    """
    cuda = importlib.import_module("torch").cuda
    asked, cuda.is_available = cuda.is_available, lambda: True
    try:
        _import(PRELOAD_GPU)
    finally:
        cuda.is_available = asked


def _request(connection: socket.socket) -> dict | None:
    """What a script asks for; None if it died before it had said so."""
    connection.settimeout(REQUEST_SECONDS)
    try:
        with connection.makefile("rb") as stream:
            line = stream.readline()
        connection.settimeout(None)
        return json.loads(line) if line.endswith(b"\n") else None
    except OSError:
        return None


def _fork_job(request: Mapping, connection: socket.socket, inherited: list[socket.socket]) -> int:
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        for other in inherited:
            other.close()
        # With no answer the script does the work itself.
        answer = None if request["gpus"] and _opens_none() else perform(request)
        connection.sendall(json.dumps(answer).encode())
        status = 0
    finally:
        connection.close()
        os._exit(status)


def _opens_none() -> bool:
    """Whether this fork cannot open a GPU, because what was imported before it has asked the driver after all."""
    return "torch" in sys.modules and sys.modules["torch"].cuda._is_in_bad_fork()


def _reap(jobs: dict[int, socket.socket], selector: selectors.BaseSelector) -> None:
    for pid in list(jobs):
        if os.waitpid(pid, os.WNOHANG)[0]:
            connection = jobs.pop(pid)
            if connection.fileno() in {key.fd for key in selector.get_map().values()}:
                selector.unregister(connection)
            connection.close()


def _end(pid: int) -> float:
    """Tell a job to save and end. Returns when its time is up."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGTERM)
    return time.monotonic() + END_SECONDS


def _kill_late(jobs: Mapping[int, socket.socket], ends: Mapping[int, float]) -> None:
    for pid in jobs:
        if time.monotonic() > ends.get(pid, math.inf):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return not _is_zombie(pid)


def _is_zombie(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rsplit(")", 1)[1].split()[0] == "Z"
    except OSError:
        return False


if __name__ == "__main__":
    serve(Path(sys.argv[1]), int(sys.argv[2]))
