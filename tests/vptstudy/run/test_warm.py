"""Jobs in a warm interpreter against jobs in the script's own process, and what becomes of both when something dies."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from vptstudy.run import server, warm

JOBS = """
import os, signal, time
from pathlib import Path

def silent(value):
    return repr(value)

def refuse():
    raise ValueError("the value is 3,\\nexpected 4")

def unreadable():
    return Path("no/such/file").read_text()

def full():
    raise OSError(28, "No space left on device")

def slip():
    return {}["key"]

def pids():
    time.sleep(0.3)
    return f"{os.getpid()} {os.getppid()}"

def die():
    os.kill(os.getpid(), signal.SIGKILL)

def endless(note):
    Path(note).write_text(str(os.getpid()))
    time.sleep(600)
"""
TORCH_JOBS = """
import os
import torch

def double(value, names, say):
    say(f"working on {names}")
    return f"{2 * value} with {torch.get_num_threads()} threads in {os.getcwd()}"

def settled(job):
    return f"{torch.get_num_threads()} threads, deterministic {torch.are_deterministic_algorithms_enabled()}"
"""
CLIENT = "import sys, json; from vptstudy.run.warm import call; call(**json.loads(sys.argv[1]))"


@dataclass
class Place:
    """A folder for the jobs' module, the logs and the socket, and a process that the server is started for."""

    folder: Path
    owner: subprocess.Popen

    @property
    def socket(self) -> Path:
        return self.folder / f"vptcore-{os.getuid()}" / f"{self.owner.pid}.sock"

    def start(self, function: str, *, warm: bool = True, log: str = "job.log", threads: int = 1, **arguments):
        import json

        request = {
            "target": function if ":" in function else f"jobs_here:{function}",
            "log": log,
            "threads": threads,
            **arguments,
        }
        environment = os.environ | {
            "VPTCORE_WARM": str(self.owner.pid) if warm else "0", "TMPDIR": str(self.folder), "OMP_NUM_THREADS": "1",
            "PYTHONPATH": os.pathsep.join([str(self.folder), *filter(None, [os.environ.get("PYTHONPATH")])]),
        }  # fmt: skip
        for name in ("VPTCORE_LOGGER", "SLURM_JOB_ID"):
            environment.pop(name, None)
        return subprocess.Popen(
            [sys.executable, "-c", CLIENT, json.dumps(request)],
            cwd=self.folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    def run(self, function: str, **options) -> tuple[int, str, list[str]]:
        """Exit status, stderr and the log's lines without their times."""
        client = self.start(function, **options)
        _, errors = client.communicate(timeout=60)
        log = (self.folder / options.get("log", "job.log")).read_text().splitlines()
        return client.returncode, errors, [line.split(" ", 1)[-1] for line in log]

    def servers(self) -> list[psutil.Process]:
        found = []
        for process in psutil.process_iter(["cmdline", "status"]):
            words = process.info["cmdline"] or []
            if (
                "vptstudy.run.server" in words
                and str(self.socket) in words
                and process.info["status"] != psutil.STATUS_ZOMBIE
            ):
                found.append(process)
        return found


def open_place() -> Place:
    folder = Path(tempfile.mkdtemp(prefix="warm")).resolve()  # short: a socket's path may have 100 characters
    (folder / "jobs_here.py").write_text(JOBS)
    (folder / "torch_jobs.py").write_text(TORCH_JOBS)
    return Place(folder, subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE))


def close(place: Place) -> None:
    place.owner.kill()
    place.owner.wait()
    until(lambda: not place.servers())
    shutil.rmtree(place.folder, ignore_errors=True)


def until(condition, seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)


@pytest.fixture(scope="module")
def place():
    place = open_place()
    yield place
    close(place)


def test_in_the_scripts_own_process_and_from_the_server_alike(place):
    work = dict(value=21, names=["a", 1, None, True, 0.5], threads=1)
    own = place.run("torch_jobs:double", warm=False, **work)
    assert not place.servers()
    assert own == (0, "", ["working on ['a', 1, None, True, 0.5]", f"done: 42 with 1 threads in {place.folder}"])
    assert place.run("torch_jobs:double", **work) == own
    assert len(place.servers()) == 1
    # What a profile grants changes no number; what the job's config says does.
    assert place.run("torch_jobs:double", **work | {"threads": 2})[2][-1].startswith("done: 42 with 1 threads")
    assert place.run("torch_jobs:settled", job={"threads": 2})[2][-1] == "done: 2 threads, deterministic False"
    assert place.run("torch_jobs:settled", job={"deterministic": True})[2][-1] == "done: 1 threads, deterministic True"


def test_a_job_without_say_and_with_a_log_in_a_new_folder(place):
    status, errors, log = place.run("silent", value={"a": [1, "x"]}, log="new/folder/job.log")
    assert (status, errors, log) == (0, "", ["done: {'a': [1, 'x']}"])


@pytest.mark.parametrize("warm", [True, False])
@pytest.mark.parametrize(
    ("function", "line"),
    [
        ("refuse", "error: the value is 3, expected 4"),
        ("unreadable", "error: [Errno 2] No such file or directory: 'no/such/file'"),
        ("slip", "error: unexpected KeyError: 'key' (traceback in {log})"),
    ],
)
def test_a_mistake_is_one_line_and_exit_1(place, function, line, warm):
    status, errors, log = place.run(function, warm=warm)
    line = line.format(log=place.folder / "job.log")
    assert (status, errors) == (1, f"{line}\n")
    assert log[-1] == line
    assert any("Traceback" in text for text in log)


@pytest.mark.parametrize("warm", [True, False])
def test_a_log_that_cannot_be_written_is_one_line_too(place, warm):
    client = place.start("pids", warm=warm, log="jobs_here.py/job.log")
    _, errors = client.communicate(timeout=60)
    (line,) = errors.splitlines()
    assert client.returncode == 1
    assert line.startswith("error: its log cannot be written: ")
    assert str(place.folder / "jobs_here.py") in line


@pytest.mark.parametrize("warm", [True, False])
def test_on_a_full_disk_a_job_says_why_it_failed_without_its_log(place, warm, monkeypatch):
    """The study's logger, which shows the log's last line, finds none there."""
    monkeypatch.setenv("VPTCORE_LOGGER", "study")
    client = place.start("full", warm=warm, log="/dev/full")
    _, errors = client.communicate(timeout=60)
    assert client.returncode == 1
    assert errors == "error: [Errno 28] No space left on device\n"
    client = place.start("silent", warm=warm, log="/dev/full", value=1)
    assert client.communicate(timeout=60)[1] == ""
    assert client.returncode == 0


def test_jobs_are_forks_of_one_server(place):
    first, second = (place.run("pids")[2][-1].split()[1:] for _ in range(2))
    assert first[0] != second[0]
    assert first[1] == second[1] == str(place.servers()[0].pid)


def test_a_job_that_is_killed_is_an_error_of_its_own_and_the_server_goes_on(place):
    status, errors, _ = place.run("die")
    assert status == 1
    assert errors == f"error: the job's process was killed (log: {place.folder / 'job.log'})\n"
    assert place.run("silent", value=1)[0] == 0


def test_a_job_that_the_server_leaves_to_its_script_has_no_answer(monkeypatch):
    ours, its = socket.socketpair()
    with its:
        its.sendall(b"null")
        its.shutdown(socket.SHUT_WR)
        monkeypatch.setattr(warm, "_connect", lambda path, owner: ours)
        assert warm._ask_server({"log": "x"}, os.getpid()) is None


def test_killing_the_client_kills_its_job_and_no_other(place):
    notes = [place.folder / "one.pid", place.folder / "two.pid"]
    clients = [place.start("endless", note=str(note), log=f"{note.stem}.log") for note in notes]
    until(lambda: all(note.exists() and note.read_text() for note in notes))
    jobs = [int(note.read_text()) for note in notes]
    clients[0].kill()
    clients[0].communicate()
    until(lambda: not psutil.pid_exists(jobs[0]))
    assert psutil.pid_exists(jobs[1])
    clients[1].terminate()
    clients[1].communicate()
    until(lambda: not psutil.pid_exists(jobs[1]))
    assert place.run("silent", value=1)[0] == 0


def leave_stale_socket(path: Path) -> None:
    """What a server that was killed leaves behind: a socket file that nobody listens at."""
    path.parent.mkdir(mode=0o700, exist_ok=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as stale:
        stale.bind(str(path))


def test_first_calls_at_once_start_one_server_over_a_stale_socket_and_it_ends_with_its_owner():
    place = open_place()
    try:
        leave_stale_socket(place.socket)
        clients = [place.start("pids", log=f"{i}.log") for i in range(4)]
        outputs = [client.communicate(timeout=60)[1] for client in clients]
        assert [client.returncode for client in clients] == [0] * 4, outputs
        parents = {(place.folder / f"{i}.log").read_text().split()[-1] for i in range(4)}
        (server,) = place.servers()
        assert parents == {str(server.pid)}

        note = place.folder / "endless.pid"
        busy = place.start("endless", note=str(note))
        until(lambda: note.exists() and note.read_text())
        place.owner.kill()  # not waited for: a zombie is gone too
        until(lambda: not place.servers() and not psutil.pid_exists(int(note.read_text())))
        assert "stopped by SIGTERM" in busy.communicate(timeout=20)[1]
        assert busy.returncode == 1
        assert [p.name for p in place.socket.parent.iterdir()] == []
    finally:
        close(place)


def test_a_socket_folder_open_to_others_is_not_used(place):
    """Anyone could have put a server there: the job runs in the script's own process."""
    other = Place(Path(tempfile.mkdtemp(prefix="warm")).resolve(), place.owner)
    try:
        (other.folder / "jobs_here.py").write_text("def pids():\n    import os\n    return os.getppid()\n")
        other.socket.parent.mkdir()
        other.socket.parent.chmod(0o755)
        status, _, log = other.run("pids")
        assert (status, log) == (0, [f"done: {os.getpid()}"])
    finally:
        shutil.rmtree(other.folder)


def test_a_temporary_folder_too_long_for_a_socket(place):
    """No server can listen there; the job runs in the script's own process, without trying to start one."""
    long = place.folder / ("x" * 120)
    long.mkdir()
    (long / "jobs_here.py").write_text("def pids():\n    import os\n    return os.getppid()\n")
    started = time.monotonic()
    status, _, log = Place(long, place.owner).run("pids")
    assert (status, log) == (0, [f"done: {os.getpid()}"])
    assert time.monotonic() - started < 60


@pytest.mark.slow
def test_what_a_server_imports_for_gpus_starts_nothing_and_opens_none():
    """So that a fork of it may open its device, and compile."""
    names = (*server.PRELOAD, *server.PRELOAD_TORCH, *server.PRELOAD_GPU)
    code = f"""
import importlib, multiprocessing, threading
for name in {names!r}:
    importlib.import_module(name)
import torch
print(threading.active_count(), len(multiprocessing.active_children()), torch.cuda.is_initialized())
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.split() == ["1", "0", "False"]
