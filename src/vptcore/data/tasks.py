"""The tasks: what each is called, which group it stands in, how many classes and images it has, where it comes from.

One row per task. `pool` counts the images that may be trained or validated on, `test` those that are scored; a train
size N needs 1.25 N of the pool (4:1 train to val), which is how tasks drop out of the larger sizes: by count, and by
what the task's source has of them (`reach`).

    vptcore data list
"""

from __future__ import annotations

from dataclasses import dataclass

from vptcore.choices import choose_one
from vptcore.data.reader import Reader
from vptcore.data.sources import READERS

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


def _vtab(
    id: str, title: str, group: str, classes: int, pool: int, test: int, wds: str, wds_train: int, licence: str
) -> Task:
    repo = f"clip-benchmark/wds_vtab-{wds}" if wds else ""
    source = "wds" if wds else "vtab1k"
    return Task(id, title, group, classes, pool, test, source, repo, licence, wds_train, resize="vtab")


# Sizes, classes and splits: google-research/task_adaptation and TFDS as KMnP/vpt pins them (docs/data.md).
VTAB = (
    _vtab("cifar100", "CIFAR-100", "natural", 100, 50000, 10000, "cifar100", 45000, "none stated"),
    _vtab("caltech101", "Caltech101", "natural", 102, 3060, 6084, "caltech101", 2754, "CC BY 4.0"),
    _vtab("dtd", "DTD", "natural", 47, 3760, 1880, "dtd", 1880, "research use"),
    _vtab("oxford_flowers102", "Flowers102", "natural", 102, 2040, 6149, "flowers", 1020, "none stated"),
    _vtab("oxford_iiit_pet", "Pets", "natural", 37, 3680, 3669, "pets", 2944, "CC BY-SA 4.0"),
    _vtab("svhn", "SVHN", "natural", 10, 73257, 26032, "svhn", 65931, "non-commercial"),
    _vtab("sun397", "Sun397", "natural", 397, 87002, 21750, "", 0, "research use"),
    _vtab("patch_camelyon", "Patch Camelyon", "specialized", 2, 294912, 32768, "pcam", 262144, "CC0"),
    _vtab("eurosat", "EuroSAT", "specialized", 10, 21600, 5400, "eurosat", 16200, "MIT"),
    _vtab("resisc45", "Resisc45", "specialized", 45, 25200, 6300, "resisc45", 18900, "research use"),
    _vtab("diabetic_retinopathy", "Retinopathy", "specialized", 5, 46032, 42670, "diabetic_retinopathy", 35126,
          "Kaggle rules"),
    _vtab("clevr_count", "Clevr/cnt.", "structured", 8, 70000, 15000, "clevr_count_all", 63000, "CC BY 4.0"),
    _vtab("clevr_distance", "Clevr/dist.", "structured", 6, 70000, 15000, "clevr_closest_object_distance", 63000,
          "CC BY 4.0"),
    _vtab("dmlab", "DMLab", "structured", 6, 88178, 22735, "dmlab", 65550, "Apache-2.0"),
    _vtab("kitti_distance", "KITTI/dist.", "structured", 4, 6770, 711, "kitti_closest_vehicle_distance", 6347,
          "CC BY-NC-SA 3.0"),
    _vtab("dsprites_location", "dSprites/loc.", "structured", 16, 663552, 73728, "dsprites_label_x_position", 589824,
          "Apache-2.0"),
    _vtab("dsprites_orientation", "dSprites/ori.", "structured", 16, 663552, 73728, "dsprites_label_orientation",
          589824, "Apache-2.0"),
    _vtab("smallnorb_azimuth", "SmallNORB/az.", "structured", 18, 36450, 12150, "smallnorb_label_azimuth", 24300,
          "research use"),
    _vtab("smallnorb_elevation", "SmallNORB/elev.", "structured", 9, 36450, 12150, "smallnorb_label_elevation", 24300,
          "research use"),
)  # fmt: skip


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
