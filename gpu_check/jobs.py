"""Jobs as processes: who opens the card, who waits for it, and what a job says where nothing can be compiled.

In: a name and whether the card is a pretended one. Out: a line per behaviour.

    python -m gpu_check --part behave
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path
from unittest.mock import patch

from gpu_check import grid
from gpu_check.checks import Check
from gpu_check.result import SKIPPED, Line, judge

SECONDS = 120  # for jobs that take ten


def checks(pretended: bool) -> dict[str, Check]:
    return {
        "a CPU job leaves the GPU alone": leaves_alone,
        "two jobs, one card": one_at_a_time,
        "two jobs of a warm interpreter": partial(forked, pretended),
        "no C compiler": without_a_compiler,
    }


ON_THE_CPU = """
import json, os, shutil, subprocess
import torch
from gpu_check.behave import fitted
from gpu_check.models import CASES
fitted(CASES[0], "cpu")
words = ["nvidia-smi", "--query-compute-apps=pid", "--format=csv,noheader"]
listed = subprocess.run(words, capture_output=True, text=True).stdout if shutil.which("nvidia-smi") else ""
print(json.dumps({"opened": torch.cuda.is_initialized(), "listed": str(os.getpid()) in listed.split()}))
"""


def leaves_alone(name: str) -> Line:
    """A job on the CPU has no context on the card, by torch's word and, where there is one, nvidia-smi's."""
    found = grid.ask(ON_THE_CPU)
    said = [what for what, is_so in found.items() if is_so]
    return judge("behave", name, not said, ", ".join(said) or "not opened", "not opened")


WAITS = """
from vptstudy.run.gpus import handed_out
with handed_out(1, lambda line: print(line, flush=True), poll=0.05) as device:
    print("got", device, flush=True)
"""


def one_at_a_time(name: str) -> Line:
    """Two jobs and one card: the second says that it waits, and has the card when the first has ended."""
    from vptstudy.run.gpus import handed_out

    said: list[str] = []
    card = f"check{os.getpid()}"  # a lock of its own, whoever else is at work on the card itself
    with patch.dict(os.environ, {"VPTCORE_GPUS": card}):
        with handed_out(1, said.append, poll=0.05) as mine:
            words = [sys.executable, "-c", WAITS]
            second = subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env=os.environ | {"LD_PRELOAD": ""})
            first_line = second.stdout.readline().strip()
        rest = second.communicate(timeout=60)[0].split()
    holds = mine == card and not said and first_line.startswith("waiting for a GPU") and rest == ["got", card]
    found = f"the second said: {first_line}, then: {' '.join(rest)}".replace(card, "0")
    return judge("behave", name, holds, found, "waiting for a GPU, got 0")


CALL = "import json, sys; from vptstudy.run.warm import call; call(**json.loads(sys.argv[1]))"


def forked(pretended: bool, name: str) -> Line:
    """Two searches at once, forks of one warm interpreter: one after the other on the card, which both rows name."""
    if "SLURM_JOB_ID" in os.environ:
        return Line("behave", name, SKIPPED, "in a Slurm job there is none")
    mine = {"VPTCORE_WARM": str(os.getpid()), "PYTHONWARNINGS": "ignore"} | ({"VPTCORE_GPUS": "0"} if pretended else {})
    with tempfile.TemporaryDirectory() as folder:
        requests = [grid.make(Path(folder, str(i)), "cuda") for i in range(2)]
        jobs = [_asked(request, Path(folder, f"{i}.log"), mine) for i, request in enumerate(requests)]
        errors = [job.communicate(timeout=SECONDS)[1].strip() for job in jobs]
        if any(job.returncode for job in jobs):
            return judge("behave", name, False, " ".join(filter(None, errors))[:200], "both done")
        logs = [Path(folder, f"{i}.log").read_text(encoding="utf-8") for i in range(2)]
        notes = [grid.note_of(request) for request in requests]
    cards = sorted({f"GPU {note.get('gpu')}, {note['device']}" for note in notes})
    is_warm = not any(f"process {job.pid}\n" in log for job, log in zip(jobs, logs, strict=True))
    waited = sum("waiting for a GPU" in log for log in logs)
    holds = is_warm and all(note.get("gpu") and not note["device"].startswith("cpu") for note in notes)
    found = f"{'forked' if is_warm else 'not forked'}, {waited} waited, rows of {' and of '.join(cards)}"
    return judge("behave", name, holds, found, "forked, rows name the GPU")


def _asked(request: dict, log: Path, environment: dict[str, str]) -> subprocess.Popen:
    """A workflow script's call of the search."""
    words = request | {"target": "gpu_check.grid:run", "log": str(log), "gpus": 1, "reads": [], "makes": []}
    return subprocess.Popen(
        [sys.executable, "-c", CALL, json.dumps(words)],
        cwd=log.parent, env=os.environ | environment, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


UNCOMPILED = """
import json, sys
from vptstudy.run import caches
caches.keep_compiled()  # first, as a job's process does: torch's compiler reads it when it is imported
from gpu_check import grid
said = []
grid.run(**json.loads(sys.argv[1]), say=said.append)
print(json.dumps([line for line in said if "torch.compile failed" in line]))
"""


def without_a_compiler(name: str) -> Line:
    """A job that finds no C compiler says so and goes on, and its rows say it too."""
    with tempfile.TemporaryDirectory() as folder:
        request = grid.make(Path(folder, "search"), "cuda", compile="auto")
        caches = {"TORCHINDUCTOR_CACHE_DIR": f"{folder}/inductor", "TRITON_CACHE_DIR": f"{folder}/triton"}
        said = grid.ask(UNCOMPILED, json.dumps(request), **caches, CC="", PATH="/nowhere")
        compiled = grid.note_of(request)["compiled"]
    holds = len(said) == 1 and compiled.startswith("no (")
    found = f"said {len(said)} times, compiled: {compiled}"
    return judge("behave", name, holds, found[:200], "said once, no")
