"""How many images each part of a task has at a train size, and how many bytes they take.

In: a study, a task and a train size. Out: `Counts`, and bytes as `data.arrays` stores them. Numbers of shipped tasks
are those of `data.tasks` (docs/data.md); a task of one's own is counted once its index is there.

    python -m pytest tests/vptstudy/plan/test_estimate.py
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from vptcore.data.decode import crop_side
from vptcore.data.splits import ONE_SHOT, WHOLE_TRAIN, held_out
from vptstudy.study import Study

# Pixels a side and channels of the sets that are kept as they are; all others are resized to the model's input.
STORED = {
    "cifar100": (32, 3), "svhn": (32, 3), "eurosat": (64, 3), "patch_camelyon": (96, 3), "dsprites_location": (64, 1),
    "dsprites_orientation": (64, 1), "smallnorb_azimuth": (96, 1), "smallnorb_elevation": (96, 1),
    "fashion_mnist": (28, 1), "digits": (8, 1),
}  # fmt: skip
UNKNOWN_TEST = 5000


@dataclass(frozen=True)
class Counts:
    """Images of each part, and the bytes of one as it is stored."""

    train: int
    val: int
    test: int
    bytes_each: int

    def images(self, part: str) -> int:
        """The authors' one-shot finals draw anew as many as train and val have together."""
        return self.train + self.val if part == "final" else getattr(self, part)

    def bytes_of(self, *parts: str) -> int:
        return self.bytes_each * sum(map(self.images, parts))


def counts_of(study: Study, task: str, train: str) -> Counts:
    """The parts that `data.splits` would make."""
    row, test = study.tasks[task], test_images(study, task)
    if train.isdigit():
        wanted = int(train), int(train) // 4
    elif train == ONE_SHOT:
        wanted = row.classes, row.classes
    else:
        assert train == WHOLE_TRAIN
        val = held_out(pool_images(study, task))
        wanted = pool_images(study, task) - val, val
    return Counts(*wanted, test, bytes_each(study, task))


def bytes_each(study: Study, task: str) -> int:
    size = study.input_size(task)
    if study.resize_of(task) == "256_crop":
        return crop_side(size) ** 2 * 3
    side, channels = STORED.get(task, (size, 3))
    return min(side, size) ** 2 * channels


def test_images(study: Study, task: str) -> int:
    """Of a task of one's own: its index's count, or a guess that the plan names."""
    return study.tasks[task].test or _indexed(study, task).get("test") or UNKNOWN_TEST


def pool_images(study: Study, task: str) -> int:
    """Images to train or validate on; an unbounded pool is that of the index, or 1,000 a class."""
    row = study.tasks[task]
    if row.pool < 10**9:
        return row.reach
    found = _indexed(study, task)
    return found.get("train", 0) + found.get("val", 0) or 1000 * row.classes


def is_guessed(study: Study, task: str) -> bool:
    return not study.tasks[task].test and not _indexed(study, task)


def _indexed(study: Study, task: str) -> dict:
    path = Path(f"{study.root}/index/task={task}/rows.parquet")
    if not path.is_file():
        return {}
    from vptcore.records import RowsError, read_provenance

    try:
        return read_provenance(path).get("counts", {})
    except RowsError:  # the job that reads it will say so
        return {}
