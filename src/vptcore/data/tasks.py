"""The tasks: what each is called, which group it stands in, how many classes and images it has, where it comes from.

One row per task. `pool` counts the images that may be trained or validated on, `test` those that are scored; a train
size N needs a pool of 1.25 N (4:1 train to val), which is how tasks drop out of the larger sizes. Imports no torch.

    vptcore data list
"""

from __future__ import annotations

from dataclasses import dataclass

GROUPS = ("natural", "specialized", "structured", "fgvc")


@dataclass(frozen=True)
class Task:
    """`source` names the reader of `sources.READERS`; `repo` is the Hugging Face data set it is fetched from."""

    id: str
    title: str
    group: str
    classes: int
    pool: int
    test: int
    source: str
    repo: str = ""
    licence: str = ""

    @property
    def high_disparity(self) -> bool:
        """Whether the objective is far from classification (paper §4.3: the Structured group)."""
        return self.group == "structured"


def _vtab(id: str, title: str, group: str, classes: int, pool: int, test: int, wds: str, licence: str) -> Task:
    repo = f"clip-benchmark/wds_vtab-{wds}" if wds else ""
    return Task(id, title, group, classes, pool, test, "wds" if wds else "vtab1k", repo, licence)


# Sizes, classes and splits: google-research/task_adaptation and TFDS as KMnP/vpt pins them (docs/data.md).
VTAB = (
    _vtab("cifar100", "CIFAR-100", "natural", 100, 50000, 10000, "cifar100", "none stated"),
    _vtab("caltech101", "Caltech101", "natural", 102, 3060, 6084, "caltech101", "CC BY 4.0"),
    _vtab("dtd", "DTD", "natural", 47, 3760, 1880, "dtd", "research use"),
    _vtab("oxford_flowers102", "Flowers102", "natural", 102, 2040, 6149, "flowers", "none stated"),
    _vtab("oxford_iiit_pet", "Pets", "natural", 37, 3680, 3669, "pets", "CC BY-SA 4.0"),
    _vtab("svhn", "SVHN", "natural", 10, 73257, 26032, "svhn", "non-commercial"),
    _vtab("sun397", "Sun397", "natural", 397, 87002, 21750, "", "research use"),
    _vtab("patch_camelyon", "Patch Camelyon", "specialized", 2, 294912, 32768, "pcam", "CC0"),
    _vtab("eurosat", "EuroSAT", "specialized", 10, 21600, 5400, "eurosat", "MIT"),
    _vtab("resisc45", "Resisc45", "specialized", 45, 25200, 6300, "resisc45", "research use"),
    _vtab(
        "diabetic_retinopathy", "Retinopathy", "specialized", 5, 46032, 42670, "diabetic_retinopathy", "Kaggle rules"
    ),
    _vtab("clevr_count", "Clevr/cnt.", "structured", 8, 70000, 15000, "clevr_count_all", "CC BY 4.0"),
    _vtab("clevr_distance", "Clevr/dist.", "structured", 6, 70000, 15000, "clevr_closest_object_distance", "CC BY 4.0"),
    _vtab("dmlab", "DMLab", "structured", 6, 88178, 22735, "dmlab", "Apache-2.0"),
    _vtab(
        "kitti_distance", "KITTI/dist.", "structured", 4, 6770, 711, "kitti_closest_vehicle_distance", "CC BY-NC-SA 3.0"
    ),
    _vtab(
        "dsprites_location", "dSprites/loc.", "structured", 16, 663552, 73728, "dsprites_label_x_position", "Apache-2.0"
    ),
    _vtab(
        "dsprites_orientation",
        "dSprites/ori.",
        "structured",
        16,
        663552,
        73728,
        "dsprites_label_orientation",
        "Apache-2.0",
    ),
    _vtab(
        "smallnorb_azimuth", "SmallNORB/az.", "structured", 18, 36450, 12150, "smallnorb_label_azimuth", "research use"
    ),
    _vtab(
        "smallnorb_elevation",
        "SmallNORB/elev.",
        "structured",
        9,
        36450,
        12150,
        "smallnorb_label_elevation",
        "research use",
    ),
)

FGVC = (
    Task("cub200", "CUB-200-2011", "fgvc", 200, 5994, 5794, "folder", licence="non-commercial"),
    Task("nabirds", "NABirds", "fgvc", 555, 23929, 24633, "folder", licence="non-commercial"),
    Task("oxford_flowers", "Oxford Flowers", "fgvc", 102, 2040, 6149, "folder", licence="none stated"),
    Task("stanford_dogs", "Stanford Dogs", "fgvc", 120, 12000, 8580, "folder", licence="none stated"),
    Task("stanford_cars", "Stanford Cars", "fgvc", 196, 8144, 8041, "folder", licence="non-commercial"),
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
