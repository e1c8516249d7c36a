"""A task's images, decoded and resized once: one uint8 array on disk and one index row per image.

In: a job (task, source, path, classes, size, resize, max_pool, seed, version, workers, on_bad_image). Out:
`images.npy`, uint8 (N, H, W, C), to be memory-mapped, and rows of kind `index` in the same order. Images that all have
one size no larger than the model's input stay as they are, for the model to resize on its device; all others are
resized here. Finished chunks stay in a work folder, so that a killed preparation goes on where it was.

    python -m pytest tests/vptcore/data/test_arrays.py
"""

from __future__ import annotations

import shutil
import tempfile
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

from vptcore import records
from vptcore.data import census
from vptcore.data.chunks import CHUNK, BadImages, Chunk, Chunks, DoesNotFit, Form
from vptcore.data.item import Request, Source
from vptcore.data.remedies import left_out_images
from vptcore.data.sources import READERS, open_source
from vptcore.data.tasks import TASKS
from vptcore.data.told import is_drawn
from vptcore.jobs.provenance import provenance
from vptcore.records import digest
from vptcore.wording import are_verb, plural

SAY_SECONDS = 10


@dataclass(frozen=True)
class Stored:
    """What was written: the index rows, the images' form and source, and {key: reason} of the bad ones skipped.

    `bits` counts the 16-bit images by the bits that they use.
    """

    rows: list[dict]
    form: Form
    source: Source
    skipped: dict[str, str]
    bits: Counter


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
    (one line) for a missing path, a wrong label, or all images that cannot be decoded; with `on_bad_image` "skip" these
    are left out. A person's own images are turned upright as EXIF says, a benchmark's are not.
    """
    started = time.time()
    decides = {key: value for key, value in job.items() if key != "workers"}
    with _work_folder(work, decides, Path(images_path)) as folder:
        chunks = Chunks(folder, job["size"], job.get("resize", "bilinear"), upright=_is_own(job))
        stored = _store(job, chunks, Path(images_path), say)
        notes = _notes(stored, job)
        more = {"shape": [len(stored.rows), *stored.form.shape_HWC], "native": stored.form.native, **notes}
        inputs = {"source": stored.source.where} if Path(stored.source.where).is_file() else {}
        note = provenance(decides, inputs, started=started, **more)
        records.write_rows(index_path, "index", stored.rows, note)
    return _summary(stored, notes, time.time() - started)


def _notes(stored: Stored, job: dict) -> dict:
    """What the index's metadata say of the images. `substitutes` go on into the caption of every table."""
    source, remarks = stored.source, [*stored.source.remarks, *census.of_bits(stored.bits)]
    notes = census.census(stored.rows, job["classes"], job["max_pool"], _expected_test(job["task"]))
    substitutes = [*source.substitutes, *filter(None, [left_out_images(source.left_out)])]
    if notes["test_expected"] and READERS[job["source"]].own:
        substitutes.append(f"{notes['counts']['test']:,} test images, the benchmark has {notes['test_expected']:,}")
    if count := len(stored.skipped):
        substitutes.append(f"{plural(count, 'image')} that cannot be decoded {are_verb(count)} left out")
    return notes | census.of_source(source.left_out, stored.skipped, remarks) | {"substitutes": substitutes}


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
    if folder.exists() and (not mark.is_file() or mark.read_text(encoding="utf-8") != made_by):
        shutil.rmtree(folder)
    folder.mkdir(parents=True, exist_ok=True)
    records.write_text(mark, made_by)
    yield folder
    shutil.rmtree(folder)


def _store(job: dict, chunks: Chunks, images_path: Path, say: Callable[[str], None]) -> Stored:
    """Write all chunks in one form. A chunk that does not fit the form widens it, and the others are converted."""
    path = Path(job["path"]) if job["path"] else None
    request = Request(job["task"], job["classes"], path, job["seed"], job["max_pool"])
    skipped: dict[str, str] = {}
    while True:
        source = open_source(job["source"], request)
        source = replace(source, items=(item for item in source.items if item.key not in skipped))
        try:
            rows = _all_rows(job, source, chunks, _Progress(job, say))
        except DoesNotFit as widened:
            chunks.widen(widened.form)
            continue
        except BadImages as bad:
            if job.get("on_bad_image") != "skip":
                raise ValueError(_bad_line(bad.found, source.where, job["task"], say)) from None
            skipped |= dict(bad.found)
            continue
        if not rows:
            raise ValueError(f"{source.where}: no images found for {job['task']}")
        chunks.finish(len(rows), images_path)
        bits = Counter(row.pop("bits") for row in rows)
        return Stored(rows, chunks.form, source, skipped, bits)


def _bad_line(bad: list[tuple[str, str]], where: str, task: str, say: Callable[[str], None]) -> str:
    """The error for all images that cannot be decoded; those that do not go into the line go into the log."""
    skip = f"or set tasks.{task}.on_bad_image: skip"
    if len(bad) == 1:
        ((key, reason),) = bad
        return f"{where}: image {key} cannot be decoded ({reason}); replace it, take it out, {skip}"
    for key, reason in bad[census.LISTED :]:
        say(f"image {key} cannot be decoded ({reason})")
    named = "; ".join(f"{key} ({reason})" for key, reason in bad[: census.LISTED])
    more = f"; {len(bad) - census.LISTED:,} more are in the log" if len(bad) > census.LISTED else ""
    return f"{where}: {len(bad):,} images cannot be decoded: {named}{more}; replace them, take them out, {skip}"


def _all_rows(job: dict, source: Source, chunks: Chunks, progress: _Progress) -> list[dict]:
    """Index rows of all items, chunk after chunk, from a pool of workers that never holds more than a few chunks."""
    workers = max(1, int(job.get("workers", 1)))
    rows: list[dict] = []
    bad: list[tuple[str, str]] = []
    waiting: deque = deque()

    def collect() -> None:
        chunk, made = waiting.popleft()
        try:
            of_chunk = made.result()
        except BadImages as error:  # all of them are looked for, so that one run names them all
            bad.extend(error.found)
            return
        for item, row in zip(chunk.items, of_chunk, strict=True):
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
    if bad:
        raise BadImages(bad)
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


def _expected_test(task: str) -> int:
    """The number of test images of a known task; 0 for one's own."""
    return TASKS[task].test if task in TASKS else 0


def _is_own(job: dict) -> bool:
    """Whether these are a person's own images, and no benchmark's that they keep their own way."""
    return READERS[job["source"]].own and job["task"] not in TASKS


def _summary(stored: Stored, notes: dict, seconds: float) -> str:
    height, width, channels = stored.form.shape_HWC
    # Which of them are the test is for the split to say, where nobody named them.
    drawn = any(map(is_drawn, stored.source.substitutes))
    counts = {"images": len(stored.rows)} if drawn else notes["counts"]
    parts = [f"{n:,} {split}" for split, n in counts.items() if n]
    parts.append(f"{len({row['label'] for row in stored.rows})} classes")
    parts.append(f"{height}x{width}x{channels} {'kept native' if stored.form.native else 'resized'}")
    parts.append(f"{len(stored.rows) / max(seconds, 1e-3):,.0f} img/s")
    said = (line for line in stored.source.substitutes if not is_drawn(line))
    return ", ".join([*parts, *census.lines(notes, stored.source.left_out), *said])
