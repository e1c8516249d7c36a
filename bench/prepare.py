"""Images a second from files to arrays: `prepare` beside a plain Pillow and DataLoader loop, in turns, on one machine.

Both read the same JPEG files of photograph size, resize them to 224 without antialias and keep uint8; the plain loop
is a torch Dataset in a DataLoader with as many workers. In: options. Out: a line for each and the ratios within a turn,
by the clock and in processor time, which other work on the machine moves less. Memory is measured in runs of their own.

    python -m bench.prepare --images 600 --workers 2
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from multiprocessing import Queue, get_context, set_start_method
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch.utils.data import DataLoader, Dataset

from vptcore.data.arrays import prepare

SIZE, TURNS, BAR = 224, 3, 2.0
MEASURES_MEMORY = Path("/proc/self/smaps_rollup").exists()


class Files(Dataset):
    """Decoded with Pillow, resized by torch: what the authors' pipeline does, an image at a time."""

    def __init__(self, paths: list[Path]):
        self.paths = paths

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, row: int) -> torch.Tensor:
        with Image.open(self.paths[row]) as picture:
            x_HWC = torch.from_numpy(np.array(picture.convert("RGB")))
        x_BCHW = x_HWC.permute(2, 0, 1)[None].float()
        x_BCHW = F.interpolate(x_BCHW, (SIZE, SIZE), mode="bilinear", align_corners=False)
        return x_BCHW[0].round_().to(torch.uint8)


def draw_files(folder: Path, count: int) -> list[Path]:
    """Smooth random pictures, which JPEG shrinks as it does photographs."""
    rng, paths = np.random.default_rng(0), []
    for row in range(count):
        path = folder / "train" / f"{row % 2}" / f"{row:05d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        seeds = rng.integers(0, 256, (24, 32, 3), dtype=np.uint8)
        Image.fromarray(seeds).resize((500, 375), Image.Resampling.BICUBIC).save(path, quality=90)
        paths.append(path)
    return paths


def plain(paths: list[Path], out: Path, workers: int) -> None:
    stored = np.lib.format.open_memmap(out, "w+", np.uint8, (len(paths), SIZE, SIZE, 3))
    row = 0
    for x_BCHW in DataLoader(Files(paths), batch_size=64, num_workers=workers):
        stored[row : row + len(x_BCHW)] = x_BCHW.permute(0, 2, 3, 1).numpy()
        row += len(x_BCHW)
    stored.flush()


def spent() -> tuple[float, float]:
    """(wall, processor) seconds so far; those of workers count once they have ended, as they have after a run."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return time.perf_counter(), sum(each.ru_utime + each.ru_stime for each in used)


def held_bytes() -> int:
    """Memory of this process and its children, of which shared pages count once; files' own pages do not count.

    0 where a worker began or ended meanwhile: what it shares would count twice.
    """
    listed = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children")
    children, total = listed.read_text(), 0
    with suppress(OSError):
        for process in [str(os.getpid()), *children.split()]:
            for line in Path(f"/proc/{process}/smaps_rollup").read_text().splitlines():
                if line.startswith(("Pss_Anon:", "Pss_Shmem:")):
                    total += int(line.split()[1]) * 1024
        return total if listed.read_text() == children else 0
    return 0


def added_bytes(run: Callable[[], None]) -> int:
    """The most memory that `run` holds above what this process held before, looked at every few milliseconds."""
    before, seen, ended = held_bytes(), [0], threading.Event()

    def look() -> None:
        while not ended.wait(0.005):
            seen.append(held_bytes())

    looking = threading.Thread(target=look)
    looking.start()
    try:
        run()
    finally:
        ended.set()
        looking.join()
    return max(0, max(seen) - before)


def alone(run: Callable[[], None], answer: Queue) -> None:
    torch.set_num_threads(1)
    set_start_method("fork", force=True)  # a spawned process would spawn the loader's workers, each with its own torch
    answer.put(added_bytes(run))


def in_a_fresh_process(run: Callable[[], None]) -> int:
    context = get_context("spawn")
    answer = context.Queue()
    process = context.Process(target=alone, args=(run, answer))
    process.start()
    added = answer.get(timeout=600)
    process.join()
    return added


def furthest_apart(paths: list[Path], ours: Path, theirs: Path) -> int:
    """The greatest difference of two pixels, of 255. Ours are in the order of the folder, class after class."""
    ours_BHWC, theirs_BHWC = np.load(ours, mmap_mode="r"), np.load(theirs, mmap_mode="r")
    order = sorted(range(len(paths)), key=lambda row: (paths[row].parent.name, paths[row].name))
    return max(int(np.abs(x.astype(int) - theirs_BHWC[row]).max()) for x, row in zip(ours_BHWC, order, strict=True))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.prepare", description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=600)
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        paths = draw_files(folder / "in", options.images)
        job = {
            "task": "bench", "source": "folder", "path": str(folder / "in" / "train"), "classes": 2, "size": SIZE,
            "max_pool": 10**9, "seed": 0, "workers": options.workers, "resize": "bilinear",
        }  # fmt: skip
        written = {name: folder / f"{name}.npy" for name in ("plain", "prepare")}
        runs = {
            "plain": partial(plain, paths, written["plain"], options.workers),
            "prepare": partial(prepare, job, written["prepare"], folder / "rows.parquet"),
        }
        taken: dict[str, list[tuple[float, float]]] = {name: [] for name in runs}
        for turn in range(TURNS):
            for name in list(runs) if turn % 2 == 0 else reversed(runs):
                written[name].unlink(missing_ok=True)  # freeing a turn's file is no part of the next
                before = spent()
                runs[name]()
                taken[name].append(tuple(now - then for now, then in zip(spent(), before, strict=True)))
        apart = furthest_apart(paths, written["prepare"], written["plain"])
        added = {name: in_a_fresh_process(run) for name, run in runs.items()} if MEASURES_MEMORY else {}
    for name, turns in taken.items():
        wall, processor = (statistics.median(each) for each in zip(*turns, strict=True))
        memory = f", {added[name] / 2**20:,.0f} MiB more held at most" if added else ""
        print(f"{name:8} {options.images / wall:7,.0f} img/s, {1000 * processor / options.images:.2f} ms of processor "
              f"an image{memory} (median of {TURNS}, {options.workers} workers)")  # fmt: skip
    for kind, what in enumerate(("wall", "processor")):
        ratios = [a[kind] / b[kind] for a, b in zip(taken["plain"], taken["prepare"], strict=True)]
        print(f"ratio    {statistics.median(ratios):7.2f} in {what} time ({min(ratios):.2f} to {max(ratios):.2f})")
    print(f"the bar is {BAR:g} in wall time; pixels differ by {apart} of 255 at most")


if __name__ == "__main__":
    main()
