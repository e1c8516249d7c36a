"""Run a stage's function for a workflow script, in a warm interpreter where one pays.

Importing torch, timm and what they pull in takes seconds of every short job. On one machine the first job of a
Snakemake run therefore starts a server (`vptstudy.run.server`), and every job is a fork of it. The server ends with the
Snakemake process it was started for (the Snakefile puts its id into VPTCORE_WARM), and a job ends with its script. With
`VPTCORE_WARM=0`, inside a Slurm job, or where there is no fork, the function runs in the script's own process: same
rows (`vptstudy.run.perform`).

In: the dotted name of a function, its keyword arguments as plain values, a log file. Out: the function's one-line
summary as the log's last line; a mistake of the user's as one line on stderr and exit code 1.

    python -m pytest tests/vptstudy/run/test_warm.py
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping
from pathlib import Path

from vptcore.jobs import locks
from vptstudy.run import gpus as devices
from vptstudy.run.perform import perform

START_SECONDS = 120
LONGEST_SOCKET = 100  # bytes of a path; systems allow 103 to 107


def offer() -> None:
    """Let the scripts of this process and its children use a server that ends with it; VPTCORE_WARM=0 says no."""
    if os.environ.get("VPTCORE_WARM") != "0":
        os.environ["VPTCORE_WARM"] = str(os.getpid())


def call(
    target: str,
    *,
    log: str,
    threads: int = 1,
    gpus: int = 0,
    torch: bool = True,
    again: bool = False,
    reads: Iterable | None = None,
    makes: Iterable | None = None,
    **arguments,
) -> None:
    """Run `module:function` with `arguments` and exit with its status. The entry point of every workflow script.

    `reads` and `makes` are the job's files, for its record in the manifest: `inputs` and `outputs` by default. `gpus`
    is 1 for a job that takes a GPU of its own, where there are any; `torch` is False for one that imports none of it;
    `again` is True for one that is done whenever it is asked for, even where its files are there and right.
    """
    request = {
        "target": target,
        "torch": torch,
        "again": again,
        "reads": _plain(list(reads)) if reads is not None else _results(arguments.get("inputs", {})),
        "makes": _plain(list(makes)) if makes is not None else _results(arguments.get("outputs", {})),
        "log": os.path.abspath(log),
        "threads": threads,
        "gpus": gpus,
        "cwd": os.getcwd(),
        "arguments": _plain(arguments),
    }
    answer = None
    owner = os.environ.get("VPTCORE_WARM", "0")
    if owner.isdigit() and int(owner) and hasattr(os, "fork") and not os.environ.get("SLURM_JOB_ID"):
        answer = _ask_server(request, int(owner))
    if answer is None:
        answer = perform(request)
    if answer.get("error"):
        # The logger named study shows the log's last line itself.
        if os.environ.get("VPTCORE_LOGGER") != "study" or answer.get("unlogged"):
            print(answer["error"], file=sys.stderr)
        raise SystemExit(1)


def _results(files: Mapping) -> list[str]:
    """The paths of a job's inputs or outputs that are results. Its work folder is none, nor is a shard of a cell."""
    given = [paths for name, paths in files.items() if name != "work"]
    paths = [str(path) for value in given for path in ([value] if isinstance(value, str | Path) else value)]
    return [path for path in paths if "/shards/" not in path]


def _plain(value):
    """Snakemake's named lists and paths as JSON values."""
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    return value if isinstance(value, int | float | bool | None) else str(value)


def socket_path(owner: int) -> Path:
    path = devices.run_folder_name() / f"{owner}.sock"
    if len(os.fsencode(path)) > LONGEST_SOCKET:
        raise OSError(f"{path} is too long for a socket")
    devices.run_folder()
    return path


def _ask_server(request: Mapping, owner: int) -> dict | None:
    """The server's answer, or None where there is no server to be had and the caller should do the work itself."""
    try:
        connection = _connect(socket_path(owner), owner)
    except OSError:
        return None
    if connection is None:
        return None
    with connection:
        received = b""
        try:
            connection.sendall(json.dumps(request).encode() + b"\n")
            while chunk := connection.recv(65536):
                received += chunk
        except ConnectionError:
            received = b""
    if not received:
        return {"error": f"error: the job's process was killed (log: {request['log']})"}
    return json.loads(received)


def _connect(path: Path, owner: int) -> socket.socket | None:
    """Connect; the first to come starts the server while the others wait for it at a lock."""
    with locks.held(path.with_suffix(".lock"), poll=0.05):
        connection = _try_connect(path)
        if connection is not None:
            return connection
        path.unlink(missing_ok=True)
        server = subprocess.Popen(
            [sys.executable, "-m", "vptstudy.run.server", str(path), str(owner)],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and server.poll() is None:
            connection = _try_connect(path)
            if connection is not None:
                return connection
            time.sleep(0.05)
    return None


def _try_connect(path: Path) -> socket.socket | None:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.connect(str(path))
    except OSError:
        connection.close()
        return None
    return connection
