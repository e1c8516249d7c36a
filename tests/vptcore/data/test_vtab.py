"""The benchmark's table of tasks, held to what its authors print."""

from __future__ import annotations

import pytest

from vptcore.data.tasks import TASKS
from vptcore.data.vtab import ROWS

# VTAB's paper, Table 3 (Zhai et al. 2019): images of train and val together, of test, and classes.
PRINTED = {
    "caltech101": (3060, 6084, 102), "cifar100": (50000, 10000, 100), "dtd": (3760, 1880, 47),
    "oxford_flowers102": (2040, 6149, 102), "oxford_iiit_pet": (3680, 3669, 37), "sun397": (87003, 21750, 397),
    "svhn": (73257, 26032, 10), "eurosat": (21600, 5400, 10), "resisc45": (25200, 6300, 45),
    "patch_camelyon": (294912, 32768, 2), "diabetic_retinopathy": (46032, 42670, 5), "clevr_count": (70000, 15000, 8),
    "clevr_distance": (70000, 15000, 6), "dsprites_location": (663552, 73728, 16),
    "dsprites_orientation": (663552, 73728, 16), "smallnorb_azimuth": (36450, 12150, 18),
    "smallnorb_elevation": (36450, 12150, 9), "dmlab": (88178, 22735, 6), "kitti_distance": (6770, 711, 4),
}  # fmt: skip


@pytest.mark.parametrize("task", ROWS)
def test_sizes_are_the_papers(task):
    row = ROWS[task]
    assert (row.size("train") + row.size("val"), row.size("test"), row.classes) == PRINTED[task]
    assert (TASKS[task].pool, TASKS[task].test, TASKS[task].classes) == PRINTED[task]


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)
def test_the_splits_are_apart_and_leave_nothing(row):
    for source, count in row.rows.items():
        taken = sorted(row.bounds(split)[1:] for split in row.cuts if row.bounds(split)[0] == source)
        ends = [0, *(end for _, end in taken)]
        assert [start for start, _ in taken] == ends[:-1]
        assert ends[-1] == count


def test_there_are_as_many_test_images_as_the_paper_scores():
    assert sum(row.size("test") for row in ROWS.values()) == 387_904
