"""The benchmark's rows from the keys alone, at the true sizes, and against lists of them that others have published."""

from __future__ import annotations

import numpy as np
import pytest

from tests.vptcore.data.archive_layouts import md5_order
from vptcore.data import vtab
from vptcore.data.item import Request
from vptcore.data.readers.archives import order
from vptcore.data.readers.archives.table import BY_TASK
from vptcore.data.tasks import TASKS, VTAB

# From task_adaptation, as docs/data.md prints it: val200 and test as slices of TFDS's splits.
PRINTED = {
    "caltech101": ("train[2754:2954]", "test[:]"), "cifar100": ("train[45000:45200]", "test[:]"),
    "dtd": ("validation[:200]", "test[:]"), "oxford_flowers102": ("validation[:200]", "test[:]"),
    "oxford_iiit_pet": ("train[2944:3144]", "test[:]"), "svhn": ("train[65931:66131]", "test[:]"),
    "sun397": ("validation[:200]", "test[:]"), "patch_camelyon": ("validation[:200]", "test[:]"),
    "eurosat": ("train[16200:16400]", "train[21600:]"), "resisc45": ("train[18900:19100]", "train[25200:]"),
    "diabetic_retinopathy": ("validation[:200]", "test[:]"), "clevr_count": ("train[63000:63200]", "validation[:]"),
    "clevr_distance": ("train[63000:63200]", "validation[:]"), "dmlab": ("validation[:200]", "test[:]"),
    "kitti_distance": ("validation[:200]", "test[:]"), "dsprites_location": ("train[589824:590024]", "train[663552:]"),
    "dsprites_orientation": ("train[589824:590024]", "train[663552:]"),
    "smallnorb_azimuth": ("test[:200]", "test[12150:]"), "smallnorb_elevation": ("test[:200]", "test[12150:]"),
}  # fmt: skip
# Row numbers or names of val200 in E2VPT's vtab_trainval_splits.json (ChengHan111/E2VPT), from its start or to its end.
CIFAR_VAL_END = [6263, 23706, 45238, 33376, 1434]
RESISC_VAL = ["cloud_238", "roundabout_303", "dense_residential_278", "dense_residential_209", "parking_lot_294"]
EUROSAT_VAL = ["SeaLake_804", "Forest_1554", "River_2237", "HerbaceousVegetation_2066", "SeaLake_2452"]
DTD_VAL_END = [
    "cracked/cracked_0050.jpg", "bubbly/bubbly_0067.jpg", "marbled/marbled_0097.jpg", "sprinkled/sprinkled_0128.jpg",
    "striped/striped_0088.jpg", "stained/stained_0087.jpg", "stained/stained_0068.jpg", "smeared/smeared_0134.jpg",
    "fibrous/fibrous_0178.jpg", "sprinkled/sprinkled_0093.jpg", "sprinkled/sprinkled_0118.jpg",
    "banded/banded_0106.jpg", "braided/braided_0180.jpg", "freckled/freckled_0055.jpg",
]  # fmt: skip
RESISC_CLASSES = [
    "airplane", "airport", "baseball_diamond", "basketball_court", "beach", "bridge", "chaparral", "church",
    "circular_farmland", "cloud", "commercial_area", "dense_residential", "desert", "forest", "freeway", "golf_course",
    "ground_track_field", "harbor", "industrial_area", "intersection", "island", "lake", "meadow",
    "medium_residential", "mobile_home_park", "mountain", "overpass", "palace", "parking_lot", "railway",
    "railway_station", "rectangular_farmland", "river", "roundabout", "runway", "sea_ice", "ship", "snowberg",
    "sparse_residential", "stadium", "storage_tank", "tennis_court", "terrace", "thermal_power_station", "wetland",
]  # fmt: skip
EUROSAT_SIZES = {
    "AnnualCrop": 3000, "Forest": 3000, "HerbaceousVegetation": 3000, "Highway": 2500, "Industrial": 2500,
    "Pasture": 2000, "PermanentCrop": 2500, "Residential": 3000, "River": 2500, "SeaLake": 3000,
}  # fmt: skip


def part(keys) -> order.Part:
    return order.Part("a file", keys, np.zeros(len(keys), int), lambda row: row)


@pytest.mark.parametrize("task", [task.id for task in VTAB if not task.id.endswith(("orientation", "elevation"))])
def test_every_tasks_rows_at_the_true_size(task):
    cuts, sizes = vtab.ROWS[task].cuts, vtab.ROWS[task].rows
    parts = {split: part(range(count)) for split, count in sizes.items()}
    got = {split: numbers for split, _, numbers in order.rows(task, parts)}
    slow = {split: md5_order(split, list(range(count))) for split, count in sizes.items()}

    def sliced(printed: str) -> list[int]:
        split, _, numbers = printed.rstrip("]").partition("[")
        low, high = (int(number) if number else None for number in numbers.split(":"))
        return slow[split][low:high]

    val200, test = PRINTED[task]
    assert got["train"][:800].tolist() == slow["train"][:800]
    assert got["val"][:200].tolist() == sliced(val200)
    assert got["test"].tolist() == sliced(test)
    assert len(got["test"]) == TASKS[task].test
    assert len(got["train"]) + len(got["val"]) == TASKS[task].pool
    kept = {split: numbers for split, _, numbers in order.rows(task, parts, max_train=1000)}
    assert kept["train"].tolist() == slow["train"][:1000]
    assert len(kept["test"]) == len(got["test"])
    assert cuts.keys() == got.keys()


def test_tasks_of_the_same_files_have_the_same_rows():
    for one, other in (("dsprites_location", "dsprites_orientation"), ("smallnorb_azimuth", "smallnorb_elevation")):
        assert vtab.ROWS[one].rows == vtab.ROWS[other].rows
        assert PRINTED[one] == PRINTED[other]
    assert set(vtab.ROWS) == set(BY_TASK) == {task.id for task in VTAB}


def val(task: str, keys: list) -> list:
    parts = {"train": part(keys), "test": part([0])}
    return next([keys[row] for row in numbers] for split, _, numbers in order.rows(task, parts) if split == "val")[:200]


def test_the_rows_are_those_that_others_published():
    assert val("cifar100", list(range(50_000)))[-5:] == CIFAR_VAL_END
    keys = [f"{name}_{name}_{number:03d}.jpg" for name in RESISC_CLASSES for number in range(1, 701)]
    assert val("resisc45", keys)[:5] == [f"{name.rpartition('_')[0]}_{name}.jpg" for name in RESISC_VAL]
    keys = [f"{name}_{name}_{number}.jpg" for name, count in EUROSAT_SIZES.items() for number in range(1, count + 1)]
    assert val("eurosat", keys)[:5] == [f"{name.partition('_')[0]}_{name}.jpg" for name in EUROSAT_VAL]
    mixed = sorted(DTD_VAL_END)
    assert [mixed[row] for row in order.shuffled("validation", mixed)] == DTD_VAL_END


def test_items_come_in_order_with_the_key_of_their_row():
    parts = {"train": part(range(100)), "test": part(["b", "a"])}
    items = list(order.items(Request("cifar100", 100, max_train=5), parts))
    slow = md5_order("train", list(range(100)))
    assert [item.image for item in items if item.split == "train"] == slow[:5]
    assert [item.image for item in items if item.split == "val"] == slow[90:]
    assert [item.key for item in items if item.split == "test"] == [
        f"test/{key}" for key in md5_order("test", ["a", "b"])
    ]


@pytest.mark.parametrize(
    ("keys", "labels", "words"),
    [
        (["a", "b", "a"], [0, 1, 0], ["a file", "a is there twice"]),
        ([4, 7, 4], [0, 1, 0], ["a file", "row 4 is there twice"]),
        (["a", "b"], [0, 2], ["a file", "b has label 2", "expected 0 to 1"]),
        (["a", "b"], [0, -1], ["b has label -1"]),
        (["a", "b"], [0, 0], ["a file", "no image of class 'dog'", "1 of 2"]),
        (["a"], [0, 1], ["a file", "1 images but 2 labels"]),
        ([], [], ["a file", "no image of class 'cat', 'dog'"]),
    ],
)
def test_rows_that_cannot_be(keys, labels, words):
    wrong = order.Original(("cat", "dog"), {"train": order.Part("a file", keys, labels, lambda row: row)})
    with pytest.raises(ValueError, match="a file") as caught:
        order.check(wrong)
    assert all(word in str(caught.value) for word in words)


def test_another_number_of_rows_is_said():
    right = {"train": part(range(27_000))}
    assert order.odd_sizes("eurosat", right) == []
    (line,) = order.odd_sizes("eurosat", {"train": part(range(26_999))})
    assert "26,999 images" in line
    assert "27,000" in line
