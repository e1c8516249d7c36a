"""A task's images, decoded and resized once: one uint8 array on disk and one index row per image.

In: a job (task, source, path, classes, size, resize, max_pool, seed, version, workers). Out: `images.npy`, uint8
(N, H, W, C), to be memory-mapped, and rows of kind `index` in the same order. Images that all have one size no larger
than the model's input stay as they are, for the model to resize on its device; all others are resized here. Finished
chunks stay in a work folder, so that a killed preparation goes on where it was.

    python -m pytest tests/vptcore/data/test_arrays.py
"""

from __future__ import annotations

import shutil
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice, pairwise
from pathlib import Path

from vptcore import records
from vptcore.data.chunks import CHUNK, Chunk, Chunks, DoesNotFit, Form
from vptcore.data.item import SPLITS, Request, Source
from vptcore.data.sources import open_source
from vptcore.data.tasks import TASKS
from vptcore.records import digest

SAY_SECONDS = 10
LISTED = 20  # duplicates named in the metadata


@dataclass(frozen=True)
class Stored:
    """What was written: the index rows, the images' form, and where they are not the benchmark's own."""

    rows: list[dict]
    form: Form
    substitutes: tuple[str, ...]


def prepare(
    job: dict,
    images_path: Path | str,
    index_path: Path | str,
    work: Path | str | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> str:
    """Decode a task's images into `images_path` and `index_path`; return a summary of one line.

    At most `max_pool` train images are kept, the first ones, and all val and test images. The array and the rows are
    the same for any number of `workers`, and whether or not chunks in `work` were finished before. Raises ValueError
    (one line) for a missing path, a broken image or a wrong label.
    """
    started = time.time()
    decides = {key: value for key, value in job.items() if key != "workers"}
    with _work_folder(work, decides, Path(images_path)) as folder:
        stored = _store(job, Chunks(folder, job["size"], job.get("resize", "bilinear")), Path(images_path), say)
        notes = audit(stored.rows, job)
        more = {"shape": [len(stored.rows), *stored.form.shape_HWC], "native": stored.form.native,
                "substitutes": list(stored.substitutes), **notes}  # fmt: skip
        inputs = {"source": job["path"]} if job["path"] and Path(job["path"]).is_file() else {}
        note = records.provenance(decides, inputs, started=started, **more)
        records.write_rows(index_path, "index", stored.rows, note)
    return _summary(stored, notes, time.time() - started)


@contextmanager
def _work_folder(work: Path | str | None, decides: dict, images_path: Path) -> Iterator[Path]:
    """`work`, emptied if another job left it, and removed when all is written; without one, a folder for this call."""
    if work is None:
        images_path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=images_path.parent, prefix=".prepare") as folder:
            yield Path(folder)
        return
    # The content's signature is left out: each chunk knows which files it was made of, so that one image replaced among
    # thousands costs one chunk.
    folder, made_by = Path(work), digest({k: v for k, v in decides.items() if k != "signature"})
    mark = folder / "made_by"
    if folder.exists() and (not mark.is_file() or mark.read_text() != made_by):
        shutil.rmtree(folder)
    folder.mkdir(parents=True, exist_ok=True)
    records.write_text(mark, made_by)
    yield folder
    shutil.rmtree(folder)


def _store(job: dict, chunks: Chunks, images_path: Path, say: Callable[[str], None]) -> Stored:
    """Write all chunks in one form. A chunk that does not fit the form widens it, and the others are converted."""
    path = Path(job["path"]) if job["path"] else None
    request = Request(job["task"], job["classes"], path, job["seed"], job["max_pool"])
    while True:
        source = open_source(job["source"], request)
        try:
            rows = _all_rows(job, source, chunks, _Progress(job, say))
        except DoesNotFit as widened:
            chunks.widen(widened.form)
            continue
        if not rows:
            raise ValueError(f"{source.where}: no images found for {job['task']}")
        chunks.finish(len(rows), images_path)
        return Stored(rows, chunks.form, tuple(source.substitutes))


def _all_rows(job: dict, source: Source, chunks: Chunks, progress: _Progress) -> list[dict]:
    """Index rows of all items, chunk after chunk, from a pool of workers that never holds more than a few chunks."""
    workers = max(1, int(job.get("workers", 1)))
    rows: list[dict] = []
    waiting: deque = deque()

    def collect() -> None:
        chunk, made = waiting.popleft()
        for item, row in zip(chunk.items, made.result(), strict=True):
            name = source.class_names[int(item.label)]
            rows.append({"row": len(rows), "split": item.split, "label": int(item.label), "class_name": name,
                         "key": item.key, "source": job["source"], **row})  # fmt: skip
        progress.at(len(rows))

    with ThreadPoolExecutor(workers) as pool:
        try:
            for number, items in enumerate(_batched(source.items)):
                chunk = Chunk(number, items, source.where)
                waiting.append((chunk, pool.submit(chunks.make, chunk)))
                # Without a form the first chunk proposes one, and the others wait for it.
                if chunks.form is None or len(waiting) >= 2 * workers:
                    collect()
            while waiting:
                collect()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return rows


def _batched(items: Iterator) -> Iterator[tuple]:
    while batch := tuple(islice(items, CHUNK)):
        yield batch


class _Progress:
    """A line in the log every few seconds: how far, how fast and, for a known task, how long yet."""

    def __init__(self, job: dict, say: Callable[[str], None]):
        task = TASKS.get(job["task"])
        self.total = min(task.pool, job["max_pool"]) + task.test if task else 0
        self.say, self.started, self.said = say, time.monotonic(), time.monotonic()

    def at(self, done: int) -> None:
        now = time.monotonic()
        if now - self.said < SAY_SECONDS:
            return
        self.said, rate = now, done / (now - self.started)
        left = max(0, self.total - done) / rate
        of = f" of about {self.total:,}, {left // 60:.0f}:{left % 60:02.0f} left" if self.total else ""
        self.say(f"{done:,} images{of}, {rate:,.0f} img/s")


def audit(rows: list[dict], job: dict) -> dict:
    """What a reader of the results should know of the images: counts, absent classes, duplicates, an odd test size.

    `duplicates` counts the images of the second split whose pixels also occur in the first, `duplicate_keys` names
    some, and `label_conflicts` counts those whose label differs. `ordered` is whether the labels of train run in
    classes, as in a list sorted by class, of which the first 800 would miss most.
    """
    by_split = {split: [row for row in rows if row["split"] == split] for split in SPLITS}
    first = {split: {row["sha256"]: row for row in reversed(part)} for split, part in by_split.items()}
    labels = {split: {row["label"] for row in part} for split, part in by_split.items()}
    pairs = (("train", "val"), ("train", "test"), ("val", "test"))
    twins = {
        f"{a}-{b}": [(first[a][row["sha256"]], row) for row in by_split[b] if row["sha256"] in first[a]]
        for a, b in pairs
    }
    expected = _expected_test(job)
    return {
        "counts": {split: len(part) for split, part in by_split.items()},
        "absent_classes": {s: sorted(set(range(job["classes"])) - found) for s, found in labels.items() if found},
        "duplicates": {pair: len(found) for pair, found in twins.items()},
        "duplicate_keys": {p: [[a["key"], b["key"]] for a, b in found[:LISTED]] for p, found in twins.items() if found},
        "label_conflicts": {p: sum(a["label"] != b["label"] for a, b in found) for p, found in twins.items()},
        "label_range": [min(row["label"] for row in rows), max(row["label"] for row in rows)] if rows else [],
        "ordered": _runs_in_classes([row["label"] for row in by_split["train"]]),
        "capped": len(by_split["train"]) == job["max_pool"],
        "test_expected": expected if expected and expected != len(by_split["test"]) else None,
    }


def _runs_in_classes(labels: list[int]) -> bool:
    """Whether every class stands in one run; classes of one image say nothing."""
    runs = sum(a != b for a, b in pairwise(labels)) + bool(labels)
    return len(set(labels)) > 1 and runs == len(set(labels)) < len(labels)


def _expected_test(job: dict) -> int:
    """The number of test images of a known task; 0 for a task, or a source, of one's own."""
    task = TASKS.get(job["task"])
    return task.test if task and job["source"] in (task.source, "vtab1k", "original", "tfds", "fgvc") else 0


def _summary(stored: Stored, notes: dict, seconds: float) -> str:
    height, width, channels = stored.form.shape_HWC
    parts = [f"{n:,} {split}" for split, n in notes["counts"].items() if n]
    parts.append(f"{len({row['label'] for row in stored.rows})} classes")
    parts.append(f"{height}x{width}x{channels} {'kept native' if stored.form.native else 'resized'}")
    parts.append(f"{len(stored.rows) / max(seconds, 1e-3):,.0f} img/s")
    if absent := {split: len(classes) for split, classes in notes["absent_classes"].items() if classes}:
        parts.append("absent classes: " + ", ".join(f"{n} in {split}" for split, n in absent.items()))
    parts += [f"{n} duplicates {pair}" for pair, n in notes["duplicates"].items() if n]
    if conflicts := sum(notes["label_conflicts"].values()):
        parts.append(f"{conflicts} of them with another label")
    if notes["test_expected"]:
        parts.append(f"{notes['test_expected']:,} test images expected")
    return ", ".join([*parts, *stored.substitutes])
