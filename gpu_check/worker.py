"""One part in a process of its own, so that a GPU left unusable by one part is not the next one's.

In: the part, the device (cuda, pretended, none), the seconds it has and a file. Out: a line of JSON in that file for
each check, as soon as it is known. What raises is a line too.

    python -m gpu_check.worker facts none 60 /tmp/lines.jsonl
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from gpu_check.checks import missing, raised
from gpu_check.result import FAILED, SKIPPED, Line

# What a part starts in other processes; what it imports itself is found out by importing it.
STARTS = {"study": ("snakemake", "jsonschema", "psutil", "yaml", "rich", "matplotlib", "seaborn", "jinja2")}
BEHAVE = """
from dataclasses import asdict
from gpu_check import behave
with open(os.environ["PRETENDED_LINES"], "w") as file:
    for line in behave.run("cuda", float(os.environ["PRETENDED_ENDS"]), pretended=True):
        print(json.dumps(asdict(line)), file=file, flush=True)
answer()
"""


def main(words: list[str]) -> int:
    part, device, seconds, path = words
    with open(path, "a", encoding="utf-8") as file:
        for line in lines_of(part, device, time.monotonic() + float(seconds)):
            print(json.dumps(asdict(line)), file=file, flush=True)
    return 0


def lines_of(part: str, device: str, ends: float) -> Iterator[Line]:
    if absent := [name for name in STARTS.get(part, ()) if importlib.util.find_spec(name) is None]:
        yield Line(part, part, SKIPPED, f"not installed: {', '.join(absent)}")
        return
    try:
        if device == "pretended":
            yield from _on_a_pretended_card(part, ends)
        else:
            if device == "cuda":
                importlib.import_module("vptcore.jobs.device").open_device("cuda")
            yield from importlib.import_module(f"gpu_check.{part}").run(device, ends)
    except ModuleNotFoundError as error:
        yield missing(part, part, error)
    except Exception as error:
        yield raised(part, part, error)


def _on_a_pretended_card(part: str, ends: float) -> Iterator[Line]:
    """torch's own host code on a runtime that computes nothing."""
    from tests.vptcore.gpu import pretend

    if why := pretend.missing():
        yield Line(part, part, SKIPPED, f"no GPU is seen here, and none can be pretended: {why}")
        return
    with tempfile.TemporaryDirectory() as folder:
        path, said = Path(folder, "lines.jsonl"), ""
        # What is compiled for a card that is not there is nobody else's.
        caches = {"TORCHINDUCTOR_CACHE_DIR": f"{folder}/inductor", "TRITON_CACHE_DIR": f"{folder}/triton"}
        try:
            told = {"PRETENDED_LINES": str(path), "PRETENDED_ENDS": str(ends)}
            pretend.run(pretend.build(Path(folder)), BEHAVE, **told, **caches)
        except AssertionError as error:
            said = str(error).strip().splitlines()[-1][:200]
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    yield from (Line(**json.loads(line)) for line in lines)
    if said:
        yield Line(part, part, FAILED, said, "no error", pretended=True)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
