"""The 19 tasks of VTAB, one row each: names, classes, how the benchmark cuts its splits, where copies keep them.

In: nothing. Out: `ROWS`; the tasks and the readers of TFDS, of the original archives, of CLIP-benchmark's shards and of
the NOAH family's folders all take theirs from here. Splits: google-research/task_adaptation data/*.py; builders: the
versions that KMnP/vpt pins; rows: tensorflow_datasets' own counts (docs/data.md has the table in words).

    python -m pytest tests/vptcore/data/test_vtab.py
"""

from __future__ import annotations

from dataclasses import dataclass

# split here: (split of TFDS, from and to in per cent of its rows)
Cuts = dict[str, tuple[str, int, int]]
OWN: Cuts = {"train": ("train", 0, 100), "val": ("validation", 0, 100), "test": ("test", 0, 100)}
NINETY: Cuts = {"train": ("train", 0, 90), "val": ("train", 90, 100), "test": ("test", 0, 100)}
EIGHTY: Cuts = NINETY | {"train": ("train", 0, 80), "val": ("train", 80, 100)}
SIXTY: Cuts = {"train": ("train", 0, 60), "val": ("train", 60, 80), "test": ("train", 80, 100)}
CLEVR: Cuts = NINETY | {"test": ("validation", 0, 100)}
DSPRITES: Cuts = {"train": ("train", 0, 80), "val": ("train", 80, 90), "test": ("train", 90, 100)}
SMALLNORB: Cuts = {"train": ("train", 0, 100), "val": ("test", 0, 50), "test": ("test", 50, 100)}


@dataclass(frozen=True)
class Vtab:
    """`rows` are the images in each split of TFDS's `builder`, `cuts` what the benchmark makes of them.

    `raw` counts the classes before they are put into bins of nearly equal width; 0: they are taken as they are. `wds`
    is the end of CLIP-benchmark's name for the task, empty where it has no train split; `noah` the folder of the NOAH
    family (NOAH data/vtab-source/get_vtab1k.py).
    """

    id: str
    title: str
    group: str
    classes: int
    licence: str
    builder: str
    cuts: Cuts
    rows: dict[str, int]
    wds: str = ""
    noah: str = ""
    raw: int = 0

    def bounds(self, split: str) -> tuple[str, int, int]:
        """(split of TFDS, first row, row after the last) of train, val or test."""
        source, low, high = self.cuts[split]
        count = self.rows[source]
        return source, count * low // 100, count * high // 100

    def size(self, split: str) -> int:
        _, first, end = self.bounds(split)
        return end - first

    def slice(self, split: str) -> str:
        """A split as TFDS writes it: 'train[:45000]'."""
        source, first, end = self.bounds(split)
        if end - first == self.rows[source]:
            return source
        return f"{source}[{first or ''}:{end if end < self.rows[source] else ''}]"


def _own(train: int, validation: int, test: int) -> dict:
    return {"cuts": OWN, "rows": {"train": train, "validation": validation, "test": test}}


def _cut(cuts: Cuts, **rows: int) -> dict:
    return {"cuts": cuts, "rows": rows}


CLEVR_ROWS = _cut(CLEVR, train=70_000, validation=15_000)
DSPRITES_ROWS = _cut(DSPRITES, train=737_280)
SMALLNORB_ROWS = _cut(SMALLNORB, train=24_300, test=24_300)

ROWS: dict[str, Vtab] = {
    row.id: row
    for row in (
        Vtab("cifar100", "CIFAR-100", "natural", 100, "none stated", "cifar100:3.0.2",
             **_cut(NINETY, train=50_000, test=10_000), wds="cifar100", noah="cifar"),
        Vtab("caltech101", "Caltech101", "natural", 102, "CC BY 4.0", "caltech101:3.0.1",
             **_cut(NINETY, train=3_060, test=6_084), wds="caltech101"),
        Vtab("dtd", "DTD", "natural", 47, "research use", "dtd:3.0.1", **_own(1_880, 1_880, 1_880), wds="dtd"),
        Vtab("oxford_flowers102", "Flowers102", "natural", 102, "none stated", "oxford_flowers102:2.1.1",
             **_own(1_020, 1_020, 6_149), wds="flowers"),
        Vtab("oxford_iiit_pet", "Pets", "natural", 37, "CC BY-SA 4.0", "oxford_iiit_pet:3.2.0",
             **_cut(EIGHTY, train=3_680, test=3_669), wds="pets"),
        Vtab("svhn", "SVHN", "natural", 10, "non-commercial", "svhn_cropped:3.0.0",
             **_cut(NINETY, train=73_257, test=26_032), wds="svhn"),
        Vtab("sun397", "Sun397", "natural", 397, "research use", "sun397/tfds:4.0.0", **_own(76_128, 10_875, 21_750)),
        Vtab("patch_camelyon", "Patch Camelyon", "specialized", 2, "CC0", "patch_camelyon:2.0.0",
             **_own(262_144, 32_768, 32_768), wds="pcam"),
        Vtab("eurosat", "EuroSAT", "specialized", 10, "MIT", "eurosat/rgb:2.0.0", **_cut(SIXTY, train=27_000),
             wds="eurosat"),
        Vtab("resisc45", "Resisc45", "specialized", 45, "research use", "resisc45:3.0.0", **_cut(SIXTY, train=31_500),
             wds="resisc45"),
        Vtab("diabetic_retinopathy", "Retinopathy", "specialized", 5, "Kaggle rules",
             "diabetic_retinopathy_detection/btgraham-300:3.0.0", **_own(35_126, 10_906, 42_670),
             wds="diabetic_retinopathy"),
        Vtab("clevr_count", "Clevr/cnt.", "structured", 8, "CC BY 4.0", "clevr:3.1.0", **CLEVR_ROWS,
             wds="clevr_count_all"),
        Vtab("clevr_distance", "Clevr/dist.", "structured", 6, "CC BY 4.0", "clevr:3.1.0", **CLEVR_ROWS,
             wds="clevr_closest_object_distance", noah="clevr_dist"),
        Vtab("dmlab", "DMLab", "structured", 6, "Apache-2.0", "dmlab:2.0.1", **_own(65_550, 22_628, 22_735),
             wds="dmlab"),
        Vtab("kitti_distance", "KITTI/dist.", "structured", 4, "CC BY-NC-SA 3.0", "kitti:3.2.0",
             **_own(6_347, 423, 711), wds="kitti_closest_vehicle_distance", noah="kitti"),
        Vtab("dsprites_location", "dSprites/loc.", "structured", 16, "Apache-2.0", "dsprites:2.0.0", **DSPRITES_ROWS,
             wds="dsprites_label_x_position", noah="dsprites_loc", raw=32),
        Vtab("dsprites_orientation", "dSprites/ori.", "structured", 16, "Apache-2.0", "dsprites:2.0.0", **DSPRITES_ROWS,
             wds="dsprites_label_orientation", noah="dsprites_ori", raw=40),
        Vtab("smallnorb_azimuth", "SmallNORB/az.", "structured", 18, "research use", "smallnorb:2.0.0",
             **SMALLNORB_ROWS, wds="smallnorb_label_azimuth", noah="smallnorb_azi"),
        Vtab("smallnorb_elevation", "SmallNORB/elev.", "structured", 9, "research use", "smallnorb:2.0.0",
             **SMALLNORB_ROWS, wds="smallnorb_label_elevation", noah="smallnorb_ele"),
    )
}  # fmt: skip
