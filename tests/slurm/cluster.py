"""A real Slurm on this machine alone: munge, one controller and two node daemons with pretended GPUs, on loopback.

In: root on Debian, and apt for the first time. Out: a `Cluster` whose `stop` ends every daemon that `start` began and
removes what it wrote outside its own folder. `python -m tests.slurm.cluster` starts one, waits for Enter and stops it.
"""

from __future__ import annotations

import contextlib
import os
import platform
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

ETC = Path("/etc/slurm")
GPUS = 2
NODES = ("node1", "node2")
APT = ("apt-get", "install", "-y", "-qq", "--no-install-recommends", "slurm-wlm", "munge")


class NoSlurm(Exception):
    """Slurm cannot be had here; the text is the reason, in one line."""


@dataclass
class Cluster:
    folder: Path
    pids: dict[str, int] = field(default_factory=dict)

    def start(self) -> None:
        _install()
        _refuse_foreign_config()
        for name in ("state", "log", "dev", *(f"spool/{node}" for node in NODES)):
            (self.folder / name).mkdir(parents=True)
        self._write_configs()
        try:
            self._start_daemons()
        except BaseException:
            self.stop()
            raise

    def _write_configs(self) -> None:
        host, ports = platform.node().split(".")[0], _free_ports(2 + len(NODES))
        node_lines = [
            f"NodeName={node} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} CPUs=16 RealMemory=64000 "
            f"Gres=gpu:pretended:{GPUS} State=UNKNOWN"
            for node, port in zip(NODES, ports[2:], strict=True)
        ]
        settings = CONF.format(folder=self.folder, host=host, controller=ports[0], node=ports[1])
        (self.folder / "slurm.conf").write_text(settings + "\n".join(node_lines) + PARTITIONS)
        gres = []
        for node in NODES:
            for number in range(GPUS):
                os.mknod(self.folder / f"dev/{node}-gpu{number}", 0o20666, os.makedev(1, 3))
            gres.append(f"NodeName={node} Name=gpu Type=pretended File={self.folder}/dev/{node}-gpu[0-{GPUS - 1}]")
        (self.folder / "gres.conf").write_text("\n".join(gres) + "\n")
        # Jobs lose SLURM_CONF on their way (Snakemake's job step drops it), so the default place must lead here.
        ETC.mkdir(exist_ok=True)
        for name in ("slurm.conf", "gres.conf"):
            (ETC / name).unlink(missing_ok=True)
            (ETC / name).symlink_to(self.folder / name)

    def _start_daemons(self) -> None:
        if subprocess.run(["munge", "-n"], capture_output=True, check=False).returncode != 0:
            self._start_munge()
        self._run("slurmctld", "slurmctld", "-f", f"{self.folder}/slurm.conf")
        for node in NODES:
            self.start_node(node)
        deadline = time.monotonic() + 90
        while self.states() != dict.fromkeys(NODES, "idle"):
            if time.monotonic() > deadline:
                raise NoSlurm(f"Slurm did not come up in 90 s: {self.states()} (logs in {self.folder}/log)")
            time.sleep(0.3)

    def _start_munge(self) -> None:
        Path("/run/munge").mkdir(exist_ok=True)
        key = self.folder / "munge.key"
        key.touch(mode=0o600)
        key.write_bytes(os.urandom(128))
        files = [f"--{name}={self.folder}/munge.{name}" for name in ("pid-file", "log-file", "seed-file")]
        self._run("munge", "munged", "--force", f"--key-file={key}", *files, pid_file="munge.pid-file")

    def start_node(self, node: str) -> None:
        self._run(node, "slurmd", "-f", f"{self.folder}/slurm.conf", "-N", node)

    def kill_node(self, node: str) -> None:
        """As a power cut would: the daemon, the jobs' keepers and the jobs, all at once and without a word."""
        victims = [self.pids.pop(node), *_job_processes(node)]
        for pid in victims:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def _run(self, name: str, *command: str, pid_file: str | None = None) -> None:
        file = self.folder / (pid_file or f"{name}.pid")
        file.unlink(missing_ok=True)  # a killed daemon's: the new one's number is wanted
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        deadline = time.monotonic() + 20
        while not (file.is_file() and file.read_text().strip()):
            if time.monotonic() > deadline:
                raise NoSlurm(f"{command[0]} did not start: {(done.stderr or done.stdout).strip()[-300:]}")
            time.sleep(0.1)
        self.pids[name] = int(file.read_text())

    def stop(self) -> None:
        subprocess.run(["scancel", "--quiet", f"--user={os.getuid()}"], capture_output=True, check=False, timeout=30)
        for node in NODES:
            for pid in [*_job_processes(node)]:
                _end(pid, signal.SIGKILL)
        for name in sorted(self.pids, key=lambda n: (n == "munge", n == "slurmctld")):
            _end(self.pids[name], signal.SIGTERM)
        for name in ("slurm.conf", "gres.conf"):
            if (ETC / name).is_symlink() and (ETC / name).readlink() == self.folder / name:
                (ETC / name).unlink()
        shutil.rmtree(self.folder, ignore_errors=True)

    def states(self) -> dict[str, str]:
        asked = subprocess.run(["sinfo", "-h", "-N", "-o", "%N %t"], capture_output=True, text=True, check=False)
        return dict(line.split() for line in asked.stdout.splitlines())

    def jobs(self) -> list[dict[str, str]]:
        """Slurm's own record of every job since the start, oldest first; `where` is the job's rule and wildcards."""
        asked = subprocess.run(
            ["scontrol", "show", "job", "--oneliner", "--all"], capture_output=True, text=True, check=True
        )
        records = []
        for line in asked.stdout.splitlines():
            pairs = dict(re.findall(r"(\S+?)=(\S*)", line))
            if "JobId" in pairs:
                records.append(pairs | {"where": pairs.get("Comment", "")})
        return sorted(records, key=lambda record: int(record["JobId"]))


def _install() -> None:
    if shutil.which("slurmctld") and shutil.which("munged"):
        return
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        raise NoSlurm("Slurm is not installed, and installing it needs root and apt")
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    for command in (("apt-get", "update", "-qq"), APT):
        done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False, timeout=240)
    if done.returncode != 0:
        raise NoSlurm(f"apt could not install slurm-wlm: {done.stderr.strip().splitlines()[-1:]}")


def _refuse_foreign_config() -> None:
    if os.geteuid() != 0:
        raise NoSlurm("the daemons need root")
    for name in ("slurm.conf", "gres.conf"):
        file = ETC / name
        if file.exists() and not (file.is_symlink() and "vptcore-slurm" in str(file.readlink())):
            raise NoSlurm(f"{file} is there: this machine has a Slurm of its own, which is left alone")
    if shutil.which("slurmctld") is None:
        raise NoSlurm("slurmctld is not on the PATH")


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


def _job_processes(node: str) -> list[int]:
    """Slurm's keepers of the node's job steps and everything below them."""
    import psutil

    found = []
    for process in psutil.process_iter(["pid", "name", "environ"]):
        environment = process.info["environ"] or {}
        if environment.get("SLURMD_NODENAME") == node:
            found.append(process.pid)
            with contextlib.suppress(psutil.Error):
                found += [p.pid for p in process.parents() if p.name() == "slurmstepd"]
    return sorted(set(found), reverse=True)


def _end(pid: int, number: int) -> None:
    """Signal a process and wait for it; kill it if it will not go."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            os.kill(pid, 0)
            time.sleep(0.05)
        os.kill(pid, signal.SIGKILL)


CONF = """ClusterName=pretended
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmctldPort={controller}
SlurmdPort={node}
AuthType=auth/munge
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool/%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/%n.pid
SlurmctldLogFile={folder}/log/slurmctld.log
SlurmdLogFile={folder}/log/%n.log
SlurmdParameters=config_overrides
ProctrackType=proctrack/linuxproc
TaskPlugin=task/affinity
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=1
JobAcctGatherParams=OverMemoryKill
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory,CR_LLN
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=2,bf_interval=2,batch_sched_delay=0
GresTypes=gpu
ReturnToService=2
MinJobAge=7200
KillWait=20
SlurmctldTimeout=30
SlurmdTimeout=10
InactiveLimit=0
"""
PARTITIONS = """
PartitionName=gpu Nodes=node1,node2 Default=YES MaxTime=INFINITE State=UP
PartitionName=cpu Nodes=node1,node2 MaxTime=INFINITE State=UP
"""


def new() -> Cluster:
    return Cluster(Path(tempfile.mkdtemp(prefix="vptcore-slurm-")))


if __name__ == "__main__":
    cluster = new()
    cluster.start()
    try:
        print(cluster.folder, cluster.states())
        input()
    finally:
        cluster.stop()
