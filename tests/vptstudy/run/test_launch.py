"""`vptcore run`: what it refuses in one line, and that one run at a time works in a folder, however the last one ended.

The Snakefile here has one job, which lasts as long as a file `hold` is there.
"""

from __future__ import annotations

import os
import pty
import select
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from vptstudy.cli import main
from vptstudy.run import interrupts

STUDY = """\
study: small
fid: {network: backbone, reference: "asset:vit_mini_cifar10.reference.safetensors", bootstrap: 0}
experiments: {only: {backbones: [vit_mini_cifar10], tasks: [digits]}}
"""
SNAKEFILE = """
from vptstudy.run import interrupts

interrupts.settle(shell)


rule all:
    input: "done.txt"

rule last:
    output: "done.txt"
    shell: "touch started; while [ -e hold ]; do sleep 0.05; done; touch {output}"
"""
HOLDER = """
import fcntl, sys
lock = open(".snakemake/vptcore.lock", "w")
fcntl.flock(lock, fcntl.LOCK_EX)
print("held", flush=True)
sys.stdin.read()
"""
NO_FLOCK = """
import errno, fcntl
def flock(*_):
    raise OSError(errno.ENOSYS, "Function not implemented")
fcntl.flock = flock
"""
WAITING = "another run is at work in this folder; waiting for it"


@dataclass
class Folder:
    path: Path

    def start(self, *command: str) -> subprocess.Popen:
        paths = os.pathsep.join(filter(None, [str(self.path / "site"), os.environ.get("PYTHONPATH")]))
        environment = os.environ | {"PYTHONUNBUFFERED": "1", "PYTHONPATH": paths}
        return subprocess.Popen(
            [sys.executable, "-m", *command],
            cwd=self.path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            start_new_session=True,
        )  # fmt: skip

    def run(self) -> subprocess.Popen:
        return self.start("vptstudy.cli.main", "run", "--profile", "small", "--cores", "1", "all")

    def hold(self) -> None:
        (self.path / "hold").touch()

    def release(self) -> None:
        (self.path / "hold").unlink(missing_ok=True)

    def has(self, name: str) -> bool:
        return (self.path / name).exists()

    def locks(self) -> list[Path]:
        return list((self.path / ".snakemake/locks").glob("*"))


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "Snakefile").write_text(SNAKEFILE)
    (tmp_path / "study.yaml").write_text(STUDY)
    (tmp_path / "profiles/small").mkdir(parents=True)
    profile = "configfile: study.yaml\nscheduler: greedy\nrerun-incomplete: true\n"
    (tmp_path / "profiles/small/config.yaml").write_text(profile)
    folder = Folder(tmp_path)
    yield folder
    folder.release()


def until(condition, seconds: float = 40) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)


def snakemake_of(run: subprocess.Popen) -> psutil.Process:
    (child,) = psutil.Process(run.pid).children()
    return child


# Refused before anything runs


def refused(capsys, *arguments: str) -> str:
    assert main.main(["run", *arguments]) == 2
    printed = capsys.readouterr()
    assert printed.err.count("\n") == 1
    assert printed.out == ""
    return printed.err


def test_an_unknown_profile_is_one_line_with_the_choices(folder, monkeypatch, capsys):
    monkeypatch.chdir(folder.path)
    line = refused(capsys, "--profile", "smal")
    assert line == "vptcore run: --profile: 'smal' is unknown; did you mean 'small'? Choices: small\n"
    assert not folder.has(".snakemake")


def test_outside_a_clone(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert "no folder profiles/ here; run this in the top folder of a clone" in refused(capsys)
    assert list(tmp_path.iterdir()) == []


def test_configs_that_cannot_be_read(folder, monkeypatch, capsys):
    monkeypatch.chdir(folder.path)
    assert "none.yaml: no such file" in refused(capsys, "--profile", "small", "--configfile", "none.yaml")
    (folder.path / "study.yaml").write_text("a: [1\n")
    assert "study.yaml: not YAML in line 2" in refused(capsys, "--profile", "small")
    (folder.path / "profiles/small/config.yaml").write_text("a: b: c\n")
    assert "profiles/small/config.yaml: not YAML in line 1" in refused(capsys, "--profile", "small")
    assert not folder.has(".snakemake")


def test_an_unknown_target_is_one_line_with_the_choices(monkeypatch, capsys):
    monkeypatch.chdir(Path(__file__).parents[3])
    line = refused(capsys, "--profile", "demo", "figur_05")
    assert line.startswith("vptcore run: target: 'figur_05' is unknown; did you mean 'figure_05'? Choices: all, ")
    assert line.count("\n") == 1
    assert "'table_99' is unknown" in refused(capsys, "--profile", "demo", "table_01", "table_99")


# One at a time


def test_a_run_waits_for_the_lock(folder):
    (folder.path / ".snakemake").mkdir()
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER], cwd=folder.path, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout.readline() == "held\n"
    run = folder.run()
    assert run.stderr.readline().startswith(WAITING)
    time.sleep(0.5)
    assert run.poll() is None
    assert psutil.Process(run.pid).children() == []
    holder.communicate()
    assert run.wait(timeout=60) == 0, run.stderr.read()
    assert folder.has("done.txt")


def test_after_the_run_alone_is_killed_the_next_waits_for_its_snakemake(folder):
    folder.hold()
    first = folder.run()
    until(lambda: folder.has("started"))
    snakemake = snakemake_of(first)
    first.kill()
    first.wait()
    second = folder.run()
    assert second.stderr.readline().startswith(WAITING)
    assert snakemake.is_running()
    folder.release()
    assert second.wait(timeout=60) == 0, second.stderr.read()
    assert "Nothing to be done" in second.stderr.read()  # the first one's Snakemake finished the work


def test_after_everything_is_killed_the_stale_lock_is_cleared(folder):
    folder.hold()
    first = folder.run()
    until(lambda: folder.has("started"))
    snakemake = snakemake_of(first)
    first.kill()
    snakemake.kill()
    first.wait()
    until(lambda: not psutil.pid_exists(snakemake.pid) or snakemake.status() == psutil.STATUS_ZOMBIE)
    assert folder.locks()
    folder.release()
    by_hand = folder.start("snakemake", "--profile", "profiles/small", "--cores", "1")
    assert "Directory cannot be locked" in by_hand.communicate(timeout=60)[1]  # the lock is in the way
    again = folder.run()
    _, errors = again.communicate(timeout=60)
    assert again.returncode == 0, errors
    assert "Using profile" not in errors  # nobody asked which
    assert folder.has("done.txt")
    assert folder.locks() == []


def test_a_lock_of_a_snakemake_that_was_started_by_hand_is_left_alone(folder):
    folder.hold()
    by_hand = folder.start("snakemake", "--profile", "profiles/small", "--cores", "1")
    until(lambda: folder.has("started"))
    run = folder.run()
    _, errors = run.communicate(timeout=60)
    assert run.returncode == 2
    assert errors == (
        f"vptcore run: Snakemake is at work in this folder (process {by_hand.pid}); wait for it, or stop it\n"
    )
    assert folder.locks()
    folder.release()
    assert by_hand.wait(timeout=60) == 0


FAILING = """
rule all:
    input: "after.txt"

rule bad:
    output: "bad.txt"
    log: "bad.log"
    shell: "[ -e mended ] && touch {output} || (echo '12:00:00 error: the value is 3' > {log}; touch mended; exit 1)"

rule after:
    input: "bad.txt"
    output: "after.txt"
    shell: "touch {output}"
"""


@pytest.mark.parametrize("retries", [0, 1])
def test_the_last_lines_after_a_failure_sum_it_up(folder, retries):
    """A job that a further attempt made is no failure."""
    (folder.path / "Snakefile").write_text(FAILING)
    profile = folder.path / "profiles/small/config.yaml"
    profile.write_text(profile.read_text() + f"logger: study\nkeep-going: true\nretries: {retries}\n")
    run = folder.run()
    _, errors = run.communicate(timeout=60)
    lines = errors.splitlines()
    assert "failed: bad: the value is 3  (log: bad.log)" in lines
    if retries:
        assert run.returncode == 0
        assert "still to be done" not in errors
    else:
        assert run.returncode == 1
        assert lines[-3:] == [
            "1 job failed, 2 still to be done:",
            "  bad: the value is 3  (log: bad.log)",
            "Fix what they say, then run the same command again: finished work is kept.",
        ]


@pytest.mark.parametrize("to", ["group", "process"])
def test_ctrl_c_ends_snakemake_too_and_leaves_no_lock(folder, to):
    folder.hold()
    run = folder.run()
    until(lambda: folder.has("started"))
    snakemake = snakemake_of(run)
    # As a terminal does, to the whole group; or as another program does, to the one process that it started.
    os.killpg(run.pid, signal.SIGINT) if to == "group" else run.send_signal(signal.SIGINT)
    assert run.wait(timeout=60) == interrupts.STOPPED
    assert run.stderr.read().count(interrupts.LINE) == 1
    assert not snakemake.is_running()
    assert folder.locks() == []
    assert not folder.has("done.txt")


def in_a_terminal(folder, *command: str, until_said: str = "") -> tuple[int, str]:
    """(status, what is on the screen after Ctrl-C was typed) of a command that is typed in a terminal."""
    pid, terminal = pty.fork()
    if not pid:
        os.chdir(folder.path)
        os.execvp(sys.executable, [sys.executable, "-m", *command])
    shown, deadline = [b""], time.monotonic() + 120

    def read() -> bool:
        assert time.monotonic() < deadline, shown
        if select.select([terminal], [], [], 0.05)[0]:
            try:
                shown[0] += os.read(terminal, 65536)
            except OSError:  # the terminal's other side is closed
                return False
        return True

    while not (folder.has("started") if not until_said else until_said.encode() in shown[0]):
        assert read()
    shown = [b""]
    os.write(terminal, b"\x03")
    while read():
        pass
    os.close(terminal)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), shown[0].decode()


SCRIPT = """
import time
from pathlib import Path

Path("started").touch()
while Path("hold").exists():
    time.sleep(0.05)
Path(snakemake.output[0]).touch()
"""


@pytest.mark.parametrize("kind", ["shell", "script"])
@pytest.mark.parametrize("command", ["vptcore run", "snakemake"])
def test_ctrl_c_in_a_terminal_is_one_line_and_the_same_command_continues(folder, kind, command):
    if kind == "script":
        (folder.path / "script.py").write_text(SCRIPT)
        text = (folder.path / "Snakefile").read_text()
        (folder.path / "Snakefile").write_text(text[: text.index("    shell:")] + '    script: "script.py"\n')
    profile = folder.path / "profiles/small/config.yaml"
    profile.write_text(profile.read_text() + "logger: study\n")
    typed = {
        "vptcore run": ("vptstudy.cli.main", "run", "--profile", "small", "--cores", "1", "all"),
        "snakemake": ("snakemake", "--profile", "profiles/small", "--cores", "1"),
    }[command]
    folder.hold()
    status, shown = in_a_terminal(folder, *typed)
    assert status == (interrupts.STOPPED if command == "vptcore run" else 1)
    shown = shown.replace("\r", "").replace("\033[2K", "")
    if kind == "shell":
        shown = shown.replace("Terminated\n", "")  # bash's word for the command in it; the study's rules have none
    assert shown.replace("\n", "") == f"^C{interrupts.LINE}"
    assert folder.locks() == []
    assert not folder.has("done.txt")
    folder.release()
    again = folder.start(*typed)
    assert again.wait(timeout=60) == 0, again.stderr.read()
    assert folder.has("done.txt")


def test_ctrl_c_while_snakemake_starts_is_one_line_too(folder):
    folder.hold()
    starts = "import sys, time\nif any('snakemake' in word for word in sys.orig_argv):\n"
    (folder.path / "site").mkdir()
    (folder.path / "site/sitecustomize.py").write_text(f"{starts}    print('starts', flush=True)\n    time.sleep(60)\n")
    paths = os.pathsep.join(filter(None, [str(folder.path / "site"), os.environ.get("PYTHONPATH")]))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", paths)
        typed = ("vptstudy.cli.main", "run", "--profile", "small", "--cores", "1", "all")
        status, shown = in_a_terminal(folder, *typed, until_said="starts")
    assert status == interrupts.STOPPED
    shown = shown.replace("\r", "").replace("\033[2K", "")
    assert shown.replace("\n", "") == f"^C{interrupts.LINE}"


def test_where_the_file_system_knows_no_flock(folder):
    """One waits for another, and one that was killed with its Snakemake is in nobody's way."""
    (folder.path / "site").mkdir()
    (folder.path / "site/sitecustomize.py").write_text(NO_FLOCK)
    folder.hold()
    first = folder.run()
    until(lambda: folder.has("started"))
    second = folder.run()
    assert second.stderr.readline().startswith(WAITING)
    snakemake = snakemake_of(first)
    first.kill()
    snakemake.kill()
    first.wait()
    until(lambda: not psutil.pid_exists(snakemake.pid) or snakemake.status() == psutil.STATUS_ZOMBIE)
    folder.release()
    assert second.wait(timeout=60) == 0, second.stderr.read()
    assert folder.has("done.txt")
