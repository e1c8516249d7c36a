"""The tasks: what each is called, which group it is in, how many classes and images it has, where it comes from.

One row per task. `pool` counts the images that may be trained or validated on, `test` those that are scored; a train
size N needs 1.25 N of the pool (4:1 train to val), which is how tasks drop out of the larger sizes: by count, and by
what the task's source has of them (`reach`).

    vptcore data list
"""

from __future__ import annotations

from dataclasses import dataclass

from vptcore.choices import choose_one
from vptcore.data import vtab
from vptcore.data.reader import Reader
from vptcore.data.sources import READERS
from vptcore.data.vtab import Vtab

# A person's task without a group is shown with the others of theirs, and never averaged with a benchmark's.
OWN = "own"
GROUPS = ("natural", "specialized", "structured", "fgvc", OWN)


@dataclass(frozen=True)
class Task:
    """`source` names the reader of `sources.READERS`; `repo` is the Hugging Face data set it is fetched from.

    `wds_train` counts the train split of CLIP-benchmark's shards, which lack val (0: as large as the pool). `resize` is
    the benchmark's way from an image to the model's input: a key of `decode.RESIZES`, or `vtab`, which the protocol
    decides.
    """

    id: str
    title: str
    group: str
    classes: int
    pool: int
    test: int
    source: str
    repo: str = ""
    licence: str = ""
    wds_train: int = 0
    resize: str = "bilinear"
    objective: str = ""

    @property
    def high_disparity(self) -> bool:
        """Whether the objective is far from classification (paper §4.3: the Structured group, unless said)."""
        return self.objective == "far" or (not self.objective and self.group == "structured")

    @property
    def reach(self) -> int:
        """The images that the task's source gives to train and validate on, as far as is known beforehand."""
        limits = [self.reader.pool, self.wds_train if self.reader.lacks_val else 0]
        return min([self.pool, *filter(None, limits)])

    @property
    def reader(self) -> Reader:
        return READERS[str(choose_one(f"tasks.{self.id}.source", self.source, READERS))]

    @property
    def shipped(self) -> bool:
        return bool(self.reader.ships)

    @property
    def fetched(self) -> bool:
        """Whether the workflow downloads the images itself."""
        return bool(self.repo) and bool(self.reader.fetched)


def needed(train: int) -> int:
    """The pool that a train size takes: itself and a quarter as many for val."""
    return train + train // 4


def _vtab(row: Vtab) -> Task:
    repo, source = (f"clip-benchmark/wds_vtab-{row.wds}", "wds") if row.wds else ("", "vtab1k")
    train, pool = row.size("train"), row.size("train") + row.size("val")
    return Task(row.id, row.title, row.group, row.classes, pool, row.size("test"), source, repo, row.licence,
                train if row.wds else 0, resize="vtab")  # fmt: skip


VTAB = tuple(map(_vtab, vtab.ROWS.values()))


def _fgvc(id: str, title: str, classes: int, pool: int, test: int, licence: str) -> Task:
    return Task(id, title, "fgvc", classes, pool, test, "fgvc", licence=licence, resize="256_crop")


FGVC = (
    _fgvc("cub200", "CUB-200-2011", 200, 5994, 5794, "non-commercial"),
    _fgvc("nabirds", "NABirds", 555, 23929, 24633, "non-commercial"),
    _fgvc("oxford_flowers", "Oxford Flowers", 102, 2040, 6149, "none stated"),
    _fgvc("stanford_dogs", "Stanford Dogs", 120, 12000, 8580, "none stated"),
    _fgvc("stanford_cars", "Stanford Cars", 196, 8144, 8041, "non-commercial"),
)

# Small tasks that need no download: what `make demo` runs on. Two of real images, three drawn by a seeded renderer.
EMBEDDED = (
    Task("fashion_mnist", "Fashion-MNIST", "natural", 10, 2500, 500, "embedded_parquet", licence="MIT"),
    Task("digits", "Digits", "specialized", 10, 1297, 500, "sklearn_digits", licence="CC BY 4.0"),
    Task("shapes_location", "Shapes/loc.", "structured", 4, 1000, 500, "shapes", licence="MIT"),
    Task("shapes_orientation", "Shapes/ori.", "structured", 4, 1000, 500, "shapes", licence="MIT"),
    Task("shapes_count", "Shapes/cnt.", "structured", 4, 1000, 500, "shapes", licence="MIT"),
)

TASKS: dict[str, Task] = {task.id: task for task in (*VTAB, *FGVC, *EMBEDDED)}
