"""Run a stage's function for a workflow script, in a warm interpreter where one pays.

Importing torch, timm and what they pull in takes seconds of every short job. On one machine the first job of a
Snakemake run therefore starts a server that imports once what jobs share, and torch when the first job asks for it;
every job is a fork of it, with its own memory and its own threads. The server ends with the Snakemake process it was
started for (the Snakefile puts its id into VPTCORE_WARM), and a job ends with its script: it is told to, and saves
where it is (`vptcore.jobs.stopping`). A job that asks for a GPU gets one to itself (`vptstudy.run.gpus`). With
`VPTCORE_WARM=0`, inside a Slurm job, or where there is no fork, the function runs in the script's own process: same
rows. As a job ends, its files are written down in the manifest.

In: the dotted name of a function, its keyword arguments as plain values, a log file. Out: the function's one-line
summary as the log's last line; a mistake of the user's as one line on stderr and exit code 1.

    python -m pytest tests/vptstudy/run/test_warm.py
"""

from __future__ import annotations

import contextlib
import importlib
import inspect
import json
import math
import os
import selectors
import signal
import socket
import subprocess
import sys
import time
import traceback
from collections.abc import Iterable, Mapping
from pathlib import Path

from vptcore.jobs import locks, stopping
from vptstudy.run import gpus as devices

PRELOAD = ("pandas", "pyarrow.parquet")
PRELOAD_TORCH = ("torch", "timm", "torch.optim", "torch._dynamo", "safetensors.torch")
PRELOAD_GPU = ("torch._inductor.compile_fx",)
REQUEST_SECONDS = 10  # from a script's connection to its request
START_SECONDS = 120
END_SECONDS = 25  # from being told to end to being killed; Slurm gives 30
COMPILE_CORES = 4  # as `profiles/` ask for
COMPILED = ".compiled"  # in the folder that a run was started in
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
        answer = _perform(request)
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


def _perform(request: Mapping) -> dict:
    """Run the request here. Returns {'error': line} or {}."""
    os.chdir(request["cwd"])
    _share_compiled()
    try:
        log = _Log(Path(request["log"]))
    except OSError as error:
        return {"error": f"error: its log cannot be written: {_one_line(error)}", "unlogged": True}
    stopping.listen()
    with log.file, contextlib.ExitStack() as held:
        say = log.say
        try:
            held.enter_context(devices.handed_out(request["gpus"], say))
            module, name = request["target"].split(":")
            function = getattr(importlib.import_module(module), name)
            _settle(request["arguments"].get("job", {}))
            # Here, not above: the scripts import this module, and those that ask a server need nothing but a socket.
            from vptcore.jobs import manifest

            follows = {"say": say} if "say" in inspect.signature(function).parameters else {}
            record = manifest.Record(request["arguments"].get("job", {}), request["reads"], request["makes"])
            if not request.get("again") and record.is_made():
                summary = "nothing to do: made before from the same settings and inputs"
            else:
                summary = function(**request["arguments"], **follows)
                record.finish()
        except (ValueError, OSError, MemoryError) as error:
            return log.end(f"error: {_one_line(error)}", traceback.format_exc())
        except stopping.Stopped as stopped:
            return log.end(f"error: {stopped}")
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt | SystemExit):
                say(traceback.format_exc())
                raise
            line = f"error: unexpected {type(error).__name__}: {_one_line(error)} (traceback in {request['log']})"
            return log.end(line, traceback.format_exc())
        say(f"done: {summary}")
    return {}


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


def _share_compiled() -> None:
    """Keep what jobs compile for a GPU beside the study, for the next job, unless the environment says where."""
    for name, folder in (("TORCHINDUCTOR_CACHE_DIR", "inductor"), ("TRITON_CACHE_DIR", "triton")):
        os.environ.setdefault(name, os.path.abspath(os.path.join(COMPILED, folder)))
    # Read when torch's compiler is imported; by default it starts 32 processes, whatever the job was granted.
    os.environ.setdefault("TORCHINDUCTOR_COMPILE_THREADS", str(COMPILE_CORES))


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


# The client: find the server of this Snakemake run, or start it.


def _socket_path(owner: int) -> Path:
    path = devices.run_folder_name() / f"{owner}.sock"
    if len(os.fsencode(path)) > LONGEST_SOCKET:
        raise OSError(f"{path} is too long for a socket")
    devices.run_folder()
    return path


def _ask_server(request: Mapping, owner: int) -> dict | None:
    """The server's answer, or None where there is no server to be had and the caller should do the work itself."""
    try:
        connection = _connect(_socket_path(owner), owner)
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
            [sys.executable, "-m", "vptstudy.run.warm", str(path), str(owner)],
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


# The server: one process, no threads, a fork for every request.


def serve(path: Path, owner: int) -> None:
    """Answer requests until `owner` is gone."""
    _share_compiled()
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
                    _import(PRELOAD_GPU if request["gpus"] and devices.devices() else ())
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
        connection.sendall(json.dumps(_perform(request)).encode())
        status = 0
    finally:
        connection.close()
        os._exit(status)


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
