"""CPU seconds of a GPU's job that trains next to nothing: Python and torch, model and images, compiling and capturing.

In: nothing. Out: a table for ViT-B/16, of jobs in an interpreter of their own and of those that a warm one forks: with
plain blocks, with compiled ones and an empty cache, and with the cache that a job of another task has left. Without a
GPU the jobs run on a pretended one. That is torch's own host code and Triton's own compiler, but neither the driver's
start nor the trials by which a card's kernels are chosen.

    python -m bench.start
"""

from __future__ import annotations

import importlib
import json
import os
import resource
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gpu_check.models import Sizes

IMAGES, PROMPTS = 1200, 50  # 800 of them to train on, in batches of two sizes
BATCHES = {"vpt": 64, "full": 128}
TITLES = {"vpt": f"VPT, p = {PROMPTS}", "full": "FT"}
# Classes of the task, and the config's `compile`. The last finds what the one before it has left.
BLOCKS = {
    "plain": (10, "never"),
    "compiled, empty cache": (10, "auto"),
    "compiled, another task's cache": (100, "auto"),
}
HEAD = """| method | blocks | in an interpreter of its own, s | forked, s | graphs compiled | graphs found |
|---|---|---|---|---|---|"""
JOB = "import json\nfrom bench.start import job\nprint(json.dumps(job({!r})))"


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        print(HEAD)
        for words in _rows(Path(folder), _on_a_card(Path(folder))):
            print(f"| {' | '.join(words)} |", flush=True)


def _rows(folder: Path, ask: Callable[..., dict]) -> Iterator[list[str]]:
    from gpu_check.models import Sizes

    for method, batch in BATCHES.items():
        # One core: what helper processes compile would go uncounted.
        alone = {"TORCHINDUCTOR_COMPILE_THREADS": "1", "OMP_NUM_THREADS": "1"}
        alone |= {"TORCHINDUCTOR_CACHE_DIR": f"{folder}/{method}/1", "TRITON_CACHE_DIR": f"{folder}/{method}/2"}
        sizes = Sizes(depth=12, batch=batch, images=IMAGES)
        for blocks, (classes, compile) in BLOCKS.items():
            path = _request(folder / method / blocks, method, sizes, classes, compile)
            found = ask(JOB.format(str(path)), **alone)
            seconds = [found["shared"] + found["job"], found["job"]]
            yield [TITLES[method], blocks, *(f"{s:.1f}" for s in seconds), str(found["compiled"]), str(found["found"])]


def _request(folder: Path, method: str, sizes: Sizes, classes: int, compile: str) -> Path:
    """The files of a search of one configuration, and where it is asked for."""
    from gpu_check import grid
    from gpu_check.models import Case

    case = Case(method)
    asked = grid.make(folder, "cuda", (0.0,), compile, case=case, sizes=sizes, classes=classes, prompts=PROMPTS)
    asked["job"]["checkpoint_seconds"] = 120
    path = folder / "request.json"
    path.write_text(json.dumps(asked), encoding="utf-8")
    return path


def _on_a_card(folder: Path) -> Callable[..., dict]:
    """What runs code on the card there is, else on a pretended one, and gives what it prints."""
    import torch

    from gpu_check.grid import ask
    from tests.vptcore.gpu import pretend

    if torch.cuda.is_available():
        return ask
    if why := pretend.missing():
        raise SystemExit(f"bench.start: no GPU is seen here, and none can be pretended: {why}")
    return partial(pretend.run, pretend.build(folder))


def job(path: str) -> dict:
    """A job as the warm interpreter has it: what all share is imported, the rest is a fork's. CPU seconds of both, and
    what became of its graphs."""
    from vptstudy.run.server import PRELOAD, PRELOAD_GPU, PRELOAD_TORCH

    for name in (*PRELOAD, *PRELOAD_TORCH, *PRELOAD_GPU):
        importlib.import_module(name)
    shared, (reads, writes) = time.process_time(), os.pipe()
    if not os.fork():
        with os.fdopen(writes, "w") as pipe:
            json.dump({"shared": shared, **_forked(Path(path))}, pipe)
        os._exit(0)
    os.close(writes)
    with os.fdopen(reads) as pipe:
        return json.load(pipe)


def _forked(path: Path) -> dict:
    from torch._dynamo.utils import counters

    from gpu_check import grid

    grid.run(**json.loads(path.read_text()), say=lambda line: None)
    helpers = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = time.process_time() + helpers.ru_utime + helpers.ru_stime
    graphs = counters["aot_autograd"]
    return {"job": seconds, "compiled": graphs["autograd_cache_miss"], "found": graphs["autograd_cache_hit"]}


if __name__ == "__main__":
    main()
