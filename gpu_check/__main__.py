"""The check's command line: what of the project holds on this machine's GPU.

In: which parts (all by default), a limit in seconds and a folder. Out: each line as it is known, a table at the end,
`gpu.json` and, where something was timed, `bench.parquet` in the folder. The exit code is the number of failures.
Without a GPU the facts are told, host-side behaviour is counted on a pretended one, and nothing else is claimed.

    python -m gpu_check
    python -m gpu_check --part facts speed --seconds 300 --out gpu_check/out
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from gpu_check.result import FAILED, SKIPPED, Line, failures, pinned, table, write

# Seconds that a part may have of what is left. One that is asked for alone has all of it, as has the only one that runs
# without a GPU.
PARTS = {"facts": 60, "correct": 150, "behave": 120, "speed": 200, "study": 240}
NEED_A_CARD = ("correct", "speed", "study")
# Between a part's own end and the moment it is ended; and what starting Python and torch takes.
GRACE, SHORTEST = 15, 20
MOST_FAILURES = 100  # an exit code is a byte, and shells use those above 125
REPO = Path(__file__).resolve().parents[1]


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    if options.seconds < SHORTEST + GRACE:
        print(f"gpu-check: --seconds {options.seconds:g} is too short; give {SHORTEST + GRACE} or more")
        return 2
    began, ends = time.monotonic(), time.monotonic() + options.seconds
    asked = _asked()
    there, head = bool(asked["card"]), f"torch {asked['torch']} ({pinned(asked['torch'])})"
    print(f"gpu-check: {head}, {asked['card'] or 'no GPU'}", flush=True)
    lines: list[Line] = []
    chosen = [part for part in PARTS if part in (options.part or PARTS)]
    for part in chosen:
        for line in _part(part, there, ends, alone=chosen == [part] or not there):
            lines.append(line)
            print(f"{line.part}: {line.name}: {line.shown_state}: {line.found}", flush=True)
        write(lines, _about(asked, options.seconds, began), options.out)
    print(f"\n{table(lines)}\n\nchecked with {head}")
    if not there:
        print("No GPU is seen here: nothing above says that the project works on one.")
    print(f"{failures(lines)} failures, {time.monotonic() - began:.0f} s; lines and timings: {options.out}")
    return min(failures(lines), MOST_FAILURES)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m gpu_check", description="What holds on this machine's GPU.")
    parser.add_argument("--part", nargs="+", choices=list(PARTS), metavar="PART", help=f"any of {', '.join(PARTS)}")
    parser.add_argument("--seconds", type=float, default=450, help="ends before this (default: 450)")
    parser.add_argument("--out", type=Path, default=Path("gpu_check/out"), help="folder of gpu.json and bench.parquet")
    return parser


ASKED = """
import json, torch
card = torch.cuda.get_device_name() if torch.cuda.is_available() else ""
print(json.dumps({"torch": torch.__version__, "card": card}))
"""


def _asked() -> dict[str, str]:
    """The torch and the card at hand, asked in a process of its own: this one never touches a card."""
    words = [sys.executable, "-W", "ignore", "-c", ASKED]
    result = subprocess.run(words, capture_output=True, text=True, check=False)
    return json.loads(result.stdout.splitlines()[-1]) if result.returncode == 0 else {"torch": "none", "card": ""}


def _about(asked: dict[str, str], seconds: float, began: float) -> dict:
    date = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    took = {"date": date, "limit": seconds, "seconds": time.monotonic() - began}
    return {"kind": "gpu-check", "gpu": bool(asked["card"]), **asked, **took}


def _part(part: str, there: bool, ends: float, *, alone: bool = False) -> Iterator[Line]:
    left = ends - time.monotonic() - GRACE
    if not there and part in NEED_A_CARD:
        yield Line(part, part, SKIPPED, "no GPU is seen here")
    elif left < SHORTEST:
        yield Line(part, part, SKIPPED, f"no time left: make gpu-check PART={part}")
    else:
        yield from _in_a_process(part, there, left if alone else min(left, PARTS[part]))


def _in_a_process(part: str, there: bool, seconds: float) -> Iterator[Line]:
    """A part's lines. One that does not end by itself is ended, and what it said before counts."""
    device = "cuda" if there else "pretended" if part == "behave" else "none"
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "lines.jsonl")
        words = [sys.executable, "-W", "ignore", "-m", "gpu_check.worker", part, device, str(seconds), str(path)]
        search = os.pathsep.join(filter(None, [str(REPO / "src"), str(REPO), os.environ.get("PYTHONPATH")]))
        process = subprocess.Popen(words, env=os.environ | {"PYTHONPATH": search}, start_new_session=True)
        try:
            status = process.wait(timeout=seconds + GRACE)
        except subprocess.TimeoutExpired:
            status = None
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        written = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    yield from (Line(**json.loads(line)) for line in written if line.endswith("}"))
    if status != 0:
        said = f"not ended after {seconds:.0f} s" if status is None else f"ended with {status}"
        yield Line(part, part, FAILED, said, "ends by itself")


if __name__ == "__main__":
    raise SystemExit(main())
