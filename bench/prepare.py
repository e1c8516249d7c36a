"""Images a second from files to arrays: `prepare` beside a plain Pillow and DataLoader loop, in turns, on one machine.

Both read the same JPEG files of photograph size, resize them to 224 without antialias and keep uint8; the plain loop
is a torch Dataset in a DataLoader with as many workers. In: options. Out: a line for each and the ratio.

    python -m bench.prepare --images 600 --workers 2
"""

from __future__ import annotations

import argparse
import resource
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch.utils.data import DataLoader, Dataset

from vptcore.data.arrays import prepare

SIZE, TURNS, BAR = 224, 3, 2.0


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


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.prepare", description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=600)
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(1)
    seconds: dict[str, list[float]] = {"plain": [], "prepare": []}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        paths = draw_files(folder / "in", options.images)
        source = {"source": "folder", "path": str(folder / "in" / "train"), "classes": 2}
        job = {
            "task": "bench",
            **source,
            "size": SIZE,
            "max_pool": 10**9,
            "seed": 0,
            "workers": options.workers,
            "resize": "bilinear",
        }
        for _ in range(TURNS):
            began = time.perf_counter()
            plain(paths, folder / "plain.npy", options.workers)
            seconds["plain"].append(time.perf_counter() - began)
            began = time.perf_counter()
            prepare(job, folder / "ours.npy", folder / "rows.parquet")
            seconds["prepare"].append(time.perf_counter() - began)
        ours, theirs = (np.load(folder / f"{name}.npy", mmap_mode="r") for name in ("ours", "plain"))
        order = [path.name for path in sorted(paths, key=lambda path: (path.parent.name, path.name))]
        place = {path.name: row for row, path in enumerate(paths)}
        apart = max(int(np.abs(x.astype(int) - theirs[place[n]]).max()) for x, n in zip(ours, order, strict=True))
    median = {name: statistics.median(taken) for name, taken in seconds.items()}
    for name, taken in median.items():
        print(f"{name:8} {options.images / taken:7,.0f} img/s (median of {TURNS}, {options.workers} workers)")
    print(f"ratio    {median['plain'] / median['prepare']:7.2f} (bar {BAR:g}); pixels differ by {apart} of 255 at most")
    print(f"memory   {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:7,.0f} MiB at most, torch included")


if __name__ == "__main__":
    main()
